"""Writes of these models, in the form of :mod:`tests.cache.writes`."""

from __future__ import annotations

from typing import Any

from django.db import connections
from django.db.models import F

from tests.cache.writes import EVERY_VENDOR, Kind

from .models import (
    Animal,
    Branch,
    ByCode,
    ByUuid,
    Cat,
    Circle,
    Dog,
    Hashed,
    Holder,
    Negated,
    Poll,
    Product,
    Sealed,
    Shelf,
)
from .rows import THINGS, key_of

KINDS: dict[str, Kind] = {}


def kind(function: Any) -> Any:
    KINDS[function.__name__] = Kind(name=function.__name__, run=function, vendors=EVERY_VENDOR)
    return function


def _first(rows: Any) -> Any:
    """Return the first of ``rows``. Raises DoesNotExist where a program has deleted them all."""
    return rows[:1].get()


def _writes_of(model: Any) -> None:
    name = model.__name__.lower()

    def save(using: str) -> None:
        for each in model.objects.using(using).filter(number__lte=2):
            each.number = 7
            each.save(using=using)

    def save_one_field(using: str) -> None:
        each = _first(model.objects.using(using).order_by("pk"))
        each.name = f"{each.name[:3]}*"
        each.save(using=using, update_fields=["name"])

    def update(using: str) -> None:
        rows = model.objects.using(using)
        rows.filter(number=1).update(number=F("number") + 1, labels=["new"])

    def update_one(using: str) -> None:
        key = _first(model.objects.using(using).order_by("pk").values_list("pk", flat=True))
        model.objects.using(using).filter(pk=key).update(name="n1")

    def bulk_update(using: str) -> None:
        rows = list(model.objects.using(using))
        for each in rows:
            each.labels = ["bulk"]
        model.objects.using(using).bulk_update(rows, ["labels"])

    def create(using: str) -> None:
        key = {"pk": key_of(model, 50)} if model in (Negated, ByUuid, ByCode, Sealed) else {}
        more = {"word": "new"} if name == "secret" else {}
        model.objects.using(using).create(shelf_id=1, name="n1", **key, **more)

    def delete(using: str) -> None:
        _first(model.objects.using(using).order_by("-pk")).delete(using=using)

    for each in (save, save_one_field, update, update_one, bulk_update, create, delete):
        full = f"{name}_{each.__name__}"
        KINDS[full] = Kind(name=full, run=each, vendors=EVERY_VENDOR)


for _model in THINGS:
    _writes_of(_model)


@kind
def hashed_by_key(using: str) -> None:
    Hashed.objects.using(using).filter(pk="h1").update(name=F("number"))


@kind
def negated_by_key(using: str) -> None:
    Negated.objects.using(using).filter(pk=1).update(name=F("number"))


@kind
def negated_by_its_column(using: str) -> None:
    with connections[using].cursor() as cursor:
        cursor.execute("UPDATE hosts_negated SET name = 'raw' WHERE id = -1")


@kind
def sealed_by_key(using: str) -> None:
    Sealed.objects.using(using).filter(pk=1).update(name=F("number"), secret="t")


@kind
def uuid_by_key(using: str) -> None:
    rows = ByUuid.objects.using(using)
    rows.filter(pk=key_of(ByUuid, 1)).update(name=F("number"))


@kind
def code_by_key(using: str) -> None:
    rows = ByCode.objects.using(using)
    rows.filter(pk=key_of(ByCode, 1)).update(name=F("number"))


@kind
def holder_moves(using: str) -> None:
    holder = Holder.objects.using(using).get(pk=2)
    holder.hashed_id = "h2" if holder.hashed_id == "h1" else "h1"
    holder.save(using=using)


@kind
def shelf_renamed(using: str) -> None:
    shelf = Shelf.objects.using(using).get(pk=1)
    shelf.name = "b" if shelf.name == "a" else "a"
    shelf.save(using=using)


@kind
def dog_renamed(using: str) -> None:
    dog = Dog.objects.using(using).get(pk=1)
    dog.name, dog.barks = "rex", not dog.barks
    dog.save(using=using)


@kind
def animal_becomes_a_cat(using: str) -> None:
    Cat(animal_ptr_id=3, name="a3", lives=7).save_base(raw=True, using=using)


@kind
def animals_updated(using: str) -> None:
    Animal.objects.using(using).update(name="all")


@kind
def circle_grows(using: str) -> None:
    circle = Circle.objects.using(using).get(pk=2)
    circle.radius, circle.name = circle.radius + 1, "round"
    circle.save(using=using)


@kind
def translation_changes(using: str) -> None:
    rows = Product.translations.field.model.objects.using(using)
    rows.filter(language_code="de").update(title="Becher")


@kind
def translation_saved(using: str) -> None:
    row = Product.translations.field.model.objects.using(using).get(language_code="en-us")
    row.title = f"{row.title[:5]}."
    row.save(using=using)


@kind
def branch_grows(using: str) -> None:
    leaf = Branch.objects.using(using).filter(pk=2)
    leaf.update(name="twig", rght=F("rght"))


@kind
def poll_saved(using: str) -> None:
    poll = Poll.objects.using(using).get(pk=1)
    poll.question = f"{poll.question[:5]}?"
    poll.save(using=using)
