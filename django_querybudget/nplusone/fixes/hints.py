"""What is said of a loop that has no line to write: :func:`hint_for`. No more than is known."""

from __future__ import annotations

from django_querybudget.evidence import BY_INDEX, Load
from django_querybudget.nplusone.detection import Loop
from django_querybudget.nplusone.findings import Cause
from django_querybudget.nplusone.parameters import lookup_of, that_vary

__all__ = ["hint_for"]

_SAID = {
    Cause.RELATION: (
        "No queryset is known that could load it: use select_related() or prefetch_related() where "
        "the rows come from; read a tree level by level."
    ),
    Cause.RELATED_QUERY: "Load the rows with one query before the loop: filter(…__in=…).",
    Cause.BYPASSED_PREFETCH: "Sort or filter the prefetched rows in Python, or prefetch as needed.",
    Cause.PREFETCH: "Call it once, before the loop, with all of its rows.",
    Cause.WRITE: "Write all rows with one statement, if no save() or receiver is left out by it.",
}
_TABLES = (
    "No bulk method creates rows of several tables at once: at least write them in one transaction."
)
_ONCE = "Ask once, before the loop, for what its runs ask one by one."
_EQUAL = ("exact", "in", "iexact")
_RANGES = ("gt", "gte", "lt", "lte", "range")
_SUMMED = ("count", "aggregate", "exists")


def hint_for(cause: Cause, loop: Loop) -> str:
    """Return a sentence, or nothing, where no line is suggested for ``loop``."""
    load = loop.load
    if cause is Cause.WRITE and load is not None and _creates_in_tables(load):
        return _TABLES
    if cause is not Cause.LOOKUP:
        return _SAID.get(cause, "")
    if load is None:
        return ""
    if not load.is_direct:
        return "A form, a validator or a package asks it, not the line itself."
    return _for_lookup(load, loop)


def _creates_in_tables(load: Load) -> bool:
    """Whether it creates rows of a multi-table child, which ``bulk_create()`` refuses."""
    model = load.model
    return load.operation == "create" and model is not None and any(model._meta.parents.values())


def _for_lookup(load: Load, loop: Loop) -> str:
    if load.operation == BY_INDEX:
        return "Take the rows once, before the loop, and index these: rows = list(queryset)."
    varying = that_vary(loop.records, load.filters)
    if not varying or load.model is None:
        return _ONCE
    lookups = {lookup_of(load.model, each.lookup) for each in varying}
    if lookups <= set(_EQUAL):
        names = ", ".join(_without_lookup(each.lookup) for each in varying)
        return f"Ask once, before the loop, for all the values of {names}: IN (…)."
    if load.operation in _SUMMED and lookups <= set(_RANGES):
        return (
            "Ask once for all the ranges: name each row's range by an annotation, and group by it."
        )
    return _ONCE


def _without_lookup(name: str) -> str:
    before, _, last = name.rpartition("__")
    return before if before and last in _EQUAL else name
