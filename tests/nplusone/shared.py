"""Code that several endpoints share, as real projects have it: the subject of ``test_shared``.

Each endpoint is a function without arguments that returns what it would answer. What they share is
read by rows of several querysets: a line that one of them is told must be right for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from time import perf_counter
from typing import Any

from django.db.models import Max, QuerySet, prefetch_related_objects
from django.template.loader import render_to_string

from .models import Author, Book, Club, Publisher, Seat, Ticket, Writer


def author_row(author: Author) -> dict[str, Any]:
    """Serialize an author, for six endpoints."""
    first = author.books.first()
    return {
        "name": author.name,
        "publisher": author.publisher.name,
        "books": author.books.count(),
        "has_books": author.books.exists(),
        "new": [book.title for book in author.books.filter(status="new")],
        "first": None if first is None else first.title,
    }


def list_authors() -> list[Any]:
    return [author_row(author) for author in Author.objects.order_by("pk")]


def one_author() -> dict[str, Any]:
    return author_row(Author.objects.get(name="author 2"))


def authors_of_publishers() -> list[Any]:
    publishers = Publisher.objects.order_by("pk")
    return [[author_row(each) for each in publisher.authors.all()] for publisher in publishers]


def mentors() -> list[Any]:
    authors = Author.objects.filter(mentor__isnull=False).order_by("pk")
    return [author_row(author.mentor) for author in authors.select_related("mentor")]


def authors_with_books() -> list[Any]:
    authors = Author.objects.order_by("-pk").prefetch_related("books")
    return [author_row(author) for author in authors]


def persons_of_tickets() -> list[Any]:
    tickets = Ticket.objects.order_by("pk")
    return [(author_row(each.reporter), author_row(each.assignee)) for each in tickets]


def best_review(book: Book) -> int | None:
    """Ask for the best review of a book: an aggregate, which no prefetch answers."""
    best: int | None = book.reviews.aggregate(best=Max("stars"))["best"]
    return best


def books_with_their_best() -> list[Any]:
    return [best_review(book) for book in Book.objects.order_by("pk")]


def one_book_with_its_best() -> int | None:
    return best_review(Book.objects.get(isbn="isbn-3"))


def newest_title(author: Author) -> str | None:
    """Return the title that comes last: sorted by the database."""
    book = author.books.order_by("-title").first()
    return None if book is None else book.title


def titles_of_authors() -> list[Any]:
    return [newest_title(author) for author in Author.objects.order_by("pk")]


def title_of_one_author() -> str | None:
    return newest_title(Author.objects.get(name="author 4"))


def keys_of_tags(book: Book) -> list[int]:
    """Return keys alone, by the relation's manager."""
    return sorted(book.tags.values_list("pk", flat=True))


def tags_of_books() -> list[Any]:
    return [keys_of_tags(book) for book in Book.objects.order_by("pk")]


def tags_of_books_that_are_prefetched() -> list[Any]:
    return [keys_of_tags(book) for book in Book.objects.order_by("pk").prefetch_related("tags")]


def tags_of_one_book() -> list[int]:
    return keys_of_tags(Book.objects.get(isbn="isbn-1"))


def seat_row(seat: Seat) -> tuple[str, str, int]:
    return seat.club.name, seat.person.publisher.name, seat.person.books.count()


def seats_of_a_club() -> list[Any]:
    club = Club.objects.get(name="club 2")
    return [seat_row(seat) for seat in club.seats.order_by("pk")]


def seats_of_clubs() -> list[Any]:
    return [[seat_row(seat) for seat in club.seats.all()] for club in Club.objects.order_by("pk")]


def seats() -> list[Any]:
    joined = Seat.objects.select_related("person").order_by("pk")
    return [seat_row(seat) for seat in joined]


class Report:
    """A service: its methods read what another one has asked for."""

    def __init__(self, authors: Iterable[Author]) -> None:
        self.authors = list(authors)

    def lines(self) -> list[tuple[str, int]]:
        return [(author.publisher_name, author.book_total) for author in self.authors]


def report_of_all() -> list[Any]:
    return Report(Author.objects.order_by("pk")).lines()


def report_of_some() -> list[Any]:
    authors = list(Author.objects.filter(name__gte="author 2").order_by("pk"))
    prefetch_related_objects(authors, "publisher")
    return Report(authors).lines()


def timed(endpoint: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    """Wrap an endpoint, as a project's own decorator stands on every stack."""

    @wraps(endpoint)
    def wrapper(*args: Any, **kwargs: Any) -> list[Any]:
        started = perf_counter()
        try:
            return endpoint(*args, **kwargs)
        finally:
            assert perf_counter() >= started

    return wrapper


@timed
def writers() -> list[Any]:
    return [author_row(writer) for writer in Writer.objects.in_order()]


@timed
def names_of_writers() -> list[str]:
    return [writer.name for writer in Writer.objects.in_order()]


def book_row(book: Book) -> tuple[str, str, bool]:
    return book.title, book.author.name, book.reviews.exists()


class BooksMixin:
    """What two views list."""

    def get_queryset(self) -> QuerySet[Book]:
        return Book.objects.order_by("pk")


class Rows(BooksMixin):
    def list(self) -> list[Any]:
        return [book_row(book) for book in self.get_queryset()]


class Titles(BooksMixin):
    def get_queryset(self) -> QuerySet[Book]:
        return super().get_queryset().filter(status="new")

    def list(self) -> list[Any]:
        return [(book.title, book.author.name) for book in self.get_queryset()]


@timed
def rows_by_a_mixin() -> list[Any]:
    return Rows().list()


def titles_by_a_mixin() -> list[Any]:
    return Titles().list()


def cards() -> list[Any]:
    """Render a template that another endpoint renders as well."""
    authors = Author.objects.order_by("pk")
    return [render_to_string("corpus/shared_card.html", {"author": each}) for each in authors]


def card_of_one() -> str:
    author = Author.objects.get(name="author 1")
    return render_to_string("corpus/shared_card.html", {"author": author})


def deactivate(book: Book) -> None:
    """Note why, then sell: two writes that belong together, for two endpoints."""
    book.reviews.create(stars=1, text="Sold.")
    book.status = "sold"
    book.save(update_fields=["status"])


def sell_all() -> list[Any]:
    for book in Book.objects.order_by("pk"):
        deactivate(book)
    return list(Book.objects.order_by("pk").values_list("status", "reviews__text"))


def sell_one() -> list[Any]:
    deactivate(Book.objects.get(isbn="isbn-4"))
    return list(Book.objects.filter(isbn="isbn-4").values_list("status", "reviews__text"))


ENDPOINTS = (
    writers,
    names_of_writers,
    rows_by_a_mixin,
    titles_by_a_mixin,
    cards,
    card_of_one,
    sell_all,
    sell_one,
    list_authors,
    one_author,
    authors_of_publishers,
    mentors,
    authors_with_books,
    persons_of_tickets,
    books_with_their_best,
    one_book_with_its_best,
    titles_of_authors,
    title_of_one_author,
    tags_of_books,
    tags_of_books_that_are_prefetched,
    tags_of_one_book,
    seats_of_a_club,
    seats_of_clubs,
    seats,
    report_of_all,
    report_of_some,
)
