"""What writes at once what a loop writes row by row: :func:`write_fix`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from inspect import getattr_static
from typing import Any, TypeAlias

from django.db.models import Model
from django.db.models.signals import m2m_changed, post_save, pre_save
from django.dispatch import Signal

from django_querybudget.evidence import Load
from django_querybudget.evidence.relations import quoted
from django_querybudget.nplusone.batches import hashable
from django_querybudget.nplusone.detection import FRAMEWORK_TABLES, Loop
from django_querybudget.nplusone.parameters import begins_alike, split_varying
from django_querybudget.nplusone.source.calls import Call
from django_querybudget.nplusone.source.values import Written

from .expressions import every_row, keywords, manager_of, queryset_of

__all__ = ["write_fix"]

Wrote: TypeAlias = tuple[str, int] | None
"""The code, and how many queries it runs."""

_SET = re.compile(r"^UPDATE\s+\S+\s+SET\s+(.*?)\s+WHERE\b", re.IGNORECASE | re.DOTALL)
_COLUMN = re.compile(r'["`](\w+)["`]\s*=')
# Collector.delete() and the queries of DeleteQuery take so many keys at a time.
_KEYS_AT_A_TIME = 100


def write_fix(loops: Sequence[Loop], load: Load, call: Call | None, source: Written) -> Wrote:
    """Return what to write for the loops of one call, and the number of queries that are left.

    None where nothing does the same: a ``save()`` or a receiver of the project's is skipped by the
    bulk methods.
    """
    if load.model is None or load.model._meta.db_table in FRAMEWORK_TABLES:
        return None
    if load.step is not None and load.owner is not None:
        related = _RELATED.get(load.operation)
        return None if related is None else related(loops, load)
    if load.operation == "get_or_create":
        return _get_or_create(load, call)
    if load.operation in _CHOOSING:
        return _CHOOSING[load.operation](loops, load, source)
    write = _WRITES.get(load.operation)
    return None if write is None else write(loops, load)


def _rows(load: Load) -> str:
    return f"{'' if load.model is None else load.model._meta.model_name}_list"


def _create(loops: Sequence[Loop], load: Load) -> Wrote:
    model = _bulk_model(load)
    return None if model is None else (f"{manager_of(model)}.bulk_create({_rows(load)})", 1)


def _bulk_model(load: Load) -> type[Model] | None:
    """Return the model, if ``bulk_create()`` makes its rows as ``save()`` does."""
    model = load.model
    if model is None or not _saves_plainly(model):
        return None
    # Rows of two tables: bulk_create() refuses them.
    return None if any(model._meta.parents.values()) else model


def _saves_plainly(model: type[Model]) -> bool:
    return _is_djangos(model, "save") and not any(
        _has_receivers(signal, model) for signal in (pre_save, post_save)
    )


def _is_djangos(model: type[Model], method: str) -> bool:
    return getattr_static(model, method) is getattr_static(Model, method)


def _has_receivers(signal: Signal, sender: Any) -> bool:
    """Whether somebody listens, other than this library: its cache sees the statement itself."""
    found: Any = signal._live_receivers(sender)
    return any(
        not str(getattr(each, "__module__", "")).startswith("django_querybudget")
        for group in found
        for each in (group if isinstance(group, list) else [group])
    )


def _save(loops: Sequence[Loop], load: Load) -> Wrote:
    model = load.model
    if model is None or not _saves_plainly(model):
        return None
    names = load.fields or tuple(dict.fromkeys(_columns(loops, model)))
    if not names:
        return None
    code = f"{every_row(model)}.bulk_update({_rows(load)}, [{', '.join(map(quoted, names))}])"
    now = [name for name in names if getattr(model._meta.get_field(name), "auto_now", False)]
    if now:
        code += f"  # sets no {' and no '.join(now)}: set it first"
    # Those of a parent's table are updated by key, and the keys asked for first.
    inherited = any(model._meta.get_field(name).model is not model for name in names)
    return code, len(loops) + (inherited and model._meta.concrete_model is model)


def _columns(loops: Sequence[Loop], model: type[Model]) -> Iterator[str]:
    """Yield the fields that the UPDATEs set, in the model's order."""
    found: set[str] = set()
    for loop in loops:
        match = _SET.match(loop.records[0].sql)
        found |= set(_COLUMN.findall(match[1])) if match is not None else set()
    return (field.name for field in model._meta.fields if field.column in found)


