"""Prefetched rows, where ``prefetch_related()`` puts them: in a queryset of the related manager.

Django makes a manager and a queryset for each instance, which takes ten times as long as the
instance itself; and mostly they are only iterated. So where nothing but Django's own code makes
them, they are made when more is asked of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django.db.models import QuerySet

from django_querybudget.cache.unbuilt import NOT_ASKED, unbuilt

if TYPE_CHECKING:
    from django.db.models import Model

__all__ = ["prefetch"]


def prefetch(
    members: Sequence[Model], name: str, queryset: Any, rows: Sequence[list[Model]]
) -> None:
    """Give each member its rows. ``queryset`` is that of the Prefetch object, None without one."""
    base: Any = None
    for member, own in zip(members, rows, strict=True):
        if base is not None:
            found = unbuilt(base, _Prefetched(member, name, queryset), own)
        else:
            manager = getattr(member, name)
            found = _queryset_of(manager, queryset)
            found._result_cache = own
            found._prefetch_done = True
            kind: Any = type(found)
            if _may_wait(_kind(manager), kind):
                base = kind
        member.__dict__.setdefault("_prefetched_objects_cache", {})[name] = found


class _Prefetched:
    """What a queryset of prefetched rows is made by."""

    __slots__ = ("_member", "_name", "_queryset")

    def __init__(self, member: Model, name: str, queryset: Any) -> None:
        self._member, self._name, self._queryset = member, name, queryset

    def queryset(self) -> Any:
        return _queryset_of(getattr(self._member, self._name), self._queryset)

    def answer(self, method: str, args: tuple[Any, ...] = (), **kwargs: object) -> Any:
        return NOT_ASKED

    def asked(self, method: str, *, sessions: object = None) -> None:
        return None

    def sliced(self, start: int | None, stop: int | None) -> Any:
        return self.queryset()[start:stop]


def _queryset_of(manager: Any, queryset: Any) -> Any:
    """Return the queryset that ``prefetch_related()`` puts rows into."""
    if queryset is None and _is_djangos(_kind(manager)):
        # As its get_queryset() does, which looks for prefetched rows first.
        queryset = super(type(manager), manager).get_queryset()
    elif queryset is None:
        return manager.get_queryset()
    else:
        queryset = queryset._chain()
    return manager._apply_rel_filters(queryset)


def _kind(manager: object) -> Any:
    return type(manager)


@lru_cache(maxsize=1024)
def _is_djangos(manager: type) -> bool:
    """Whether no code of the host's decides which rows a related manager has."""
    if not manager.__module__.startswith("django."):
        return False
    return all(
        each.__module__.startswith("django.")
        for each in manager.__mro__
        for name in ("get_queryset", "_apply_rel_filters")
        if name in vars(each)
    )


@lru_cache(maxsize=1024)
def _may_wait(manager: type, queryset: type[QuerySet[Any]]) -> bool:
    """Whether the querysets of a related manager can be made later, and be the same."""
    if not _is_djangos(manager):
        return False
    if any(
        getattr(queryset, name) is not getattr(QuerySet, name)
        for name in ("__init__", "_chain", "_clone", "_fetch_all", "__getattribute__")
    ):
        return False
    try:
        # A trial: of no member, since nothing is asked of it.
        unbuilt(queryset, _Prefetched(Any, "", None))  # type: ignore[arg-type]  # of no member
    except Exception:  # a metaclass or __init_subclass__() objects
        return False
    return True
