"""Call sites: what the cache did for each view, decorated function and shape of query.

A site is counted in the process, under one lock and with no trip to the cache:
:mod:`.published` adds up what several processes have counted.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

__all__ = [
    "MOST_SITES",
    "OTHERS",
    "Site",
    "SiteStats",
    "every_site",
    "forget_sites",
    "site_of",
    "stats_of",
]

MOST_SITES = 200
"""How many sites are told apart in a process; what comes after them is of one, :data:`OTHERS`."""

OTHERS = "others"

_LONGEST_NAME = 200
_MOST_REASONS = 20
_FEWEST = 20
"""With how many reads it can be said whether caching pays."""

_NUMBERS = (
    "hits", "misses", "stores", "refreshes", "served_stale", "audited", "stale", "bytes_read",
    "hit_seconds", "saved_seconds", "miss_seconds", "query_seconds",
)  # fmt: skip

_lock = threading.Lock()


listener: Callable[[str, str], None] | None = None
"""Told of each read, and why it was none, on the thread that counts it: the record of production,
where it is kept."""


class Site:
    """The numbers of one site; see :class:`SiteStats` for what they mean."""

    __slots__ = (*_NUMBERS, "bypasses", "last_cost", "name", "not_stored")

    hits: int
    misses: int
    stores: int
    refreshes: int
    served_stale: int
    audited: int
    stale: int
    bytes_read: int
    hit_seconds: float
    saved_seconds: float
    miss_seconds: float
    query_seconds: float

    def __init__(self, name: str) -> None:
        self.name = name
        for number in _NUMBERS:
            setattr(self, number, 0)
        self.bypasses: Counter[str] = Counter()
        self.not_stored: Counter[str] = Counter()
        self.last_cost = 0.0
        """What the database took at the last fill in this process, in seconds."""

    def hit(self, size: int, seconds: float, saved: float) -> None:
        """Count an answer of ``size`` bytes that took ``seconds``, in place of ``saved``."""
        with _lock:
            self.hits += 1
            self.bytes_read += size
            self.hit_seconds += seconds
            self.saved_seconds += saved
        if listener is not None:
            listener("hits", "")

    def count(self, what: str) -> None:
        """Count one of the whole numbers."""
        with _lock:
            setattr(self, what, getattr(self, what) + 1)
        if listener is not None:
            listener(what, "")

    def filled(self, cost: float, beyond: float) -> None:
        """Count an answer of the database, in seconds: its own, and the cache's beyond it."""
        with _lock:
            self.stores += 1
            self.query_seconds += cost
            self.miss_seconds += beyond
            self.last_cost = cost

    def bypassed(self, reason: str) -> None:
        """Count a read that went to the database at once."""
        self._count_named(self.bypasses, reason)

    def refused(self, reason: str) -> None:
        """Count a miss whose answer was not stored."""
        self._count_named(self.not_stored, reason)

    def _count_named(self, counter: Counter[str], reason: str) -> None:
        reason = reason[:_LONGEST_NAME]
        with _lock:
            known = reason in counter or len(counter) < _MOST_REASONS
            counter[reason if known else OTHERS] += 1

    def add(self, other: Mapping[str, Any]) -> None:
        """Add what :meth:`numbers` of another one returned. Raises for what it did not."""
        with _lock:
            for number in _NUMBERS:
                setattr(self, number, getattr(self, number) + other.get(number, 0))
        for counter, added in (
            (self.bypasses, other.get("bypasses", {})),
            (self.not_stored, other.get("not_stored", {})),
        ):
            for reason, number in added.items():
                known = reason in counter or len(counter) < _MOST_REASONS
                counter[reason if known else OTHERS] += number

    def numbers(self) -> dict[str, Any]:
        """Return the numbers that are not 0, as JSON takes them."""
        with _lock:
            found: dict[str, Any] = {
                number: value for number in _NUMBERS if (value := getattr(self, number))
            }
            found |= {
                name: dict(counter)
                for name, counter in (("bypasses", self.bypasses), ("not_stored", self.not_stored))
                if counter
            }
        return found


