"""The rows that the corpus reads: six of everything, no two alike."""

from __future__ import annotations

from typing import Any

from django.contrib.contenttypes.models import ContentType
from django.db.models import QuerySet

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
    """Write them. Django's own cache of content types is left warm, as it is in production."""
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
    for model in (Book, Author, Place, Tag, Page, EventPage):
        ContentType.objects.get_for_model(model)


def page_of(rows: QuerySet[Any]) -> list[Any]:
    """Evaluate what another module built."""
    return list(rows[:ROWS])  # root: page
