"""The rows that the corpus reads: six of everything, no two alike."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.contrib.contenttypes.models import ContentType
from django.db import connection, transaction
from django.db.models import Model, QuerySet

from .models import (
    Author,
    Biography,
    Book,
    BoxedItem,
    Club,
    Comment,
    EventPage,
    Item,
    Label,
    Maker,
    Page,
    Place,
    Publisher,
    Review,
    Seat,
    Setting,
    Shelf,
    Shop,
    Tag,
    Ticket,
    Watched,
)

ROWS = 6


def fill() -> None:
    """Write them. Django's own cache of content types is left warm, as it is in production.

    A thousand tests begin with these rows: in SQLite, what the ORM has written for the first of
    them is written for the others as it is.
    """
    if connection.vendor != "sqlite":  # a sequence does not notice a key that is given
        _write()
    elif (made := _MADE.get(types := _content_types())) is None:
        assert not any(map(_rows_of, _models())), "they are taken for what fill() wrote"
        _write()
        _MADE[types] = [(model, rows) for model in _models() if (rows := _rows_of(model))]
    else:
        with transaction.atomic():  # a row may refer to one that comes later
            for model, rows in made:
                blanks = ", ".join(["?"] * len(rows[0]))
                into = f'"{model._meta.db_table}" ({_columns(model)})'
                connection.connection.executemany(f"INSERT INTO {into} VALUES ({blanks})", rows)
    for model in (Book, Author, Place, Tag, Page, EventPage):
        ContentType.objects.get_for_model(model)


Types = tuple[tuple[int, str, str], ...]
_MADE: dict[Types, list[tuple[type[Model], list[tuple[Any, ...]]]]] = {}
"""The rows of each table, by the content types that some of them refer to."""


def _content_types() -> Types:
    return tuple(ContentType.objects.order_by("pk").values_list("pk", "app_label", "model"))


def _models() -> list[type[Model]]:
    models = apps.get_app_config("corpus").get_models(include_auto_created=True)
    return [model for model in models if model._meta.managed and not model._meta.proxy]


def _columns(model: type[Model]) -> str:
    return ", ".join(f'"{field.column}"' for field in model._meta.local_concrete_fields)


def _rows_of(model: type[Model]) -> list[tuple[Any, ...]]:
    """Return them as SQLite has them."""
    asked = f'SELECT {_columns(model)} FROM "{model._meta.db_table}"'
    found: list[tuple[Any, ...]] = connection.connection.execute(asked).fetchall()
    return found


def _write() -> None:
    previous = None
    tags = [Tag.objects.create(name=f"tag {number}") for number in range(ROWS)]
    for number in range(ROWS):
        publisher = Publisher.objects.create(name=f"publisher {number}")
        author = Author.objects.create(
            name=f"author {number}", publisher=publisher, mentor=previous
        )
        previous = author
        Biography.objects.create(author=author, text=f"Life {number}.")
        book = Book.objects.create(title=f"book {number}", isbn=f"isbn-{number}", author=author)
        book.tags.set(tags[number : number + 3] or tags[:1])
        for stars in range(1, 4):
            Review.objects.create(book=book, stars=stars)
        Comment.objects.create(about=book, text="Nice.")
        Shop.objects.create(name=f"shop {number}", owner=author)
        Watched.objects.create(title=f"watched {number}")
        Setting.objects.create(key=f"key-{number}", value=f"value {number}")
        shelf = Shelf.objects.create(name=f"shelf {number}")
        maker = Maker.objects.create(name=f"maker {number}")
        gone = Item.everything.create(name=f"gone {number}", is_gone=True, shelf=shelf, maker=maker)
        Label.objects.create(item=gone)
        BoxedItem.everything.create(name=f"boxed {number}", shelf=shelf, maker=maker)
        Club.objects.create(name=f"club {number}")
        Page.objects.create(title=f"page {number}")
        EventPage.objects.create(title=f"event {number}", host=author)
    authors = list(Author.objects.order_by("pk"))
    for number, club in enumerate(Club.objects.order_by("pk")):
        for person in authors[number % 3 : number % 3 + 4]:
            Seat.objects.create(club=club, person=person, since=2020 + number)
    for number, author in enumerate(authors):
        Ticket.objects.create(
            title=f"ticket {number}",
            reporter=author,
            assignee=authors[number - 1],
            reviewer=authors[number - 2],
        )


def page_of(rows: QuerySet[Any]) -> list[Any]:
    """Evaluate what another module built."""
    return list(rows[:ROWS])  # root: page
