"""Where loops hide in practice: templates and serializers, whose frames are a library's."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import ninja
from django.core.serializers import serialize
from django.template.loader import render_to_string
from ninja.testing import TestClient
from rest_framework import serializers

from .corpus import Run, case, related, relation
from .models import Author, Book, Publisher


@case(
    relation("Book.author", 'Book.objects.select_related("author")'),
    after=1,
    template="corpus/books.html:5",
)
def template_below_extends(run: Run) -> None:
    books = run(Book.objects.all())  # root
    assert "author 1" in render_to_string("corpus/books.html", {"books": books})  # N+1


@case(
    relation("Author.books", 'Author.objects.prefetch_related("books")'),
    after=2,
    template="corpus/_author.html:2",
)
def template_through_include(run: Run) -> None:
    authors = run(Author.objects.all())  # root
    assert "book 1" in render_to_string("corpus/authors.html", {"authors": authors})  # N+1


@case(relation("Book.tags", 'Book.objects.prefetch_related("tags")'), after=2)
def django_serializer(run: Run) -> None:
    books = run(Book.objects.order_by("pk"))  # root
    rows = json.loads(serialize("json", books, fields=["title", "tags"]))  # N+1
    assert len(rows[0]["fields"]["tags"]) == 3


@case(relation("Book.tags", 'Book.objects.prefetch_related("tags")'), after=2)
def django_serializer_of_natural_keys(run: Run) -> None:
    books = run(Book.objects.order_by("pk"))  # root
    assert serialize("xml", books, use_natural_foreign_keys=True)  # N+1


@case()
def template_with_one_row_a_line(run: Run) -> None:
    first, second, third, fourth, *_ = Book.objects.all()
    rows = {"first": first, "second": second, "third": third, "fourth": fourth}
    assert "author 3" in render_to_string("corpus/settings.html", rows)


class PublisherSerializer(serializers.ModelSerializer[Publisher]):
    class Meta:
        model = Publisher
        fields: ClassVar = ["name"]


class AuthorSerializer(serializers.ModelSerializer[Author]):
    publisher = PublisherSerializer()

    class Meta:
        model = Author
        fields: ClassVar = ["name", "publisher"]


class BookSerializer(serializers.ModelSerializer[Book]):
    author = serializers.StringRelatedField()

    class Meta:
        model = Book
        fields: ClassVar = ["title", "author"]


class ShelfSerializer(serializers.ModelSerializer[Author]):
    books = BookSerializer(many=True)

    class Meta:
        model = Author
        fields: ClassVar = ["name", "books"]


class CountedSerializer(serializers.ModelSerializer[Book]):
    reviews = serializers.SerializerMethodField()

    class Meta:
        model = Book
        fields: ClassVar = ["title", "reviews"]

    def get_reviews(self, book: Any) -> int:
        return int(book.reviews.count())  # N+1: method_field


@case(
    relation("Book.author", 'Book.objects.select_related("author")'),
    after=1,
    template="BookSerializer.author",
)
def drf_related_field(run: Run) -> None:
    books = run(Book.objects.all())  # root
    assert BookSerializer(books, many=True).data  # N+1


@case(
    relation("Author.publisher", 'Author.objects.select_related("publisher")'),
    after=1,
    template="AuthorSerializer.publisher",
)
def drf_nested_serializer(run: Run) -> None:
    authors = run(Author.objects.all())  # root
    assert AuthorSerializer(authors, many=True).data  # N+1


@case(
    relation("Author.books", 'Author.objects.prefetch_related("books")'),
    after=2,
    template="ShelfSerializer.books",
)
def drf_nested_list(run: Run) -> None:
    authors = run(Author.objects.all())  # root
    assert ShelfSerializer(authors, many=True).data  # N+1


@case(
    related("Book.reviews", 'Book.objects.prefetch_related("reviews")', operation="count"),
    blamed="N+1: method_field",
    after=2,
)
def drf_method_field(run: Run) -> None:
    """Other views use the serializer, too: it stays as it is."""
    books = run(Book.objects.all())  # root
    assert CountedSerializer(books, many=True).data


class AuthorOut(ninja.Schema):
    name: str


class BookOut(ninja.Schema):
    title: str
    author: AuthorOut


@case(relation("Book.author", 'Book.objects.select_related("author")'), after=1)
def ninja_response(run: Run) -> None:
    router = ninja.Router()

    @router.get("/books", response=list[BookOut])  # N+1
    def books(request: Any) -> Any:
        return run(Book.objects.all())  # root

    response = TestClient(router).get("/books")
    assert response.status_code == 200
    assert len(response.json()) == 6


@case(relation("Book.author", 'Book.objects.select_related("author")'), after=1)
def ninja_schema(run: Run) -> None:
    books = run(Book.objects.all())  # root
    assert [BookOut.from_orm(book) for book in books]  # N+1


@case(
    relation("Book.author", 'Book.objects.select_related("author__publisher")'),
    relation("Author.publisher", 'Book.objects.select_related("author__publisher")'),
    blamed="N+1: row",
    after=1,
)
def plain_serializer(run: Run) -> None:
    books = run(Book.objects.all())  # root
    assert json.dumps([_row(book) for book in books])


def _row(book: Book) -> dict[str, Any]:
    return {
        "title": book.title,
        "author": book.author.name,  # N+1: row
        "publisher": book.author.publisher.name,  # N+1: row
    }
