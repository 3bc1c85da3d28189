"""One query as it was recorded: :class:`QueryRecord`."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from django_querybudget.sql.fingerprints import StatementKind, fingerprint, statement_kind
from django_querybudget.stacks import Origin, RawOrigin, Trail, way_along

from .raw import RawRecord

__all__ = ["QueryRecord"]


@dataclass(frozen=True, kw_only=True)
class QueryRecord:
    """One statement that Django sent to a database."""

    sql: str
    """The statement with its placeholders, as it left the ORM or the caller."""
    params: Any = field(repr=False)
    """Its parameters as they were given: a sequence, a mapping or None. May hold secrets."""
    many: bool
    """Whether it was an ``executemany``: one statement, however many parameter sets."""
    alias: str
    """The connection's alias in ``DATABASES``."""
    vendor: str
    """The connection's vendor: ``"postgresql"``, ``"sqlite"``, …"""
    started: float
    """When it was sent, in seconds of ``time.perf_counter()``."""
    duration: float
    """How long the database took, in seconds."""
    error: type[BaseException] | None
    """The class of the exception it failed with; None if it did not fail."""
    rowcount: int = -1
    """What the driver's cursor told once it was executed (PEP 249); -1 where it does not tell."""
    raw_origin: RawOrigin | None = field(default=None, repr=False, compare=False)
    """What :attr:`origin` is made of."""
    raw_trail: Trail | None = field(default=None, repr=False, compare=False)
    """What :attr:`way` is made of."""
    inside: int = field(default=0, repr=False, compare=False)
    """What tells it apart from other queries of its line, in the process that recorded it."""

    @cached_property
    def origin(self) -> Origin | None:
        """The line of the project's code that it comes from, if there is one."""
        return None if self.raw_origin is None else Origin.of(self.raw_origin)

    @cached_property
    def way(self) -> tuple[Origin, ...]:
        """The project's lines that led to the query, the outermost first, its own the last.

        From eight frames around its own; from all within the request, or the task, if it was
        recorded with a ``VERBOSITY`` of 2 (``pytest -vv``). Empty if no causes were looked for.
        """
        return () if self.raw_trail is None else tuple(way_along(self.raw_trail))

    def __getstate__(self) -> dict[str, Any]:
        # Code objects and template nodes do not leave the process; the line they stand for does.
        known = {"origin": self.origin, "way": self.way}
        return {**self.__dict__, **known, "raw_origin": None, "raw_trail": None}

    @property
    def failed(self) -> bool:
        """Whether it raised."""
        return self.error is not None

    @cached_property
    def fingerprint(self) -> str:
        """Its shape: see :mod:`django_querybudget.sql.fingerprints`."""
        return fingerprint(self.sql)

    @property
    def kind(self) -> StatementKind:
        """What it does: read, write, …"""
        return statement_kind(self.sql)

    @property
    def rows(self) -> int | None:
        """How many rows it fetched, if it only reads: its result's, whether they were used or not.

        None for other statements (what an ``UPDATE`` changes is written, not fetched), and where
        the driver does not tell in advance: SQLite's, a server-side cursor's (``iterator()`` on
        PostgreSQL), any but those of PostgreSQL and MySQL.
        """
        return self.raw.rows

    @property
    def raw(self) -> RawRecord:
        """What :meth:`of` made it of."""
        return RawRecord(
            self.sql,
            self.params,
            self.many,
            self.alias,
            self.vendor,
            self.started,
            self.duration,
            self.error,
            self.raw_origin,
            self.raw_trail,
            inside=self.inside,
            rowcount=self.rowcount,
        )

    @classmethod
    def of(cls, raw: RawRecord) -> QueryRecord:
        """Return the record that ``raw`` stands for."""
        return cls(
            sql=raw.sql,
            params=raw.params,
            many=raw.many,
            alias=raw.alias,
            vendor=raw.vendor,
            started=raw.started,
            duration=raw.duration,
            error=raw.error,
            raw_origin=raw.origin,
            raw_trail=raw.trail,
            inside=raw.inside,
            rowcount=raw.rowcount,
        )
