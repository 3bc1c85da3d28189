"""Loops in what Django calls: receivers, template tags, forms, pages, views of classes."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.backends.db import SessionStore
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.db.models.signals import post_save
from django.http import HttpResponse
from django.template import RequestContext, Template
from django.template.loader import render_to_string
from django.test import RequestFactory
from django.views.generic import ListView
from rest_framework import serializers

from .corpus import (
    IN_PYTHON,
    NOT_THE_LINE,
    ONE_STATEMENT,
    Run,
    bypassed,
    case,
    lookup,
    related,
    relation,
    write,
)
from .models import Author, Book, Comment, Publisher, Review, Tag, Watched


def _look_up(instance: Watched, *, created: bool, **kwargs: Any) -> None:
    known = getattr(instance, "authors", {})
    if not created and instance.pk not in known:
        assert Author.objects.get(pk=instance.pk).name  # N+1: receiver


post_save.connect(_look_up, sender=Watched)


@case(
    write("Watched", None, operation="save", hint=ONE_STATEMENT),
    lookup("Author", "Author.objects.in_bulk(ids)", operation="get"),
    blamed="N+1: receiver",
    after=8,
)
def receiver_that_looks_up(run: Run) -> None:
    # No bulk method calls the receiver; what it asks for can be handed to it.
    keys = list(Author.objects.values_list("pk", flat=True))
    authors = run.ask(ids=keys) if run.fixed else {}
    for key in keys:
        row = Watched(pk=key, title="new")
        row.authors = authors  # type: ignore[attr-defined]
        row.save(force_update=True)  # N+1, root


@case(
    relation("Book.author", 'Book.objects.select_related("author")'),
    after=1,
    blamed="N+1: tag",
)
def simple_tag(run: Run) -> None:
    books = run(Book.objects.all())  # root
    assert "author 3" in render_to_string("corpus/tagged.html", {"books": books})


@case(
    relation("Book.author", 'Book.objects.select_related("author")'),
    after=1,
    template="corpus/_card.html:2",
)
def inclusion_tag(run: Run) -> None:
    books = run(Book.objects.all())  # root
    assert "author 3" in render_to_string("corpus/cards.html", {"books": books})  # N+1


_FIRST = (
    'Author.objects.prefetch_related("books", Prefetch("books__tags", '
    'queryset=Tag.objects.order_by("pk")[:1], to_attr="chosen_tags"))'
)


@case(
    relation("Author.books", _FIRST),
    related("Book.tags", _FIRST, "book.chosen_tags.0", operation="first"),
    after=3,
    template=("corpus/first.html:2", "corpus/first.html:3"),
)
def first_in_a_template(run: Run) -> None:
    # A template calls no min(): it reads an attribute, and the first of a list.
    authors = run(Author.objects.all())  # root
    if run.fixed:
        source = "{% for a in authors %}{% for b in a.books.all %}{{ b.chosen_tags.0.name }}"
        template = Template(f"{source}{{% endfor %}}{{% endfor %}}")
        assert "tag 3" in template.render(_context(authors=authors))
    else:
        assert "tag 3" in render_to_string("corpus/first.html", {"authors": authors})  # N+1


def _context(**values: Any) -> RequestContext:
    return RequestContext(RequestFactory().get("/"), values)


@case(bypassed("Book.tags", None, hint=IN_PYTHON), template="corpus/first.html:3")
def first_in_a_template_beside_a_prefetch(run: Run) -> None:
    authors = run(Author.objects.prefetch_related("books__tags"))
    assert "tag 3" in render_to_string("corpus/first.html", {"authors": authors})  # N+1


def _books(request: Any) -> dict[str, Any]:
    return {"books": request.run(Book.objects.all())}


@case(relation("Book.author", 'Book.objects.select_related("author")'), after=1)
def context_processor(run: Run) -> None:
    """The processor is done when its queryset is evaluated: the line that does so is told."""
    request: Any = RequestFactory().get("/")
    request.run = run
    context = RequestContext(request, {}, processors=[_books])
    template = Template("{% for book in books %}{{ book.author.name }}{% endfor %}")
    assert "author 3" in template.render(context)  # N+1


class BookForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = Review
        fields = ("book", "stars")


class PickyField(forms.ModelChoiceField):  # type: ignore[type-arg]
    def label_from_instance(self, book: Any) -> str:
        return f"{book.title} by {book.author.name}"  # N+1: label


@case(
    relation("Book.author", 'Book.objects.select_related("author")'),
    after=1,
    blamed="N+1: label",
)
def model_choice_field(run: Run) -> None:
    class Choice(forms.Form):
        book = PickyField(queryset=run(Book.objects.all()))

    assert "by author 3" in str(Choice()["book"])  # root


@case()
def model_form_of_one_row(run: Run) -> None:
    review = Review.objects.select_related("book").earliest("pk")
    assert "Book object" in BookForm(instance=review).as_p()


@case(
    relation("Review.book", 'Review.objects.select_related("book")'),
    after=1,
)
def model_formset(run: Run) -> None:
    formset = forms.modelformset_factory(Review, fields=("stars",), extra=0)
    rows = run(Review.objects.filter(stars=1))  # root
    for form in formset(queryset=rows, initial=None).forms:
        assert form.instance.book.title  # N+1


@case(relation("Book.author", 'Book.objects.select_related("author")'), after=2)
def page_of_a_paginator(run: Run) -> None:
    books = run(Book.objects.order_by("pk"))  # root
    page = Paginator(books, 5).page(1)
    assert "author 3" in render_to_string("corpus/page.html", {"page": page})  # N+1


@case(
    relation("Book.author", 'Book.objects.select_related("author")'),
    template="corpus/books.html:5",
    rooted="root: newest_of_a_tag",
    after=1,
)
def books_of_an_inclusion_tag(run: Run) -> None:
    # The tag's function has returned when its template asks for them.
    assert "author 3" in render_to_string("corpus/newest.html", {"run": run, "number": 5})  # N+1


@case(
    relation("Book.author", 'Book.objects.select_related("author")'),
    template="corpus/in_order.html:5",
    rooted="root: in_order_of_a_tag",
    after=1,
)
def books_that_a_simple_tag_gives_a_name(run: Run) -> None:
    assert "author 3" in render_to_string("corpus/in_order.html", {"run": run})  # N+1


class Books(ListView):  # type: ignore[type-arg]
    queryset = Book.objects.order_by("pk")  # root: attribute

    def render_to_response(self, context: dict[str, Any], **kwargs: Any) -> HttpResponse:
        names = [book.author.name for book in context["object_list"]]  # N+1: of_a_view
        return HttpResponse(", ".join(names))


class NewBooks(Books):
    run: Run = Run()

    def get_queryset(self) -> QuerySet[Book]:
        books: QuerySet[Book] = self.run(Book.objects.filter(status="new"))  # root: method
        return books

    def render_to_response(self, context: dict[str, Any], **kwargs: Any) -> HttpResponse:
        names = [book.author.name for book in context["object_list"]]  # N+1: of_a_method
        return HttpResponse(", ".join(names))


@case(
    relation("Book.author", 'Book.objects.select_related("author")'),
    blamed="N+1: of_a_view",
    rooted="root: attribute",
    after=1,
)
def list_view_with_a_queryset(run: Run) -> None:
    given = {"queryset": run(Books.queryset)} if run.fixed else {}
    response = Books.as_view(**given)(RequestFactory().get("/"))
    assert b"author 3" in response.content


@case(
    relation("Book.author", 'Book.objects.select_related("author")'),
    blamed="N+1: of_a_method",
    rooted="root: method",
    after=1,
)
def list_view_with_a_method(run: Run) -> None:
    response = NewBooks.as_view(run=run)(RequestFactory().get("/"))
    assert b"author 3" in response.content


def _users(number: int) -> list[Any]:
    model: Any = get_user_model()
    name = model.USERNAME_FIELD
    users = [model(**{name: f"reader-{each}@example.org"}) for each in range(number)]
    for each in users:
        each.save()
    return users


@case()
def permissions_of_one_user(run: Run) -> None:
    (user,) = _users(1)
    for name in ("add_book", "change_book", "delete_book", "view_book"):
        assert not user.has_perm(f"corpus.{name}")


@case()
def sessions_one_by_one(run: Run) -> None:
    # Each request's own, and nothing that a project could ask for at once.
    for number in range(4):
        assert SessionStore(f"no such session {number}").get("basket") is None


@case()
def content_types_of_models(run: Run) -> None:
    ContentType.objects.clear_cache()
    for model in (Author, Book, Comment, Publisher, Tag):
        assert ContentType.objects.get_for_model(model)


@case()
def content_types_of_rows(run: Run) -> None:
    for comment in Comment.objects.select_related("content_type"):
        assert comment.content_type.model == "book"


@case(lookup("Author", None, hint=NOT_THE_LINE), lookup("Book", None, hint=NOT_THE_LINE))
def validation_of_each_row(run: Run) -> None:
    # Validators ask: there is no line of the project's that could ask otherwise.
    for book in Book.objects.all():
        book.full_clean()  # N+1


class NewBookSerializer(serializers.ModelSerializer):  # type: ignore[type-arg]
    class Meta:
        model = Book
        fields = ("isbn", "title", "author")


@case(
    lookup("Book", None, hint=NOT_THE_LINE),
    lookup("Author", None, hint=NOT_THE_LINE),
    write("Book", None, operation="create", hint=ONE_STATEMENT),
)
def list_serializer_that_writes(run: Run) -> None:
    # In a loop of another thing, which is not to be blamed for the one in the package.
    for _ in range(1):
        keys = Author.objects.values_list("pk", flat=True)
        rows = [{"isbn": f"new {key}", "title": "New", "author": key} for key in keys]
        serializer = NewBookSerializer(data=rows, many=True)
        assert serializer.is_valid(), serializer.errors  # N+1
        serializer.save()  # N+1


_PAIRS = 'Book.tags.through.objects.select_related("book", "tag")'


@case(
    relation("Book.tags.through.book", _PAIRS), relation("Book.tags.through.tag", _PAIRS), after=1
)
def rows_of_a_many_to_many_table(run: Run) -> None:
    for pair in run(Book.tags.through.objects.all()):  # root
        assert pair.book.title  # N+1
        assert pair.tag.name  # N+1
