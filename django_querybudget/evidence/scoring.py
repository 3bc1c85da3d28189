"""How certain it is that an instance is of a query's rows: :func:`score_of`."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from django.db.models import Model
from django.db.models.constants import LOOKUP_SEP
from django.db.models.lookups import Lookup

from .hops import relations_of
from .instances import attributes_of, deferred_of, is_of, related_of, same_key
from .loads import Step
from .relations import conditions, target_of

if TYPE_CHECKING:
    from django_querybudget.recording.raw import RawRecord

    from .sources import Source

__all__ = ["BY_IDENTITY", "BY_KEY", "POSSIBLE", "has_joined", "has_same_fields", "score_of"]

_MOST_ROWS = 2000

RULED_OUT, POSSIBLE, BY_PREFETCH, BY_KEY, BY_IDENTITY = range(5)


def has_same_fields(source: Source, path: tuple[Step, ...], instance: Model) -> bool:
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
    return deferred_of(instance) <= left_out


def has_joined(
    source: Source, path: tuple[Step, ...], instance: Model, *, also: bool = False
) -> bool:
    """Whether ``instance`` holds what the queryset joins to the rows at the end of ``path``.

    ``also`` asks whether that is something at all, and the instance one of the queryset's rows.
    """
    joined: Any = getattr(source.query, "select_related", False)
    if not isinstance(joined, dict):
        return not also
    for step in path:
        joined = joined.get(step.lookup, {})
    held = related_of(instance)
    model = type(instance)
    if also and source.model._meta.concrete_model is not model._meta.concrete_model:
        return False
    names = {
        cache for step, _, cache in relations_of(model) if step.lookup in joined and step.joins
    }
    return names <= held.keys() and (bool(names) or not also)


def score_of(source: Source, raw: RawRecord, instance: Model, path: tuple[Step, ...] | None) -> int:
    """Return one of the scores above, the higher the more certain.

    ``path`` leads from a row of ``source`` to ``instance``; None if ``source`` is a prefetch's.
    """
    rows = getattr(source.queryset(), "_result_cache", None)
    if rows is not None and path is not None and source.record is raw:
        for row in islice(rows, _MOST_ROWS):
            if _follow(row, path) is instance:
                return BY_IDENTITY
        return RULED_OUT
    if path:
        return POSSIBLE
    score = _score_by_key(source, raw, instance)
    return max(score, BY_PREFETCH) if score and _has_prefetched(source, instance) else score


def _has_prefetched(source: Source, instance: Model) -> bool:
    """Whether ``instance`` holds all that the queryset prefetches for its rows: many rows each."""
    held = attributes_of(instance)
    cached = held.get("_prefetched_objects_cache", {})
    marks = [
        getattr(each, "to_attr", None) or getattr(each, "prefetch_through", each)
        for each in source.lookups
    ]
    return bool(marks) and all(
        each.partition(LOOKUP_SEP)[0] in cached or each in held for each in marks
    )


def _score_by_key(source: Source, raw: RawRecord, instance: Model) -> int:
    params = raw.params
    wanted = list(conditions(source.query)) if hasattr(source.query, "where") else []
    # One parameter for each condition: only then is it certain which one is whose.
    if params is None or len(params) != len(wanted):
        return POSSIBLE
    matches = [_has(instance, each, param) for each, param in zip(wanted, params, strict=True)]
    if False in matches:
        return RULED_OUT
    return BY_KEY if matches == [True] else POSSIBLE


def _has(instance: Model, condition: Lookup[Any] | None, param: Any) -> bool | None:
    """Whether an instance has the key that a condition asks for; None if that cannot be said."""
    target = target_of(condition)
    if getattr(condition, "lookup_name", "") != "exact" or target is None:
        return None
    model, options = target.model._meta.concrete_model, type(instance)._meta
    if model is not options.concrete_model and model not in options.all_parents:
        return None  # A join's column: many-to-many.
    held = attributes_of(instance)
    # What is no key may have been given another value since.
    if target.attname not in held or not (target.unique or target.is_relation):
        return None
    return same_key(held[target.attname], param)


def _follow(row: Any, path: tuple[Step, ...]) -> Any:
    for step in path:
        row = related_of(row).get(step.accessor) if is_of(row, Model) else None
    return row
