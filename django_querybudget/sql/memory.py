"""What is remembered of SQL texts: one budget in bytes for all memos of the process.

A memo is a ``dict``: a hit is one look-up in C, ``memo[text]``. What is not there is computed by
the memo's function and remembered.

Why not ``lru_cache``
    It counts entries. A list of many keys or an insert of many rows is another text for each
    length: two thousand of a megabyte each are two gigabytes. Here bytes are counted, and a text
    of more than :data:`LONGEST` characters is kept as its digest.

Why generations
    Entries are *young* or *old*. When the young ones of all memos have half of :data:`BUDGET`, the
    old ones are dropped and the young become old; an old one that is asked for is young again. So
    what is used stays, without a list to reorder at each hit.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Hashable
from dataclasses import is_dataclass
from hashlib import blake2b
from operator import is_
from sys import getsizeof
from typing import Any, Generic, TypeVar

__all__ = ["BUDGET", "LONGEST", "Memo"]

BUDGET = 6 * 1024 * 1024
"""What all memos of the process hold at most, in bytes."""

LONGEST = 8_192
"""A longer text is remembered by its digest, in characters."""

_HEAVIEST = BUDGET // 64  # Anything heavier is not remembered: it would drive out too much.
_SLOT = (
    128  # What an entry costs besides its key and value: its place in a dict that grows, in bytes.
)
_NOTHING: Any = object()

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Memo(dict[K, V], Generic[K, V]):
    """A function's answers by its argument: ``memo[text]``.

    The argument is a text, or a tuple in which texts may stand. Without a function, what is known
    is told by :meth:`remember`, and ``memo[text]`` raises :class:`KeyError` for what is not, and
    for a long text.

    Safe to use from several threads: one that cannot have the lock at once does not remember.
    """

    __slots__ = ("__weakref__", "_function", "_old")

    def __init__(self, function: Callable[[K], V] | None = None) -> None:
        super().__init__()
        self._function = function
        self._old: dict[K, V] = {}
        _pool.join(self)

    def __missing__(self, key: K) -> V:
        known: Any = _short(key)
        value: Any = _NOTHING if known is key else self.get(known, _NOTHING)
        if value is _NOTHING:
            value = self._old.get(known, _NOTHING)
            if value is _NOTHING:
                if self._function is None:
                    raise KeyError(key)
                value = self._function(key)
            _pool.add(self, known, value)
        return value  # type: ignore[no-any-return]  # a sentinel has no type

    def remember(self, key: K, value: V) -> bool:
        """Let ``memo[key]`` be ``value`` for a while; not if a text in ``key`` is long.

        Returns whether it is remembered.
        """
        return _short(key) is key and _pool.add(self, key, value)

    def forget(self) -> None:
        """Remember nothing of what was before."""
        self._old = {}
        self.clear()

    def age(self) -> None:
        """Drop what is old, and let what is young be old."""
        self._old = self.copy()
        self.clear()


class _Pool:
    """Counts the bytes of the young entries of all memos."""

    def __init__(self) -> None:
        self.young = 0
        self.memos: list[weakref.ref[Memo[Any, Any]]] = []
        self.unlock()

    def unlock(self) -> None:
        self.lock = threading.Lock()

    def join(self, memo: Memo[Any, Any]) -> None:
        self.memos.append(weakref.ref(memo))

    def add(self, memo: Memo[Any, Any], key: object, value: object) -> bool:
        """Keep an entry, unless another thread is at it or it is too heavy. Returns whether."""
        heavy = _SLOT + _weight(key) + _weight(value)
        # Never waited for: a finalizer of the host's may send SQL in the middle of this.
        if heavy > _HEAVIEST or not self.lock.acquire(blocking=False):
            return False
        try:
            self.young += heavy
            if self.young > BUDGET // 2:
                self.young = heavy
                living = [(each, found) for each in self.memos if (found := each()) is not None]
                self.memos = [each for each, _ in living]
                for _, found in living:
                    found.age()
            dict.__setitem__(memo, key, value)
        finally:
            self.lock.release()
        return True


def _short(key: object) -> Any:
    """Return ``key`` itself, or what stands for it where a text in it is long."""
    if type(key) is tuple:
        short = tuple(map(_short, key))
        return key if all(map(is_, short, key)) else short
    if isinstance(key, str) and len(key) > LONGEST:
        return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return key


def _weight(value: Any) -> int:
    """Return the bytes of a text or number and of what holds such; of anything else none.

    Too many rather than too few: a text that two entries share counts twice. A class says
    ``is_kept_elsewhere`` of what many entries share and none of them keeps.
    """
    kind = type(value)
    if kind in (str, bytes, int, float):
        return getsizeof(value)
    if kind in (tuple, list, set, frozenset):
        return getsizeof(value) + sum(map(_weight, value))
    if kind is dict:
        return getsizeof(value) + sum(_weight(each) for item in value.items() for each in item)
    if is_dataclass(kind) and not getattr(kind, "is_kept_elsewhere", False):
        fields = kind.__dataclass_fields__
        return getsizeof(value) + sum(_weight(getattr(value, name, None)) for name in fields)
    return 0


_pool = _Pool()

if hasattr(os, "register_at_fork"):
    # Another thread may hold it at that moment, which is not in the child.
    os.register_at_fork(after_in_child=_pool.unlock)
