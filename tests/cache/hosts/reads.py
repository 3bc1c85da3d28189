"""Reads of these models and querysets, in the form of :mod:`tests.cache.reads`."""

from __future__ import annotations

from typing import Any

from django.db.models import Count, F, Prefetch, Sum

from tests.cache.reads import Cached, Read

from .models import (
    Animal,
    Branch,
    ByCode,
    ByUuid,
    Circle,
    Hashed,
    Holder,
    Negated,
    Poll,
    Product,
    Sealed,
    Shape,
    Shelf,
)
from .rows import THINGS, key_of

READS: dict[str, Read] = {}


def read(function: Read) -> Read:
    READS[function.__name__] = function
    return function


def _reads_of(model: Any) -> None:
    """The same for each model with code of its own."""
    name = model.__name__.lower()

    def rows(c: Cached, using: str) -> Any:
        return list(c(model.objects.using(using).order_by("number", "pk")))

    def joined(c: Cached, using: str) -> Any:
        queryset = model.objects.using(using).select_related("shelf").order_by("number", "pk")
        return list(c(queryset.annotate(doubled=F("number") + 1)))

    def by_name(c: Cached, using: str) -> Any:
        return c(
            model.objects.using(using).only("name", "number", "labels").filter(name="n1")
        ).first()

    def iterated(c: Cached, using: str) -> Any:
        return list(c(model.objects.using(using).order_by("number", "pk")).iterator())

    def values(c: Cached, using: str) -> Any:
        queryset = model.objects.using(using).order_by("number", "pk")
        return list(c(queryset.values_list("pk", "number", "labels")))

    def prefetched(c: Cached, using: str) -> Any:
        some = Prefetch(f"{name}s", model.objects.order_by("number", "pk"))
        return list(c(Shelf.objects.using(using).prefetch_related(some).order_by("pk")))

    def total(c: Cached, using: str) -> Any:
        return c(model.objects.using(using)).aggregate(Sum("number"), n=Count("pk"))

    for each in (rows, joined, by_name, iterated, values, prefetched, total):
        READS[f"{name}_{each.__name__}"] = each


for _model in THINGS:
    _reads_of(_model)


@read
def hashed_by_key(c: Cached, using: str) -> Any:
    return c(Hashed.objects.using(using)).get(pk="h1")


@read
def negated_by_key(c: Cached, using: str) -> Any:
    return c(Negated.objects.using(using)).get(pk=1)


@read
def sealed_by_key(c: Cached, using: str) -> Any:
    return c(Sealed.objects.using(using).filter(pk=1)).first()


@read
def uuid_by_key(c: Cached, using: str) -> Any:
    return c(ByUuid.objects.using(using)).get(pk=key_of(ByUuid, 1))


@read
def code_by_key(c: Cached, using: str) -> Any:
    return c(ByCode.objects.using(using)).get(pk=key_of(ByCode, 1))


@read
def holders(c: Cached, using: str) -> Any:
    queryset = Holder.objects.using(using).select_related("from_db_row__shelf", "inited", "hashed")
    return list(c(queryset.order_by("pk")))


@read
def holders_of_a_hashed(c: Cached, using: str) -> Any:
    return list(c(Holder.objects.using(using).filter(hashed="h1").order_by("pk")))


@read
def generic_shelves(c: Cached, using: str) -> Any:
    return list(c(Shelf.generic.using(using).order_by("pk")).named("a"))


@read
def shelves_marked(c: Cached, using: str) -> Any:
    return [(c(Shelf.slotted.using(using).marked(mark)).first(), mark) for mark in ("a", "b")]


@read
def shelves_for_alice(c: Cached, using: str) -> Any:
    queryset = Shelf.stateful.using(using).for_user("alice").order_by("pk")
    return [*c(queryset), c(queryset).count()]


@read
def shelves_for_bob(c: Cached, using: str) -> Any:
    queryset = Shelf.stateful.using(using).for_user("bob").order_by("pk")
    return [*c(queryset), c(queryset).count()]


@read
def shelves_iterated_for_alice(c: Cached, using: str) -> Any:
    return list(c(Shelf.iterated.using(using).for_user("alice").order_by("pk")))


@read
def shelves_iterated_for_bob(c: Cached, using: str) -> Any:
    return list(c(Shelf.iterated.using(using).for_user("bob").order_by("pk")))


@read
def final_shelves(c: Cached, using: str) -> Any:
    return list(c(Shelf.final.using(using).order_by("pk")))


@read
def animals(c: Cached, using: str) -> Any:
    return list(c(Animal.objects.using(using).order_by("pk")))


@read
def animals_of_all_kinds(c: Cached, using: str) -> Any:
    return list(c(Animal.objects.using(using).order_by("pk").select_subclasses()))


@read
def dogs_among_animals(c: Cached, using: str) -> Any:
    return list(c(Animal.objects.using(using).order_by("pk").select_subclasses("dog")))


@read
def shapes(c: Cached, using: str) -> Any:
    return list(c(Shape.objects.using(using).order_by("pk")))


@read
def plain_shapes(c: Cached, using: str) -> Any:
    return list(c(Shape.objects.using(using).non_polymorphic().order_by("pk")))


@read
def circles(c: Cached, using: str) -> Any:
    return c(Circle.objects.using(using)).aggregate(n=Sum("radius"))


@read
def products_in_english(c: Cached, using: str) -> Any:
    found = c(Product.objects.using(using).language("en-us").order_by("pk"))
    return [(each.code, each.safe_translation_getter("title")) for each in found]


@read
def products_in_german(c: Cached, using: str) -> Any:
    found = c(Product.objects.using(using).language("de").order_by("pk"))
    return [(each.code, each.safe_translation_getter("title")) for each in found]


@read
def products_translated(c: Cached, using: str) -> Any:
    queryset = Product.objects.using(using).translated("de", title="Tasse")
    return [each.code for each in c(queryset)]


@read
def leaves(c: Cached, using: str) -> Any:
    return list(c(Branch.objects.using(using).filter(level=1)))


@read
def descendants(c: Cached, using: str) -> Any:
    tree = Branch.objects.using(using)  # get_descendants() has the default database alone
    return list(c(tree.filter(tree_id=1, lft__gt=1, rght__lt=4).order_by("lft")))


@read
def history(c: Cached, using: str) -> Any:
    return list(c(Poll.history.using(using).order_by("pk")).values("question", "history_type"))


@read
def instances_of_history(c: Cached, using: str) -> Any:
    found = c(Poll.history.using(using).order_by("pk").as_instances())
    return [(type(each).__name__, each.pk, each.question) for each in found]
