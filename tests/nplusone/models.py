"""A small library: every kind of relation that a loop can load row by row."""

from __future__ import annotations

import sys
from typing import Any, ClassVar

from django.contrib.contenttypes.fields import GenericForeignKey, GenericRelation
from django.contrib.contenttypes.models import ContentType
from django.db import models
from polymorphic.models import PolymorphicModel


class Publisher(models.Model):
    name = models.CharField(max_length=80)
    city = models.CharField(max_length=80, default="Leipzig")


class Author(models.Model):
    name = models.CharField(max_length=80)
    publisher = models.ForeignKey(Publisher, models.CASCADE, related_name="authors")
    mentor = models.ForeignKey("self", models.SET_NULL, null=True, related_name="pupils")

    run: Any = None
    """The case's, where a template calls what is under test."""

    @property
    def publisher_name(self) -> str:
        return self.publisher.name  # N+1: property

    @property
    def book_total(self) -> int:
        return self.books.count()  # N+1: total

    def recent_books(self) -> models.QuerySet[Book]:
        books = self.books.filter(status="new")  # root: recent_books
        return books if self.run is None else self.run(books)


class Writers(models.Manager["Writer"]):
    def in_order(self) -> models.QuerySet[Writer]:
        return self.get_queryset().order_by("name")


class Writer(Author):
    """An author whose manager has methods of its own."""

    objects = Writers()

    class Meta:
        proxy = True


class Biography(models.Model):
    author = models.OneToOneField(Author, models.CASCADE, related_name="biography")
    text = models.TextField()


class Tag(models.Model):
    name = models.CharField(max_length=80)


class Comment(models.Model):
    content_type = models.ForeignKey(ContentType, models.CASCADE)
    object_id = models.PositiveBigIntegerField()
    about = GenericForeignKey("content_type", "object_id")
    text = models.TextField()


class Book(models.Model):
    title = models.CharField(max_length=80)
    isbn = models.CharField(max_length=20, unique=True)
    blurb = models.TextField(default="A book.")
    status = models.CharField(max_length=20, default="new")
    author = models.ForeignKey(Author, models.CASCADE, related_name="books")
    tags = models.ManyToManyField(Tag, related_name="books")
    comments = GenericRelation(Comment)


class Novel(Book):
    class Meta:
        proxy = True


class SortedBook(Book):
    class Meta:
        proxy = True
        ordering = ("-title",)


MOST_STARS = 3
# As a project has its own from its settings: another in the next deployment.
FEWEST_STARS = int("3")


class Reviews(models.QuerySet["Review"]):
    def best(self) -> Reviews:
        return self.filter(stars=MOST_STARS)

    def rated(self, stars: int) -> Reviews:
        return self.filter(stars=stars)


class Review(models.Model):
    book = models.ForeignKey(Book, models.CASCADE, related_name="reviews")
    stars = models.PositiveSmallIntegerField(default=3)
    text = models.TextField(default="Good.")

    objects = Reviews.as_manager()


class Place(models.Model):
    name = models.CharField(max_length=80)


class Shop(Place):
    """A child of a multi-table parent."""

    owner = models.ForeignKey(Author, models.CASCADE, related_name="shops")


class Watched(models.Model):
    """Reads a field in ``__init__``, as change trackers do."""

    title = models.CharField(max_length=80)
    status = models.CharField(max_length=20, default="new")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.loaded_status = self.status  # N+1: init


class Setting(models.Model):
    key = models.CharField(max_length=80, unique=True)
    value = models.CharField(max_length=80)


class Category(models.Model):
    """A tree whose branches go with their stem."""

    name = models.CharField(max_length=80)
    parent = models.ForeignKey("self", models.CASCADE, null=True, related_name="children")


class Slugged(models.Model):
    """Does more in ``save()`` than the statement."""

    name = models.CharField(max_length=80, unique=True)
    slug = models.CharField(max_length=80)
    changed = models.DateTimeField(auto_now=True)

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.slug = self.name.lower()
        super().save(*args, **kwargs)  # N+1: slug


