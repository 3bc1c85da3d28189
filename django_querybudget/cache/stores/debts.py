"""What a process knows of a cache that fails it, and what it owes to it until it is back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

__all__ = ["Debts", "Flight", "Outage"]

MANY = 2000
"""More tags owed than this are owed as everything."""

CHAIN = 0.75
"""Failures further apart than this, in seconds, do not show that the server was away between."""


class Outage:
    """The failures of one cache since it last took a change; none while ``began`` is None."""

    def __init__(self) -> None:
        self.began: float | None = None
        """When the first attempt of an unbroken chain of failures began (monotonic, seconds)."""
        self.tried_at = self.failed_at = float("-inf")
        """When the last attempt that failed began, and when it had failed."""
        self.is_trying = False
        """Whether the keeper's attempt is under way: as long as it is, nothing was answered."""
        self.is_unreachable = False
        """Whether the last failure was no answer at all, rather than a refusal."""
        self.is_settled = False
        """Whether it is known that nobody trusts this cache, or that no more can be done."""

    def failed(self, started: float, *, unreachable: bool) -> None:
        """Note that an attempt that began at ``started`` has failed now."""
        if self.began is None or started - self.failed_at > CHAIN:
            self.began, self.is_settled = started, False
        self.tried_at, self.failed_at = started, time.monotonic()
        self.is_unreachable = unreachable

    def answered(self) -> None:
        """The cache has answered, be it a read: how long it was away says nothing any more."""
        self.is_unreachable, self.is_settled = False, False
        self.failed_at = float("-inf")

    def over(self) -> None:
        """The cache has taken a change, and nothing is owed."""
        self.began, self.is_unreachable, self.is_settled = None, False, False

    def lasted(self) -> float:
        """How long before the last attempt began the first one began, in seconds."""
        return 0.0 if self.began is None else self.tried_at - self.began

    def is_fresh(self, seconds: float) -> bool:
        """Whether the last failure was no longer ago than ``seconds``."""
        return self.is_trying or time.monotonic() - self.failed_at < seconds


@dataclass(slots=True)
class Flight:
    """A writer that has marked and not renewed yet."""

    tags: set[str]
    timeout: float  # of its marks, seconds
    marked_at: float  # monotonic, seconds
    is_unmarked: bool = field(default=False)
    """Whether a mark was refused: the keeper puts it when it can."""


class Debts:
    """Writers in flight, and renewals that were refused."""

    def __init__(self) -> None:
        self.flights: dict[str, Flight] = {}
        self.owed: dict[str, frozenset[str]] = {}
        """Renewals by their writers; changed under a lock alone."""
        self._count = 0
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        return bool(self.owed) or any(f.is_unmarked for f in list(self.flights.values()))

    def takes_off(self, writer: str, wanted: Collection[str], timeout: float) -> Flight:
        """Note that ``writer`` marks ``wanted``."""
        now = time.monotonic()
        flight = self.flights.get(writer)
        if flight is None:
            if len(self.flights) >= MANY:
                self._forget(now)
            flight = self.flights[writer] = Flight(set(wanted), timeout, now)
        else:
            flight.tags |= set(wanted)
            flight.marked_at = now
        return flight

    def _forget(self, now: float) -> None:
        """Forget writers whose marks are over: they were never heard of again."""
        for writer, flight in list(self.flights.items()):
            if now - flight.marked_at > flight.timeout:
                self.flights.pop(writer, None)

    def owe(
        self, writer: str, wanted: Collection[str], everything: Callable[[], Collection[str]]
    ) -> None:
        """Owe a renewal; more than :data:`MANY` tags are owed as ``everything()``."""
        with self._lock:
            known = self.owed.get(writer, frozenset())
            self.owed[writer] = known.union(wanted)
            self._count += len(wanted)
            if self._count > MANY:
                self.owed = {"": frozenset(everything())}
                self._count = len(self.owed[""])

    def take(self) -> tuple[str, frozenset[str]] | None:
        """Take one renewal that is owed, for one who puts it or owes it again."""
        with self._lock:
            if not self.owed:
                return None
            writer, wanted = self.owed.popitem()
            self._count -= len(wanted)
            return writer, wanted
