"""Querysets that are built when something of them is needed.

A decorated function returns one, and prefetched rows stand in one. Until it is built it has no
state: what is read from it, or set on it, builds it first. Only the reads that can be answered
without it are not: iteration, slices, ``count()``, ``exists()``, ``get()``, ``first()`` and
``last()``. Those of a function's have entries of their own, so that none of them fetches more than
it would without a cache.
"""

from __future__ import annotations

from copyreg import _slotnames  # type: ignore[attr-defined]  # public by PEP 307, not in typeshed
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.db.models import QuerySet

__all__ = ["NOT_ASKED", "Builder", "source_of", "unbuilt"]

NOT_ASKED: Any = object()
"""Says that a read cannot be answered by the arguments alone."""


class Builder(Protocol):
    """What a queryset is made by: a call of a decorated function, say."""

    def queryset(self) -> QuerySet[Any]:
        """Return the queryset."""

    def answer(self, method: str, args: tuple[Any, ...] = (), **kwargs: object) -> Any:
        """Return what ``method`` of that queryset returns, or :data:`NOT_ASKED`."""

    def asked(
        self, method: str, *, sessions: Mapping[str, str] | None = None
    ) -> tuple[Any, Any] | None:
        """Return what ``method`` asks, and what computes it; None as :data:`NOT_ASKED`.

        ``sessions`` are those of this thread's connections, where the caller knows them.
        """

    def sliced(self, start: int | None, stop: int | None) -> QuerySet[Any]:
        """Return an unbuilt queryset of a slice of it."""


# Read without building: by the methods below, and by Django's that come down to them.
_OWN = frozenset({"_querybudget_source", "_result_cache", "_prefetch_done"})
_WITHOUT = _OWN | {
    "_fetch_all", "count", "exists", "first", "get", "last",
    "acount", "aexists", "afirst", "aget", "alast",
}  # fmt: skip


class Unbuilt:
    """Answers what can be answered without the queryset, and builds it for everything else.

    No class has it as a base, since a second one may give objects another layout, and then an
    object cannot change its class when it is built: its methods are put into a subclass.
    """

    _querybudget_is_unbuilt = True
    _querybudget_source: Builder
    _result_cache: list[Any] | None

    def __getattribute__(self, name: str) -> Any:
        if name in _WITHOUT:
            return object.__getattribute__(self, name)
        if name == "__class__":  # isinstance() asks for it, and must not build
            return type(self).__base__
        return getattr(_build(self), name)

    def __setattr__(self, name: str, value: object) -> None:
        if name in _OWN:
            object.__setattr__(self, name, value)
        else:
            setattr(_build(self), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(_build(self), name)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _build(self).__reduce_ex__(protocol)

    def _fetch_all(self) -> None:
        if _is_built(self):  # since the method was taken
            self._fetch_all()
        elif self._result_cache is None:
            rows = self._querybudget_source.answer("rows")
            if rows is NOT_ASKED:
                _build(self)._fetch_all()
            else:
                self._result_cache = rows
                self._prefetch_done = True

    def __getitem__(self, key: object) -> Any:
        if self._result_cache is None:
            source = self._querybudget_source
            if type(key) is int and key >= 0:
                if (found := source.answer("index", (key,))) is not NOT_ASKED:
                    return found
            elif isinstance(key, slice) and key.step is None and _is_range(key):
                return source.sliced(key.start, key.stop)
        return _build(self)[key]

    def count(self) -> int:
        """As :meth:`QuerySet.count`, through the cache."""
        if not _is_built(self) and self._result_cache is not None:
            return len(self._result_cache)
        return _asked(self, "count")  # type: ignore[no-any-return]

    def exists(self) -> bool:
        """As :meth:`QuerySet.exists`, through the cache."""
        if not _is_built(self) and self._result_cache is not None:
            return bool(self._result_cache)
        return _asked(self, "exists")  # type: ignore[no-any-return]

    def first(self) -> Any:
        """As :meth:`QuerySet.first`, through the cache."""
        return _asked(self, "first")

    def last(self) -> Any:
        """As :meth:`QuerySet.last`, through the cache."""
        return _asked(self, "last")

    def get(self, *args: object, **kwargs: object) -> Any:
        """As :meth:`QuerySet.get`, through the cache."""
        return _asked(self, "get", *args, **kwargs)


def source_of(queryset: object) -> Builder | None:
    """Return the call that the rows of an unbuilt queryset come from; None for any other."""
    if _is_built(queryset):
        return None
    return object.__getattribute__(queryset, "_querybudget_source")  # type: ignore[no-any-return]


def _is_built(queryset: object) -> bool:
    return not hasattr(type(queryset), "_querybudget_is_unbuilt")


def _is_range(key: slice) -> bool:
    return all(end is None or (type(end) is int and end >= 0) for end in (key.start, key.stop))


def _asked(queryset: Any, method: str, *args: Any, **kwargs: Any) -> Any:
    if not _is_built(queryset):  # since the method was taken
        answer = queryset._querybudget_source.answer(method, args, **kwargs)
        if answer is not NOT_ASKED:
            return answer
        _build(queryset)
    return getattr(queryset, method)(*args, **kwargs)


def _build(queryset: object) -> Any:
    """Make ``queryset`` what its source says, in place; return it."""
    own = object.__getattribute__(queryset, "__dict__")
    source = own.get("_querybudget_source")
    if _is_built(queryset) or source is None:
        return queryset
    built: Any = source.queryset()
    rows = own["_result_cache"]
    state = dict(built.__dict__)
    if rows is not None:
        state["_result_cache"], state["_prefetch_done"] = rows, own["_prefetch_done"]
    own.update(state)  # at no moment without its rows: another thread may have them
    object.__setattr__(queryset, "__class__", type(built))
    own.pop("_querybudget_source", None)
    for name in _slotnames(type(built)):
        if hasattr(built, name):
            setattr(queryset, name, getattr(built, name))
    return queryset


_NO_METHODS = ("__dict__", "__weakref__", "__annotations__", "__annotate__", "__annotate_func__")


@cache  # a project has so many queryset classes and no more
def _unbuilt_class(base: type[QuerySet[Any]]) -> type[QuerySet[Any]]:
    names = {
        **{name: value for name, value in vars(Unbuilt).items() if name not in _NO_METHODS},
        "__module__": base.__module__,
        "__qualname__": base.__qualname__,
        "__doc__": base.__doc__,
    }
    return type(base.__name__, (base,), names)


def unbuilt(
    base: type[QuerySet[Any]], source: Builder, rows: list[Any] | None = None
) -> QuerySet[Any]:
    """Return a queryset of ``base`` that is built by ``source`` if it has to be.

    ``rows`` are what it has fetched already, prefetches and all.
    """
    subclass: Any = _unbuilt_class(base)
    queryset = subclass.__new__(subclass)
    object.__getattribute__(queryset, "__dict__").update(
        _querybudget_source=source, _result_cache=rows, _prefetch_done=rows is not None
    )
    return queryset  # type: ignore[no-any-return]
