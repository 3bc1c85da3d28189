"""The common form of what the vendors' modules read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from django_querybudget.indexes.definitions import IndexDefinition

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper


@dataclass(frozen=True, kw_only=True)
class DatabaseIndex:
    """One index as the database has it."""

    definition: IndexDefinition
    valid: bool = True
    """False where a concurrent build failed: it is kept up and never read."""
    primary_key: bool = False
    internal: bool = False
    """Made by the database for a rule of its own; cannot be dropped alone."""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Sizes and reads, keyed by table and index name; empty where the database keeps none."""

    sizes: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Bytes."""
    scans: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """How often a query read the index since the statistics began."""
    table_rows: Mapping[str, int] = field(default_factory=dict)
    """The database's own estimate."""
    table_reads: Mapping[str, int] = field(default_factory=dict)
    """How often a query read the table, by an index or not."""
    age_days: float | None = None
    """How long the database has counted; None where not known."""
    since: str = ""
    """The same for people: ``since 2026-11-02 10:00 UTC``."""
    notes: tuple[str, ...] = ()
    """What the reader has to know to trust the figures."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The indexes of some tables at one moment."""

    indexes: tuple[DatabaseIndex, ...]
    usage: Usage


class Introspection(Protocol):
    """What a vendor's module offers."""

    rights: str
    """What a user needs who may not read usage."""

    def read_indexes(
        self, connection: BaseDatabaseWrapper, cursor: object, tables: Sequence[str]
    ) -> list[DatabaseIndex]:
        """Return every index of ``tables``, the primary keys' too."""
        ...

    def read_usage(
        self, connection: BaseDatabaseWrapper, cursor: object, tables: Sequence[str]
    ) -> Usage:
        """Return sizes and reads. May raise ``DatabaseError`` for want of rights."""
        ...
