"""What the cache did in this process, in numbers."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["CacheStats", "cache_stats"]


@dataclass(frozen=True, kw_only=True)
class CacheStats:
    """The counts of one process since its start, or since ``cache_stats(reset=True)``."""

    hits: int
    """Reads that were answered from the cache."""

    misses: int
    """Reads that went to the database because there was no entry that is still true."""

    stores: int
    """Misses whose answer was stored."""

    bypasses: Mapping[str, int]
    """Reads that could not be cached right and went to the database, by reason."""

    not_stored: Mapping[str, int]
    """Misses whose answer could not be stored right, by reason."""

    invalidations: int
    """Renewals of tokens: one per transaction that wrote, and per ``invalidate()``."""

    marks: int
    """In-flight marks set before a write."""

    everything: Mapping[str, int]
    """Statements that renewed everything in their database, by why: a function that may write
    (declare it in ``FUNCTIONS`` if it does not), a kind of statement (``CALL``, ``CREATE``)."""

    errors: int
    """Errors of the cache server; each read went to the database, each write went on."""

    waits: int
    """Writes and invalidations that waited, because the cache took no change."""

    unmarked: int
    """Of those, how many went on although others may have used the cache: see the log."""

    @property
    def hit_rate(self) -> float:
        """Hits among the reads that were looked up, 0 to 1; 0 where there were none."""
        looked_up = self.hits + self.misses
        return self.hits / looked_up if looked_up else 0.0


_COUNTED = ("hits", "misses", "stores", "invalidations", "marks", "errors", "waits", "unmarked")
_lock = threading.Lock()
_counts: Counter[str] = Counter()
_bypasses: Counter[str] = Counter()
_not_stored: Counter[str] = Counter()
_everything: Counter[str] = Counter()

listener: Callable[[str, int], None] | None = None
"""Told of each count, on the thread that counts: the record of production, where it is kept."""

_MOST_NAMES = 100
"""How many reasons are told apart; some hold names that a client chooses, a cookie's say."""

_LONGEST_NAME = 200
"""In characters."""


def _count_named(counter: Counter[str], name: str) -> None:
    name = name[:_LONGEST_NAME]
    with _lock:
        known = name in counter or len(counter) < _MOST_NAMES
        counter[name if known else "others"] += 1


def count(what: str, number: int = 1) -> None:
    """Count one of the fields of :class:`CacheStats`."""
    with _lock:
        _counts[what] += number
    if listener is not None:
        listener(what, number)


def count_bypass(reason: str) -> None:
    """Count a read that went to the database at once; past a hundred reasons it is of "others"."""
    _count_named(_bypasses, reason)
    if listener is not None:
        listener("bypasses", 1)


def count_not_stored(reason: str) -> None:
    """Count a miss whose answer was not stored; past a hundred reasons it is of "others"."""
    _count_named(_not_stored, reason)


def count_everything(why: str) -> None:
    """Count a statement that renews everything; past a hundred names it is one of "others"."""
    _count_named(_everything, why)


def cache_stats(*, reset: bool = False) -> CacheStats:
    """Return what the cache did in this process; ``reset`` sets the counts to 0 afterwards."""
    with _lock:
        stats = CacheStats(
            **{name: _counts[name] for name in _COUNTED},
            bypasses=MappingProxyType(dict(_bypasses)),
            not_stored=MappingProxyType(dict(_not_stored)),
            everything=MappingProxyType(dict(_everything)),
        )
        if reset:
            for counter in (_counts, _bypasses, _not_stored, _everything):
                counter.clear()
    return stats
