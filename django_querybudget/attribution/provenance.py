"""Which query an instance came from: :func:`find_provenance`.

An instance does not know. What is looked at, most certain first:

1. Frames: while instances are being made, the iterable that makes them is on the stack.
2. Identity: the instance is among the rows of a queryset that is still alive. One that is alive
   and does not have it is ruled out.
3. Keys: an earlier query asked for this primary key, or for the rows of this foreign key.
4. Elimination: one earlier query alone reads this model, with the same fields deferred.

What is left undecided is said to be unknown: a wrong line is worse than none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from django.db.models import Model
from django.db.models.constants import LOOKUP_SEP

from .loads import Provenance, Step, loop_key
from .relations import conditions, step_of, target_of

if TYPE_CHECKING:
    from django_querybudget.records import RawRecord

    from .evidence import Evidence, Source

__all__ = ["find_provenance"]

# How far back records and rows are searched.
_MOST_RECORDS = 2000
_MOST_ROWS = 2000

_RULED_OUT, _POSSIBLE, _BY_KEY, _BY_IDENTITY = range(4)


def find_provenance(
    evidence: Evidence, records: Sequence[RawRecord], instance: Model
) -> Provenance | None:
    """Return the query that ``instance`` came from; None if that is not certain."""
    best: dict[tuple[Any, ...], Provenance] = {}
    best_score = _POSSIBLE
    for raw in islice(reversed(records), 1, _MOST_RECORDS):
        sql, alias, origin = raw[0], raw[3], raw[8]
        source = evidence.sources.get(sql)
        if source is None or origin is None or alias != instance._state.db:
            continue
        for root, path in _paths(evidence, source, type(instance)):
            score = _score(source, raw, instance, path if root is source else None)
            if score < best_score or not _same_fields(root, path, instance):
                continue
            if score > best_score:
                best_score, best = score, {}
            key, where = loop_key(sql, origin), origin
            if root is not source:
                found = _record_of(evidence, records, root)
                if found is None:
                    continue
                key, where = loop_key(found[0], found[1]), found[1]
            best[*key, path] = Provenance(key, where, path)
        if best_score == _BY_IDENTITY:
            break
    return next(iter(best.values())) if len(best) == 1 else None


def _record_of(
    evidence: Evidence, records: Sequence[RawRecord], source: Source
) -> tuple[str, Any] | None:
    """Return text and origin of the one place where ``source`` ran."""
    found = {
        loop_key(raw[0], raw[8]): (raw[0], raw[8])
        for raw in records
        if raw[8] is not None and evidence.sources.get(raw[0]) is source
    }
    return next(iter(found.values())) if len(found) == 1 else None


def _paths(
    evidence: Evidence, source: Source, model: type[Model]
) -> Iterator[tuple[Source, tuple[Step, ...]]]:
    """Yield how rows of ``source`` lead to instances of ``model``, and from which queryset."""
    own = source.query.model
    root, prefix = source, ()
    if source.prefetch_to is not None:
        parent = next(
            (each for each in evidence.sources.values() if each.query is source.parent_query), None
        )
        if parent is not None:
            steps = steps_along(parent.query.model, source.prefetch_to)
            if steps is not None:
                root, prefix = parent, steps
    if own._meta.concrete_model is model._meta.concrete_model:
        yield root, prefix
    selected = getattr(source.query, "select_related", False)
    if isinstance(selected, dict):
        for path, end in _joined(own, selected):
            if end._meta.concrete_model is model._meta.concrete_model:
                yield root, (*prefix, *path)


def _joined(
    model: type[Model], selected: dict[str, Any]
) -> Iterator[tuple[tuple[Step, ...], type[Model]]]:
    for name, deeper in selected.items():
        step = next((each for each in _relations(model) if each[0].lookup == name), None)
        if step is not None:
            yield (step[0],), step[1]
            for path, end in _joined(step[1], deeper):
                yield (step[0], *path), end


def _relations(model: type[Model]) -> Iterator[tuple[Step, type[Model]]]:
    for field in (*model._meta.get_fields(), *model._meta.private_fields):
        related: Any = getattr(field, "related_model", None)
        if field.is_relation and isinstance(related, type) and not getattr(field, "hidden", False):
            yield step_of(field), related


def steps_along(model: type[Model], lookup: str) -> tuple[Step, ...] | None:
    """Return the hops of a prefetch lookup; None if one is no relation (a ``to_attr``)."""
    steps: list[Step] = []
    for name in lookup.split(LOOKUP_SEP):
        found = next((each for each in _relations(model) if each[0].accessor == name), None)
        if found is None:
            return None
        steps.append(found[0])
        model = found[1]
    return tuple(steps)


def _same_fields(source: Source, path: tuple[Step, ...], instance: Model) -> bool:
    """Whether the queryset leaves out all the fields that the instance lacks."""
    if path:
        return True
    loading = getattr(source.query, "deferred_loading", None)
    if loading is None:
        return True
    names, deferred = loading
    own = source.query.model._meta
    left_out = {
        field.attname
        for field in own.concrete_fields
        if field is not own.pk and (field.name in names or field.attname in names) is bool(deferred)
    }
    return instance.get_deferred_fields() <= left_out


def _score(source: Source, raw: RawRecord, instance: Model, path: tuple[Step, ...] | None) -> int:
    rows = getattr(source.queryset(), "_result_cache", None)
    if rows is not None and path is not None and _ran_once(source, raw):
        for row in islice(rows, _MOST_ROWS):
            if _follow(row, path) is instance:
                return _BY_IDENTITY
        return _RULED_OUT
    if path:
        return _POSSIBLE
    params = raw[1]
    wanted = list(conditions(source.query)) if hasattr(source.query, "where") else []
    if len(wanted) != 1 or not params:
        return _POSSIBLE
    target = target_of(wanted[0])
    if target is None or getattr(wanted[0], "lookup_name", "") != "exact":
        return _POSSIBLE
    if target.model._meta.concrete_model not in instance._meta.all_parents and (
        target.model is not instance._meta.concrete_model
    ):
        return _POSSIBLE  # A join's column: many-to-many.
    value = instance.__dict__.get(target.attname)
    # Spelled by the driver: compared as text, a UUID's without its hyphens.
    matches = str(value).replace("-", "") == str(params[0]).replace("-", "")
    return _BY_KEY if matches else _RULED_OUT


def _ran_once(source: Source, raw: RawRecord) -> bool:
    """Whether the queryset that is kept is the one of this record, not of an earlier repeat."""
    return source.record is raw


def _follow(row: Any, path: tuple[Step, ...]) -> Any:
    for step in path:
        state = getattr(row, "_state", None)
        row = None if state is None else state.fields_cache.get(step.accessor)
    return row