class Stamped(models.Model):
    """Notes when it was saved; is found by two fields together."""

    shelf = models.CharField(max_length=20)
    number = models.PositiveIntegerField()
    changed = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("shelf", "number"), name="corpus_stamped_once"),
        )


class Shelf(models.Model):
    name = models.CharField(max_length=80)


class Maker(models.Model):
    name = models.CharField(max_length=80)


class LiveItems(models.Manager["Item"]):
    """Leaves out some of the rows."""

    def get_queryset(self) -> models.QuerySet[Item]:
        return super().get_queryset().filter(is_gone=False)


class Item(models.Model):
    """Has two managers, whose rows are not the same: the first is the default one."""

    name = models.CharField(max_length=80)
    is_gone = models.BooleanField(default=False)
    shelf = models.ForeignKey(Shelf, models.CASCADE, related_name="items")
    maker = models.ForeignKey(Maker, models.CASCADE, related_name="items")

    live = LiveItems()
    everything = models.Manager["Item"]()


class Label(models.Model):
    item = models.ForeignKey(Item, models.CASCADE, related_name="labels")


class BoxedItem(Item):
    """A child of a multi-table parent that has a relation."""

    weight = models.PositiveIntegerField(default=1)


class Club(models.Model):
    """Has its members through a model of its own."""

    name = models.CharField(max_length=80)
    members = models.ManyToManyField(Author, through="Seat", related_name="clubs")


class Seat(models.Model):
    club = models.ForeignKey(Club, models.CASCADE, related_name="seats")
    person = models.ForeignKey(Author, models.CASCADE, related_name="seats")
    since = models.PositiveIntegerField(default=2020)


class Ticket(models.Model):
    """Three foreign keys to one model."""

    title = models.CharField(max_length=80)
    reporter = models.ForeignKey(Author, models.CASCADE, related_name="reported")
    assignee = models.ForeignKey(Author, models.CASCADE, related_name="assigned")
    reviewer = models.ForeignKey(Author, models.CASCADE, related_name="reviewed")


class Page(PolymorphicModel):
    """django-polymorphic's: each row comes as an instance of its own class."""

    title = models.CharField(max_length=80)


class EventPage(Page):
    host = models.ForeignKey(Author, models.CASCADE, related_name="events")


class Guarded(Author):
    """Notes, and refuses, whatever is asked of it by the library under test."""

    touched: ClassVar[list[str]] = []

    class Meta:
        proxy = True

    def __getattribute__(self, name: str) -> Any:
        _refuse(name)
        return super().__getattribute__(name)

    def __getattr__(self, name: str) -> Any:
        _refuse(name)
        raise AttributeError(name)

    def __eq__(self, other: object) -> bool:
        _refuse("__eq__")
        return super().__eq__(other)

    def __hash__(self) -> int:
        _refuse("__hash__")
        return super().__hash__()

    def __bool__(self) -> bool:
        _refuse("__bool__")
        return True

    def __len__(self) -> int:
        _refuse("__len__")
        return 1

    def __repr__(self) -> str:
        return f"<{Publisher.objects.get(pk=self.publisher_id).name}>"

    __str__ = __repr__

    @property
    def raising(self) -> str:
        raise RuntimeError("not to be asked")

    @property
    def asking(self) -> str:
        return Publisher.objects.get(pk=self.publisher_id).name


def _refuse(name: str) -> None:
    if "/django_querybudget/" in sys._getframe(2).f_code.co_filename.replace("\\", "/"):
        Guarded.touched.append(name)
        raise RuntimeError(f"{name} is not to be asked")


class Greeted(Author):
    """Looks something up for each row that is made, if it was not given to the class before."""

    settings: ClassVar[dict[str, Setting]] = {}

    class Meta:
        proxy = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        key = f"key-{args[0] % 6}"
        setting = self.settings.get(key) or Setting.objects.get(key=key)  # N+1: greeting
        self.greeting = setting.value


class TitledBook(Book):
    class Meta:
        proxy = True

    def __str__(self) -> str:
        return f"{self.title} by {self.author.name}"


class TitledReview(Review):
    """A review whose form offers books by what their author is called."""

    class Meta:
        proxy = True
