"""How many rows were fetched, and by how many queries that is not known: :class:`Fetched`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from django_querybudget.sql.fingerprints import StatementKind, statement_kind

from .raw import RawRecord

__all__ = ["Fetched", "fetched_by"]


@dataclass(slots=True)
class Fetched:
    """The rows of the queries that read."""

    rows: int = 0
    """How many were fetched, as far as drivers tell."""
    known: int = 0
    """By how many queries."""
    unknown: int = 0
    """How many queries read whose driver does not tell."""

    @property
    def told(self) -> int | None:
        """:attr:`rows`; None if queries read, and of none of them it is known."""
        return None if self.unknown and not self.known else self.rows

    def __iadd__(self, other: Fetched) -> Self:
        self.rows += other.rows
        self.known += other.known
        self.unknown += other.unknown
        return self

    def add(self, raw: RawRecord) -> None:
        """Add a statement, if it reads."""
        rows = raw.rows
        if rows is not None:
            self.rows += rows
            self.known += 1
        elif statement_kind(raw.sql) is StatementKind.READ:
            self.unknown += 1


def fetched_by(raws: Iterable[RawRecord]) -> Fetched:
    """Return what the statements fetched together."""
    fetched = Fetched()
    for raw in raws:
        fetched.add(raw)
    return fetched
