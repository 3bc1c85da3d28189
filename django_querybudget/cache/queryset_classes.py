"""What a queryset class of the host's adds to Django's, and whether its answers can be kept.

State
    What a queryset holds besides what Django put there may decide what its rows look like. Where
    it can be spelled it is part of the key; where not, the queryset goes to the database.

Methods
    What the host's ``_fetch_all()``, ``count()`` and their kind do to an answer may depend on
    anything: such a queryset goes to the database, too. Known are those that change nothing but
    the rows that Django's own method has fetched: they run on the cached rows as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from django.db.models import Model, QuerySet
from django.db.models.query import ModelIterable
from django.db.models.sql import Query

from .keys import Unkeyable, spelled

__all__ = [
    "CannotCache",
    "check_rows_method",
    "has_own",
    "is_model_iterable",
    "own_rows_method",
    "own_state",
    "slots_of",
    "spelled_state",
]

_ROWS = ("_fetch_all", "_prefetch_related_objects")

_RUN_AFTER = frozenset(
    {
        "parler.managers.TranslatableQuerySet._fetch_all",
        "simple_history.manager.HistoricalQuerySet._fetch_all",
    }
)
"""Methods that call Django's and then change the rows, by nothing but the queryset's own state."""

_KNOWN_ITERABLES = frozenset({"model_utils.managers.InheritanceIterable"})
"""Iterables whose instances depend on nothing but the rows and the queryset's own state."""


class CannotCache(Exception):
    """The query cannot be cached right; the message is the reason in the statistics."""


def host_class(queryset: object) -> Any:
    """Return the class that the host knows: without what reads through the cache."""
    return getattr(queryset, "_querybudget_base", queryset)


def has_own(queryset: object, name: str) -> bool:
    """Whether the queryset's class has a method ``name`` of the host's in place of Django's."""
    return getattr(host_class(type(queryset)), name) is not getattr(QuerySet, name)


def own_rows_method(queryset: object, *, may_run_after: bool) -> str | None:
    """Return the host's method that makes the rows of a queryset class, None if Django alone does.

    ``may_run_after`` is whether what is known to run after Django's method will be run.
    """
    return _own_rows_method(host_class(queryset), may_run_after)


@lru_cache(maxsize=1024)
def _own_rows_method(queryset: Any, may_run_after: bool) -> str | None:
    for each in queryset.__mro__:
        if each is QuerySet:
            break
        for name in _ROWS:
            if name in vars(each):
                method = vars(each)[name]
                full = f"{method.__module__}.{method.__qualname__}"
                if not (may_run_after and full in _RUN_AFTER):
                    return f"{each.__qualname__}.{name}()"
    return None


def check_rows_method(queryset: type[QuerySet[Any]], *, may_run_after: bool) -> None:
    """Raise :class:`CannotCache` where :func:`own_rows_method` finds one."""
    if method := own_rows_method(queryset, may_run_after=may_run_after):
        raise CannotCache(f"own method {method}")


def is_model_iterable(iterable: type) -> bool:
    """Whether an iterable class gives instances that depend on the rows and the state alone."""
    return iterable is ModelIterable or (
        f"{iterable.__module__}.{iterable.__qualname__}" in _KNOWN_ITERABLES
    )


@lru_cache(maxsize=1)
def _django_state() -> frozenset[str]:
    names = vars(QuerySet(query=Query(None))).keys()
    return frozenset({*names, "_fields", "_querybudget_options", "_querybudget_fetched",
                      "_querybudget_received"})  # fmt: skip


def slots_of(queryset: object) -> tuple[str, ...]:
    """Return the attributes of a queryset class that are not in its ``__dict__``."""
    return _slots_of(host_class(queryset))


@lru_cache(maxsize=1024)
def _slots_of(queryset: Any) -> tuple[str, ...]:
    found: list[str] = []
    for each in queryset.__mro__:
        slots = vars(each).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__"):
                private = name.startswith("__") and not name.endswith("__")
                found.append(f"_{each.__name__.lstrip('_')}{name}" if private else name)
    return tuple(found)


def own_state(queryset: QuerySet[Any]) -> dict[str, Any]:
    """Return what the queryset holds besides what Django puts there."""
    django = _django_state()
    values = vars(queryset)
    state = {} if values.keys() <= django else {k: v for k, v in values.items() if k not in django}
    for name in slots_of(type(queryset)):
        if hasattr(queryset, name):
            state[name] = getattr(queryset, name)
    return state


def spelled_state(queryset: QuerySet[Any]) -> str:
    """Return the queryset's own state as part of a key. Raises :class:`CannotCache`."""
    state = own_state(queryset)
    if not state:
        return ""
    parts: list[str] = []
    for name, value in sorted(state.items()):
        try:
            _check_plain(value)
            parts.append(f"{name}={spelled(value)}")
        except Unkeyable as error:
            raise CannotCache(f"queryset attribute {name!r} of type {error}") from None
    return ";".join(parts)


def _check_plain(value: object) -> None:
    """Refuse an instance: a key tells which row it is, not what it holds."""
    if isinstance(value, Model):
        raise Unkeyable(value._meta.label)
    if isinstance(value, Mapping):
        value = [*value, *value.values()]
    if isinstance(value, list | tuple | set | frozenset):
        for each in value:
            _check_plain(each)
