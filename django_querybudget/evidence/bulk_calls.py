"""Whether a statement is one of several that one call of Django's sends: :func:`is_of_batches`.

A bulk method cuts its rows into batches, ``delete()`` its keys, and collects a tree level by level:
their statements repeat, and nobody loops. The number of batches stands in the locals.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import CodeType, FrameType
from typing import Any

from django.db.models import QuerySet
from django.db.models.deletion import Collector
from django.db.models.sql import DeleteQuery, UpdateQuery
from django.db.models.sql.constants import GET_ITERATOR_CHUNK_SIZE

__all__ = ["is_of_batches"]

_COLLECT = Collector.collect.__code__


def is_of_batches(frame: FrameType) -> bool:
    """Whether the call that ``frame`` is runs its statement more than once."""
    code = frame.f_code
    if code is _COLLECT and _is_recursive(frame):
        return True
    divides = _DIVIDES.get(code)
    return divides is not None and divides(frame.f_locals)


def _is_recursive(frame: FrameType) -> bool:
    """Whether a delete follows a relation of a model to itself, one query for each level."""
    model, outer = frame.f_locals.get("model"), frame.f_back
    while outer is not None and outer.f_code.co_filename == frame.f_code.co_filename:
        if outer.f_code is _COLLECT and outer.f_locals.get("model") is model is not None:
            return True
        outer = outer.f_back
    return False


def _has_many_objects(names: Mapping[str, Any]) -> bool:
    return len(names["objs"]) > (names.get("batch_size") or len(names["objs"]))


def _has_many_keys(names: Mapping[str, Any]) -> bool:
    return len(names["pk_list"]) > GET_ITERATOR_CHUNK_SIZE


def _collects_in_batches(names: Mapping[str, Any]) -> bool:
    return len(names.get("batches", ())) > 1


def _deletes_in_batches(names: Mapping[str, Any]) -> bool:
    model = getattr(names.get("qs"), "model", None)
    return sum(each.model is model for each in names["self"].fast_deletes) > 1


_DIVIDES: dict[CodeType, Callable[[Mapping[str, Any]], bool]] = {
    QuerySet._batched_insert.__code__: _has_many_objects,  # type: ignore[attr-defined]
    QuerySet.bulk_update.__code__: _has_many_objects,
    QuerySet.in_bulk.__code__: lambda names: "offset" in names,
    DeleteQuery.delete_batch.__code__: _has_many_keys,
    UpdateQuery.update_batch.__code__: _has_many_keys,
    _COLLECT: _collects_in_batches,
    Collector.delete.__code__: _deletes_in_batches,
}
