"""Which of a query's conditions a loop varies: :func:`split_varying`, :func:`varies`."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from enum import Enum
from typing import Any

from django.core.exceptions import FieldError
from django.db.models import Field, Model
from django.db.models.sql import Query

from django_querybudget.evidence import Filter
from django_querybudget.evidence.instances import text_of
from django_querybudget.recording.raw import RawRecord

from .batches import hashable

__all__ = ["begins_alike", "lookup_of", "split_varying", "that_vary", "varies"]


def split_varying(
    records: Sequence[RawRecord], filters: tuple[Filter, ...] | None
) -> tuple[Filter, tuple[Filter, ...]] | None:
    """Return the one condition whose value is not the same in every run, then the others.

    None where several vary, or none.
    """
    varying = that_vary(records, filters)
    if len(varying) != 1 or not filters:
        return None
    return varying[0], tuple(each for each in filters if each is not varying[0])


def that_vary(
    records: Sequence[RawRecord], filters: tuple[Filter, ...] | None
) -> tuple[Filter, ...]:
    """Return the conditions whose value is not the same in every run."""
    if not filters:
        return ()
    places = list(_places(filters))
    before = _before(records[0], places)
    # Each parameter is some condition's, in their order, after those of what is selected.
    if begins_alike(records, filters):
        return tuple(
            each
            for each, place in zip(filters, places, strict=True)
            if len({_at(raw, before + place.start, before + place.stop) for raw in records}) > 1
        )
    return tuple(each for each in filters if varies(records, (each,)))


def begins_alike(records: Sequence[RawRecord], filters: tuple[Filter, ...]) -> bool:
    """Whether the parameters before those of the conditions are the same in every run."""
    before = _before(records[0], list(_places(filters)))
    return before >= 0 and len({_at(raw, 0, before) for raw in records}) == 1


def _before(raw: RawRecord, places: list[range]) -> int:
    return len(raw.params or ()) - places[-1].stop


def _at(raw: RawRecord, start: int, stop: int) -> Hashable:
    params = raw.params
    return hashable(tuple(params[start:stop])) if isinstance(params, tuple | list) else None


def _places(filters: tuple[Filter, ...]) -> Iterator[range]:
    """Yield where each condition's parameters are among the query's."""
    start = 0
    for lookup, value in filters:
        many = len(value) if type(value) in (list, tuple, set, frozenset) else 1
        yield range(start, start := start + (0 if lookup.endswith("__isnull") else many))


def varies(records: Sequence[RawRecord], filters: tuple[Filter, ...] | None) -> bool:
    """Whether a condition's value is not the same in every run: no one annotation answers that."""
    values = {
        str(value)
        for name, value in filters or ()
        if "__" not in name and type(value) in (int, str)  # Others the driver spells its own way.
    }
    given = [set(map(_text, raw.params)) for raw in records if values and raw.params]
    return any(not values <= each for each in given)


def lookup_of(model: type[Model], name: str) -> str | None:
    """Return how a condition compares: ``"gte"`` of ``"project__since__gte"``, else ``"exact"``.

    None if it compares what is made of the field (``"since__year"``), or is not the model's.
    """
    try:
        lookups, _, _ = Query(model).solve_lookup_type(name)
    except FieldError:
        return None
    if len(lookups) > 1:
        return None
    found = lookups[0] if lookups else "exact"
    return found if found in Field.class_lookups or found in _RELATED else None


# Those of relations, which are classes of their own.
_RELATED = {"exact", "in", "gt", "gte", "lt", "lte", "isnull"}


def _text(value: Any) -> str | None:
    plain = value.value if issubclass(type(value), Enum) else value
    return text_of(plain)
