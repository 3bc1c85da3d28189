"""What the cache did, in numbers: in this process, or in all that share a cache."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from . import sites
from .sites import OTHERS, Site, SiteStats, every_site, forget_sites, stats_of

__all__ = ["CacheStats", "Totals", "forget", "own_totals"]


@dataclass(frozen=True, kw_only=True)
class CacheStats:
    """The counts of one process since its start, or since ``cache_stats(reset=True)``.

    ``cache_stats(all_processes=True)``: those of all processes that share the cache.
    """

    since: float
    """When the counting began, in seconds since 1970."""

    hits: int
    """Reads that were answered from the cache."""

    misses: int
    """Reads that went to the database because there was no entry that is still true."""

    stores: int
    """Misses whose answer was given to the cache; if it refuses one, ``not_stored`` says so too."""

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

    unaudited: Mapping[str, int]
    """Hits that were to be audited and could not be compared, by reason."""

    sites: tuple[SiteStats, ...]
    """The same by view, decorated function and shape of query, the most read first."""

    @property
    def hit_rate(self) -> float:
        """Hits among the reads that were looked up, 0 to 1; 0 where there were none."""
        looked_up = self.hits + self.misses
        return self.hits / looked_up if looked_up else 0.0

    @property
    def audited(self) -> int:
        """Hits that were computed again and compared (``AUDIT``)."""
        return sum(site.audited for site in self.sites)

    @property
    def stale(self) -> int:
        """Of those, how many differed although nothing that they depend on had been written."""
        return sum(site.stale for site in self.sites)

    @property
    def audit(self) -> str:
        """The audit in words: ``stale 0 of 1,204 audited``."""
        return f"stale {self.stale:,} of {self.audited:,} audited"

    @property
    def bytes_read(self) -> int:
        """Of the entries that hits were answered from."""
        return sum(site.bytes_read for site in self.sites)

    @property
    def gain(self) -> float:
        """What the cache saved in all, in seconds; below 0 where it lost."""
        return sum(site.gain for site in self.sites)

    @property
    def losses(self) -> Mapping[str, str]:
        """The sites where caching does not pay, and why, with both costs."""
        return {site.name: site.loss for site in self.sites if site.loss}


_COUNTED = ("invalidations", "marks", "errors", "waits", "unmarked")
_OF_SITES = ("hits", "misses", "stores")
_NAMED = ("bypasses", "not_stored", "everything", "unaudited")

_MOST_NAMES = 100
"""How many reasons are told apart; some hold names that a client chooses, a cookie's say."""

_LONGEST_NAME = 200
"""In characters."""

_MOST_MERGED = 400
"""How many sites are told apart in the sum of several processes."""


class Totals:
    """Counts that can be added up, and come from and go to JSON."""

    def __init__(self) -> None:
        self.since = time.time()
        self.counts: Counter[str] = Counter()
        self.named: dict[str, Counter[str]] = {name: Counter() for name in _NAMED}
        self.sites: dict[str, Site] = {}

    def add(self, frozen: Mapping[str, Any]) -> None:
        """Add what :meth:`frozen` returned. Raises for what it did not."""
        self.since = min(self.since, float(frozen["since"]))
        for name, number in frozen["counts"].items():
            self.counts[name] += number
        for name, reasons in frozen["named"].items():
            for reason, number in reasons.items():
                _add_named(self.named[name], reason, number)
        for name, numbers in frozen["sites"].items():
            self.add_site(name, numbers)

    def add_site(self, name: str, numbers: Mapping[str, Any]) -> None:
        """Add the numbers of one site."""
        if name not in self.sites and len(self.sites) >= _MOST_MERGED:
            name = OTHERS
        self.sites.setdefault(name, Site(name)).add(numbers)

    def frozen(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        return {
            "since": self.since,
            "counts": dict(self.counts),
            "named": {name: dict(counter) for name, counter in self.named.items()},
            "sites": {name: site.numbers() for name, site in self.sites.items()},
        }

    def stats(self) -> CacheStats:
        """Return it as it is told."""
        found = sorted(
            map(stats_of, self.sites.values()), key=lambda s: (-s.hits - s.misses, s.name)
        )
        numbers: dict[str, Any] = {name: self.counts[name] for name in _COUNTED}
        numbers |= {name: sum(getattr(site, name) for site in found) for name in _OF_SITES}
        for name, counter in self.named.items():
            numbers[name] = MappingProxyType(dict(counter))
        return CacheStats(since=self.since, sites=tuple(found), **numbers)


_lock = threading.Lock()
_own = Totals()  # but for the sites, which .sites counts


def _add_named(counter: Counter[str], name: str, number: int = 1) -> None:
    name = name[:_LONGEST_NAME]
    known = name in counter or len(counter) < _MOST_NAMES
    counter[name if known else OTHERS] += number


def count(what: str, number: int = 1) -> None:
    """Count one of the fields of :class:`CacheStats`."""
    with _lock:
        _own.counts[what] += number


def _count_named(what: str, name: str) -> None:
    with _lock:
        _add_named(_own.named[what], name)


def count_bypass(reason: str) -> None:
    """Count a read that went to the database at once; past a hundred reasons it is of "others"."""
    _count_named("bypasses", reason)
    if sites.listener is not None:
        sites.listener("bypasses", reason)


def count_not_stored(reason: str) -> None:
    """Count a miss whose answer was not stored; past a hundred reasons it is of "others"."""
    _count_named("not_stored", reason)


def count_everything(why: str) -> None:
    """Count a statement that renews everything; past a hundred names it is one of "others"."""
    _count_named("everything", why)


def count_unaudited(reason: str) -> None:
    """Count a hit that could not be compared."""
    _count_named("unaudited", reason)


def own_totals() -> Totals:
    """Return what this process has counted."""
    found = Totals()
    with _lock:
        found.add({**_own.frozen(), "sites": {}})
    for site in every_site():
        found.add_site(site.name, site.numbers())
    return found


def forget() -> None:
    """Begin at 0."""
    global _own
    with _lock:
        _own = Totals()
    forget_sites()


def _forget_in_child() -> None:
    global _lock
    _lock = threading.Lock()
    forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)  # what the parent counted, it tells itself
