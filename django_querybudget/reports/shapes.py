"""The queries of a log that have one fingerprint: :class:`Shape`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from django_querybudget.recording.query import QueryRecord
from django_querybudget.stacks import Origin

__all__ = ["Shape"]


@dataclass(frozen=True)
class Shape:
    """The queries of a log that have one fingerprint."""

    fingerprint: str
    """What they have in common."""
    queries: tuple[QueryRecord, ...]
    """The queries, in their order."""

    @property
    def count(self) -> int:
        """How many they are."""
        return len(self.queries)

    @property
    def milliseconds(self) -> float:
        """How long the databases took for them, in milliseconds."""
        return sum(query.duration for query in self.queries) * 1000

    @property
    def rows(self) -> int | None:
        """How many rows they fetched; None if that is not known of all."""
        rows = [query.rows for query in self.queries]
        known = [each for each in rows if each is not None]
        return sum(known) if len(known) == len(rows) else None

    @property
    def origins(self) -> list[tuple[Origin, int]]:
        """The lines that they come from, the most frequent first, with the number of each."""
        lines = Counter(query.origin for query in self.queries if query.origin is not None)
        return lines.most_common()
