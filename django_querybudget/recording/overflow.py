"""Counting the statements of a scope that are not kept any more: :class:`Overflow`.

A scope keeps ``QUERYBUDGET["MAX_RECORDS"]`` statements; a stream may send for hours. What comes
after them is counted, so that counts stay exact, and let go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, field
from hashlib import blake2b
from threading import Lock
from typing import TYPE_CHECKING

from django_querybudget.sql.fingerprints import StatementKind, fingerprint, statement_kind

from .fetched import Fetched
from .summaries import parameters_key

if TYPE_CHECKING:
    from .raw import RawRecord

__all__ = ["Overflow", "Tally"]

MOST_REMEMBERED = 200_000
"""How many different statements are remembered as eight bytes each, to know a duplicate of them by;
some 15 MB. Past that, what repeats none of these is no duplicate."""


@dataclass(slots=True)
class Tally:
    """What is known of the statements of one database that were counted and let go."""

    kinds: Counter[StatementKind] = field(default_factory=Counter)
    """How many there were of each kind, transaction control among them."""
    duration: float = 0.0
    """How long the database took for the counted ones, in seconds, added up."""
    duplicates: int = 0
    """How many of them repeat an earlier one, kept or not."""
    similar: int = 0
    """How many of them repeat an earlier one's shape."""
    fetched: Fetched = field(default_factory=Fetched)
    """The rows of those that read."""

    @property
    def count(self) -> int:
        """How many count: all but transaction control."""
        return self.kinds.total() - self.kinds[StatementKind.TRANSACTION]


class Overflow:
    """Counts statements by database; ``kept`` are those before them."""

    def __init__(self, kept: list[RawRecord], tallies: dict[str, Tally]) -> None:
        self._tallies = tallies
        self._lock = Lock()
        self._statements: set[int] = set()
        self._shapes: set[int] = set()
        for raw in kept:
            if statement_kind(raw.sql) is not StatementKind.TRANSACTION:
                self._is_new(raw)
                self._is_new_shape(raw)

    def add(self, raw: RawRecord) -> None:
        """Count one statement. Safe to call from several threads."""
        kind = statement_kind(raw.sql)
        with self._lock:
            tally = self._tallies.get(raw.alias)
            if tally is None:
                tally = self._tallies[raw.alias] = Tally()
            tally.kinds[kind] += 1
            if kind is not StatementKind.TRANSACTION:
                tally.duration += raw.duration
                tally.duplicates += not self._is_new(raw)
                tally.similar += not self._is_new_shape(raw)
            tally.fetched.add(raw)

    def _is_new(self, raw: RawRecord) -> bool:
        # An executemany is no duplicate of another; see summed().
        return raw.many or _is_added(
            self._statements, (raw.alias, raw.sql, parameters_key(raw.params))
        )

    def _is_new_shape(self, raw: RawRecord) -> bool:
        return _is_added(self._shapes, (raw.alias, fingerprint(raw.sql)))


def _is_added(seen: set[int], key: Hashable) -> bool:
    # Not hash(): those of -1 and -2 are equal.
    digest = int.from_bytes(blake2b(repr(key).encode(errors="replace"), digest_size=8).digest())
    if digest in seen:
        return False
    if len(seen) < MOST_REMEMBERED:
        seen.add(digest)
    return True
