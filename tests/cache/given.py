"""What decorated functions are given in random programs: values of every kind, in every form.

The answer of each function shows all that it was given, and what it found around it, in its rows.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from enum import Enum
from types import MethodType
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.contrib.auth.models import AnonymousUser
from django.db import models
from django.db.models import CharField, Model, Value
from django.utils import timezone, translation
from django.utils.functional import Promise, SimpleLazyObject
from django.utils.translation import gettext_lazy

from accounts.models import CustomUser
from django_querybudget.cache import cached_queryset
from tests.cache.hosts.fields import Level
from tests.cache.hosts.models import Thing
from tests.cache.relations.models import Book
from tests.cache.world import DAY

__all__ = ["ASKS", "CACHED", "FORMS", "PLAIN", "TAG", "VALUES", "bare"]

TAG = "given"

# Values


class Redacted(str):
    """A secret that does not show."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__


class Amount(int):
    def __repr__(self) -> str:
        return "#"

    __str__ = __repr__


class Status(models.TextChoices):
    OPEN = "open"
    HIDDEN = "hidden"

    def __repr__(self) -> str:
        return "a status"


TOKYO = ZoneInfo("Asia/Tokyo")


class Titled(models.Manager[Book]):
    """A manager with state of its own."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self.title = title
        self.model = Book

    def get_queryset(self) -> Any:
        return super().get_queryset().filter(title=self.title)


def _retitled(title: str, then: str) -> Titled:
    made = Titled(title)
    made.title = then
    return made


VALUES: list[list[Any]] = [
    [Redacted("a"), Redacted("b"), "a", "b", "***"],
    [("a", "b"), "a,b", "a", b"a"],
    [Amount(1), Amount(2), Level.LOW, Level.HIGH, 1, True],
    [1, True, 2, Decimal(1), 1.0, "1", frozenset({1, 2}), None],
    [Status.OPEN, Status.HIDDEN, "open", Redacted("open")],
    [gettext_lazy("Monday"), gettext_lazy("Sunday"), "Monday", "Montag"],
    [UUID(int=1), UUID(int=2), str(UUID(int=1)), 1],
    [DAY, DAY.astimezone(TOKYO), DAY.date(), timedelta(1), str(DAY)],
    [Titled("book 1"), Titled("book 2"), _retitled("book 1", "book 2"), Book.objects],
    [Book, Thing, AnonymousUser()],
]  # fmt: skip
"""Those of one list are easily taken for one another."""

# What the functions show


def _content(value: Any) -> str:
    while type(value) is SimpleLazyObject:
        value = value.__dict__["_setupfunc"]()
    if isinstance(value, Promise):
        value = str(value)
    if isinstance(value, Model):
        fields = {
            each.attname: getattr(value, each.attname) for each in value._meta.concrete_fields
        }
        wish = getattr(value, "wish", "")
        return f"{value.__class__.__name__} {fields} {wish} {_around(value)}"
    if isinstance(value, tuple | frozenset):
        return f"{type(value).__name__}({'; '.join(sorted(map(_content, value)))})"
    if isinstance(value, models.Manager):
        return f"titles {[each.title for each in value.all()]}"
    if isinstance(value, Enum):
        return f"{type(value).__name__} {value.value}"
    for plain in (str, int):
        if isinstance(value, plain):
            return f"{type(value).__name__} {plain.__repr__(value)}"
    return f"{type(value).__name__} {value}"


def _around(value: Model) -> str:
    """Return what hangs on an instance, and is kept by it once it was looked at."""
    if isinstance(value, Thing):
        return value.shelf.name
    if isinstance(value, CustomUser):
        return f"{value.profile.headline} {value.has_perm('jobs.view_job')}"
    if isinstance(value, Book):
        return f"{value.author.name} {sorted(each.word for each in value.tags.all())}"
    return ""


def books(what: Any) -> Any:
    hour = timezone.localtime(DAY).hour
    text = f"{_content(what)} in {translation.get_language()} at {hour}"
    found = Book.objects.order_by("pk").exclude(title=f"book {len(text) % 3}")
    return found.annotate(seen=Value(text, CharField()))


def books_of_many(*what: Any) -> Any:
    return books(what)


def books_by_name(**what: Any) -> Any:
    return books(tuple(what.items()))


def _closing_over(what: Any) -> Callable[[], Any]:
    def books_around() -> Any:
        return books(what)

    return books_around


# The functions, plain and cached, and the forms that they are called in


class Functions:
    """:func:`books` and its like; ``take`` is what a project does with each."""

    def __init__(self, take: Callable[[Any], Any]) -> None:
        self.alone = take(books)
        self.many = take(books_of_many)
        self.by_name = take(books_by_name)
        self._take = take
        # Functions that hold what they are given, with it: made once for each.
        self._made: dict[tuple[str, int], tuple[Any, Any]] = {}

    def around(self, what: Any) -> Any:
        return self._once("around", what, _closing_over)

    def bound(self, what: Any) -> Any:
        return self._once("bound", what, lambda what: MethodType(books, what))

    def _once(self, kind: str, what: Any, make: Callable[[Any], Any]) -> Any:
        if (kind, id(what)) not in self._made:
            self._made[kind, id(what)] = (what, self._take(make(what)))
        return self._made[kind, id(what)][1]

    def forget(self) -> None:
        """Let go of what was held."""
        self._made.clear()


PLAIN = Functions(lambda function: function)
CACHED = Functions(cached_queryset(timeout=600, tags=[TAG]))

Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]

FORMS: dict[str, Callable[[Functions, Any], Call]] = {
    "itself": lambda of, one: (of.alone, (one,), {}),
    "lazy": lambda of, one: (of.alone, (_lazy(one),), {}),
    "lazy in a lazy": lambda of, one: (of.alone, (_lazy(_lazy(one)),), {}),
    "tuple": lambda of, one: (of.alone, ((one,),), {}),
    "nested": lambda of, one: (of.alone, ((("a", (_lazy(one),)), Redacted("x")),), {}),
    "twice": lambda of, one: (of.alone, ((one, one),), {}),
    "set": lambda of, one: (of.alone, (frozenset({one}),), {}),
    "many": lambda of, one: (of.many, (one, "a"), {}),
    "by name": lambda of, one: (of.by_name, (), {"one": one, "other": 1}),
    "around": lambda of, one: (of.around(one), (), {}),
    "around in a tuple": lambda of, one: (of.around((one,)), (), {}),
    "bound": lambda of, one: (of.bound("" if one is None else one), (), {}),
    "key": lambda of, one: (of.alone, (one.pk if isinstance(one, Model) else one,), {}),
}

ASKS: dict[str, Callable[[Any], Any]] = {
    "rows": lambda found: [(each.pk, each.title, each.price, each.seen) for each in found],
    "count": lambda found: found.count(),
    "exists": lambda found: found.exists(),
    "first": lambda found: getattr(found.first(), "seen", None),
    "one": lambda found: found.get(pk=2).seen,
    "slice": lambda found: [(each.price, each.seen) for each in found[:1]],
    "values": lambda found: list(found.values("price", "seen")),
    "refined": lambda found: [each.seen for each in found.filter(price__gte=15)],
}


def _lazy(what: Any) -> Any:
    return SimpleLazyObject(lambda: what)


def bare(what: Any) -> Any:
    """Return an instance with the same fields and attributes, and nothing loaded or kept."""
    if not isinstance(what, Model):
        return what
    made = copy.copy(what)
    for name in list(made.__dict__):
        if name[0] == "_" and name != "_state":
            del made.__dict__[name]
    made._state.fields_cache = {}
    return made
