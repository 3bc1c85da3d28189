"""What is kept of every query: :class:`RawRecord`."""

from __future__ import annotations

from typing import Any, NamedTuple

from django_querybudget.sql.fingerprints import StatementKind, statement_kind
from django_querybudget.stacks import RawOrigin, Trail

__all__ = ["TELLING_VENDORS", "UNKNOWN_FROM", "RawRecord"]

TELLING_VENDORS = frozenset(("mysql", "postgresql"))
"""The vendors whose drivers have all rows of a ``SELECT`` once it is executed, and say how many.

SQLite's says -1 (PEP 249: not known), Oracle's 0 until rows are fetched."""
UNKNOWN_FROM = 2**63
"""What no table has: an unbuffered cursor of PyMySQL's or mysqlclient's says 2⁶⁴ - 1."""


class RawRecord(NamedTuple):
    """What is kept of every query: a ``QueryRecord`` is made of it when somebody looks.

    The recorder makes it by ``tuple.__new__``, which costs no more than a bare tuple.
    """

    sql: str
    """The statement with its placeholders."""
    params: Any
    """Its parameters, of which the caller has no other reference that could change them."""
    many: bool
    """Whether it was an ``executemany``."""
    alias: str
    """The connection's alias in ``DATABASES``."""
    vendor: str
    """The connection's vendor."""
    started: float
    """When it was sent, in seconds of ``time.perf_counter()``."""
    duration: float
    """How long the database took, in seconds."""
    error: type[BaseException] | None = None
    """The class of the exception it failed with."""
    origin: RawOrigin | None = None
    """Where it was sent from; None if stacks are not walked."""
    trail: Trail | None = None
    """The way that led there; None if no causes are looked for."""
    inside: int = 0
    """What tells it apart from other queries of its line, if causes are looked for."""
    rowcount: int = -1
    """What the driver's cursor told once it was executed (PEP 249); -1 where it does not tell."""

    @property
    def rows(self) -> int | None:
        """As ``QueryRecord.rows``."""
        if self.many or statement_kind(self.sql) is not StatementKind.READ:
            return None
        if self.error is not None:
            return 0
        if self.vendor not in TELLING_VENDORS:
            return None
        return self.rowcount if self.rowcount >= 0 else None
