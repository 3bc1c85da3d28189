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
    Comment,
    Item,
    Label,
    Maker,
    Place,
    Publisher,
    Review,
    Setting,
    Shelf,
    Shop,
    Tag,
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
    for model in (Book, Author, Place, Tag):
        ContentType.objects.get_for_model(model)


def page_of(rows: QuerySet[Any]) -> list[Any]:
    """Evaluate what another module built."""
    return list(rows[:ROWS])
