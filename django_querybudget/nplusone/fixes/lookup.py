"""Look-ups one by one, by a key or a value: asked for at once, before the loop."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence

from django_querybudget.evidence import Load
from django_querybudget.evidence.relations import quoted
from django_querybudget.nplusone.parameters import lookup_of, split_varying
from django_querybudget.nplusone.source.calls import Call
from django_querybudget.nplusone.source.values import Written
from django_querybudget.recording.raw import RawRecord

from .expressions import keywords, queryset_of

__all__ = ["grouped_fix", "lookup_fix"]


def lookup_fix(load: Load, records: Sequence[RawRecord], written: Written) -> str | None:
    """Return the one query that answers what a loop of look-ups asks one by one."""
    if load.model is None:
        return None
    if not load.filters:
        return _grouped(load)
    split = split_varying(records, load.filters)
    if split is None:
        return None
    model, (first, more) = load.model, split
    name = first.lookup.removesuffix("__exact")
    if "__" in name:
        return None
    field = next((each for each in model._meta.concrete_fields if each.attname == name), None)
    if field is None:
        return None
    values = f"{name}s" if not name.endswith("s") else f"{name}es"
    start = queryset_of(model, load.manager)
    if "select_for_update" in load.refinements:
        start = f"{start}.select_for_update()"
    if load.operation in ("get", "first") and not more and field.unique and field.primary_key:
        return f"{start}.in_bulk({values})"
    if load.operation == "get" and not more and field.unique:
        return f"{start}.in_bulk({values}, field_name={quoted(name)})"
    rest = keywords(written.spelled(more))
    if rest is None:
        return None
    rows = f"{start}.filter({name}__in={values}{f', {rest}' if rest else ''})"
    if load.operation == "count":
        return f'{rows}.values({quoted(name)}).annotate(count=Count("pk"))'
    if load.operation == "exists":
        return f"{rows}.values_list({quoted(name)}, flat=True).distinct()"
    if load.operation == "aggregate" and load.aggregate and written.has_constant_order():
        alias, function, column = load.aggregate
        return f"{rows}.values({quoted(name)}).annotate({alias}={function}({quoted(column)}))"
    return rows if load.operation in ("all", "get", "first", "last", "iterator") else None


def _grouped(load: Load) -> str | None:
    """Return what answers for all values of the one condition that a loop varies."""
    if load.last is None or load.operation != "count" or "__" in load.last.lookup:
        return None
    return f'queryset.values({quoted(load.last.lookup)}).annotate(count=Count("pk"))'


def grouped_fix(
    load: Load, call: Call, known: Callable[[ast.expr], bool], *, waits: bool
) -> tuple[str, str] | None:
    """Return the statement before a loop that counts for each value, and what to read in it.

    ``known`` tells whether an expression can stand before the loop.
    ``waits`` is whether that is in a coroutine, where no ``dict()`` may run a query.
    ``rows.filter(status=status).count()`` is one query for each status; grouped, one for all.
    """
    if load.last is None or load.model is None:
        return None
    if lookup_of(load.model, load.last.lookup) != "exact":
        return None  # Of no key that rows could be grouped by.
    match call.receiver:
        case ast.Call(
            func=ast.Attribute(value=rows, attr="filter"),
            args=[],
            keywords=[ast.keyword(arg=str(name), value=value)],
        ) if name in (load.last.lookup, load.last.lookup.removesuffix("_id")) and known(rows):
            grouped = f"{ast.unparse(rows)}.order_by().values_list({quoted(name)})"
            grouped += '.annotate(Count("pk"))'
            pairs = f"{{key: count async for key, count in {grouped}}}"
            counts = pairs if waits else f"dict({grouped})"
            return f"counts = {counts}", f"counts.get({ast.unparse(value)}, 0)"
    return None