def _delete(loops: Sequence[Loop], load: Load, source: Written) -> Wrote:
    model = load.model
    if model is None:
        return None
    calls = max(len(loop.records) for loop in loops)
    # What each call runs; its keys are taken a hundred at a time where there is more to delete.
    left = len(loops) * (1 if len(loops) == 1 else -(-calls // _KEYS_AT_A_TIME))
    if not load.filters:  # An instance's; a queryset's fetches the rows first, if it cascades.
        if load.filters is None or load.keys != ("pk",) or not _is_djangos(model, "delete"):
            return None
        keys = f"[each.pk for each in {_rows(load)}]"
        return f"{every_row(model)}.filter(pk__in={keys}).delete()", left + (left > 1)
    chosen = _chosen(loops[0], load, source)
    return (
        None if chosen is None else (f"{queryset_of(model, load.manager)}{chosen}.delete()", left)
    )


def _update(loops: Sequence[Loop], load: Load, source: Written) -> Wrote:
    """Of one value after another: at once, if every run sets the same."""
    written, records = keywords(source.spelled(load.values)), loops[0].records
    if len(loops) > 1 or load.model is None or not written or not load.filters:
        return None
    chosen = _chosen(loops[0], load, source) if begins_alike(records, load.filters) else None
    rows = queryset_of(load.model, load.manager)
    return None if chosen is None else (f"{rows}{chosen}.update({written})", 1)


def _chosen(loop: Loop, load: Load, source: Written) -> str | None:
    """Return the filter of all rows that a loop chooses by one value after another, as code."""
    split = split_varying(loop.records, load.filters)
    if split is None or "__" in split[0].lookup:
        return None
    name, rest = split[0].lookup, keywords(source.spelled(split[1]))
    if rest is None:
        return None
    return f".filter({name}__in={_plural(name)}{f', {rest}' if rest else ''})"


def _plural(name: str) -> str:
    return f"{name}es" if name.endswith("s") else f"{name}s"


def _get_or_create(load: Load, call: Call | None) -> Wrote:
    """A row that is there is left as it is: a conflict. Where nothing is unique there is none."""
    model = _bulk_model(load)
    if model is None or not _unique_within(model, load.keys):
        return None
    rows = f"{manager_of(model)}.bulk_create({_rows(load)}, ignore_conflicts=True)"
    if call is not None and call.is_statement:
        return rows, 1
    if len(load.keys) != 1:  # What it returns is read, and to be read anew.
        return None
    name = load.keys[0]
    field: Any = model._meta.get_field(name)
    by = "" if field.primary_key else f", field_name={quoted(name)}"
    return f"{rows}\n{queryset_of(model, load.manager)}.in_bulk({_plural(name)}{by})", 2


def _update_or_create(loops: Sequence[Loop], load: Load) -> Wrote:
    model = _bulk_model(load)
    if model is None or not load.fields or not _is_unique(model, load.keys):
        return None
    names = ", ".join(map(quoted, load.fields))
    options = f"update_conflicts=True, update_fields=[{names}]"
    if loops[0].records[0].vendor != "mysql":  # It takes any unique field, and the name of none.
        options += f", unique_fields=[{', '.join(map(quoted, load.keys))}]"
    return f"{manager_of(model)}.bulk_create({_rows(load)}, {options})", 1


def _unique_sets(model: type[Model]) -> Iterator[set[str]]:
    """Yield the names that tell any two rows apart: of no condition, of no expression.

    What may refuse a row is more than that; ``trying.copying`` has it.
    """
    options = model._meta
    for field in options.concrete_fields:
        if field.unique:
            yield {field.name}
    yield from map(set, options.unique_together)
    yield from (set(each.fields) for each in options.total_unique_constraints if each.fields)


def _is_unique(model: type[Model], names: tuple[str, ...]) -> bool:
    return set(names) in list(_unique_sets(model))


def _unique_within(model: type[Model], names: tuple[str, ...]) -> bool:
    return any(each <= set(names) for each in _unique_sets(model))


def _bulk_create(loops: Sequence[Loop], load: Load) -> Wrote:
    if load.model is None:
        return None
    return f"{manager_of(load.model)}.bulk_create({_rows(load)})", len(loops)


def _bulk_update(loops: Sequence[Loop], load: Load) -> Wrote:
    if load.model is None:
        return None
    names = ", ".join(map(quoted, load.fields))
    start = queryset_of(load.model, load.manager)
    return f"{start}.bulk_update({_rows(load)}, [{names}])", len(loops)


def _through(load: Load) -> tuple[str, str, str] | None:
    """Return a many-to-many relation's table as code, and its columns here and there.

    None where the project wrote that model, or listens to changes: both see a related manager's
    calls alone.
    """
    if load.owner is None or load.step is None:
        return None
    found: Any = getattr_static(load.owner, load.step.accessor, None)
    field: Any = getattr(getattr(found, "rel", None), "field", None)
    if field is None or not field.many_to_many:
        return None
    through = field.remote_field.through
    if not through._meta.auto_created or _has_receivers(m2m_changed, through):
        return None
    here, there = field.m2m_field_name(), field.m2m_reverse_field_name()
    if getattr(found, "reverse", False):
        here, there = there, here
    return f"{load.owner.__name__}.{load.step.accessor}.through.objects", here, there


def _add(loops: Sequence[Loop], load: Load) -> Wrote:
    through = _through(load)
    if through is not None:
        rows = f"{load.step.accessor if load.step else ''}_list"
        return f"{through[0]}.bulk_create({rows}, ignore_conflicts=True)", 1
    if load.model is None or load.step is None or not load.step.field:
        return None
    if _is_many_to_many(load):
        return None
    name = load.step.field  # add() is an UPDATE: neither save() nor a receiver is left out.
    return f"{every_row(load.model)}.bulk_update({_rows(load)}, [{quoted(name)}])", 1


def _is_many_to_many(load: Load) -> bool:
    found: Any = getattr_static(load.owner, load.step.accessor, None) if load.step else None
    field = getattr(getattr(found, "rel", None), "field", None)
    return bool(getattr(field, "many_to_many", False))


def _clear(loops: Sequence[Loop], load: Load) -> Wrote:
    through = _through(load)
    if through is None or len(loops) > 1:
        return None
    manager, here, _ = through
    return f"{manager}.filter({here}_id__in={here}_ids).delete()", 1


def _remove(loops: Sequence[Loop], load: Load) -> Wrote:
    through = _through(load)
    if through is None or len(loops) > 1:
        return None
    manager, here, there = through
    # DELETE ... WHERE (here = %s AND there IN (%s, ...)): the same ones of every row.
    if len({hashable(tuple(raw.params[1:])) for raw in loops[0].records}) > 1:
        return None
    return f"{manager}.filter({here}_id__in={here}_ids, {there}_id__in={there}_ids).delete()", 1


_CHOOSING: dict[str, Callable[[Sequence[Loop], Load, Written], Wrote]] = {
    "delete": _delete,
    "update": _update,
}
_WRITES: dict[str, Callable[[Sequence[Loop], Load], Wrote]] = {
    "bulk_create": _bulk_create,
    "bulk_update": _bulk_update,
    "create": _create,
    "save": _save,
    "update_or_create": _update_or_create,
}


def _create_related(loops: Sequence[Loop], load: Load) -> Wrote:
    created, through = _create(loops, load), _through(load)
    if created is None or not _is_many_to_many(load):
        return created
    added = None if through is None else _add(loops, load)
    return None if added is None else (f"{created[0]}\n{added[0]}", 2)


_RELATED: dict[str, Callable[[Sequence[Loop], Load], Wrote]] = {
    "add": _add,
    "bulk_create": _bulk_create,
    "clear": _clear,
    "create": _create_related,
    "remove": _remove,
}