_sites: dict[str, Site] = {}


known_site = _sites.get
"""The site that is known by a key, None where it was not met yet."""


def site_of(name: str, key: str = "") -> Site:
    """Return the site called ``name``; ``key`` is what it is known by, where that is another."""
    found = _sites.get(key or name)
    if found is not None:
        return found
    with _lock:
        if len(_sites) >= MOST_SITES:
            key = name = OTHERS
        return _sites.setdefault(key or name, Site(name[:_LONGEST_NAME]))


def every_site() -> Iterator[Site]:
    """Return the sites that this process has met."""
    return iter(list(_sites.values()))


def forget_sites() -> None:
    """Begin at 0."""
    _sites.clear()


def _forget_in_child() -> None:
    global _lock
    _lock = threading.Lock()
    forget_sites()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)


@dataclass(frozen=True, kw_only=True)
class SiteStats:
    """What the cache did for one view, decorated function or shape of query; times in seconds."""

    name: str
    """``view shop.views.jobs``, ``function shop.reads.jobs()``, or ``queryset jobs.Job …``."""

    hits: int = 0
    misses: int = 0
    stores: int = 0
    """Misses whose answer was given to the cache."""

    refreshes: int = 0
    """Answers that were computed again before their end."""

    served_stale: int = 0
    """Hits that were no longer true, served while another process refreshed them (``refresh=``)."""

    audited: int = 0
    """Hits that were computed again and compared (``AUDIT``)."""

    stale: int = 0
    """Of those, how many differed although nothing that they depend on had been written."""

    bytes_read: int = 0
    """Of the entries that hits were answered from."""

    hit_seconds: float = 0.0
    """What all hits took."""

    saved_seconds: float = 0.0
    """What the hits would have taken without the cache, as measured when they were stored."""

    miss_seconds: float = 0.0
    """What the misses took beyond their queries: asking the cache, and storing."""

    query_seconds: float = 0.0
    """What the queries of the misses took, and the view around them."""

    bypasses: Mapping[str, int] = field(default_factory=dict)
    not_stored: Mapping[str, int] = field(default_factory=dict)

    @property
    def hit_cost(self) -> float:
        """What a hit takes on average; 0 where there were none."""
        return self.hit_seconds / self.hits if self.hits else 0.0

    @property
    def query_cost(self) -> float:
        """What the query, or the view, takes without the cache, on average."""
        number = self.hits + self.stores
        return (self.saved_seconds + self.query_seconds) / number if number else 0.0

    @property
    def gain(self) -> float:
        """What the cache saved in all, in seconds; below 0 where it lost."""
        return self.saved_seconds - self.hit_seconds - self.miss_seconds

    @property
    def loss(self) -> str:
        """Say why caching does not pay here, with both costs; empty where it does."""
        if self.hits + self.misses < _FEWEST or self.gain >= 0 or not self.stores + self.hits:
            return ""
        costs = f"a hit takes {_ms(self.hit_cost)}, what it saves {_ms(self.query_cost)}"
        if self.hits and self.hit_cost >= self.query_cost:
            return costs
        rate = self.hits / (self.hits + self.misses)
        beyond = self.miss_seconds / self.stores if self.stores else 0.0
        return (
            f"{rate:.0%} of the reads are hits: {costs if self.hits else 'there is no hit'}, "
            f"and a miss takes {_ms(beyond)} beyond its query"
        )


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms"


def stats_of(site: Site) -> SiteStats:
    """Return what a site has counted so far."""
    numbers = site.numbers()
    for name in ("bypasses", "not_stored"):
        numbers[name] = MappingProxyType(numbers.get(name, {}))
    return SiteStats(name=site.name, **numbers)
