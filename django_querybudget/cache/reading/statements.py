"""Statements of a fill that are on their way, and where they read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django_querybudget.cache.transactions import Mode, State

from .dependencies import ReadTags

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from .fills import Fill

__all__ = ["PendingRead", "ReadFrom"]


@dataclass(frozen=True, slots=True)
class ReadFrom:
    """Where a statement of the fill read."""

    state: State
    mode: Mode
    lag: float


@dataclass(frozen=True, slots=True)
class PendingRead:
    """A statement that is on its way, and reads one row perhaps."""

    fill: Fill
    tags: ReadTags

    def done(
        self, cursor: Any, connection: BaseDatabaseWrapper, error: BaseException | None
    ) -> None:
        """Note what was read: the row, if the driver says that it came; else the table."""
        found = error is None and connection.vendor in _COUNTING and cursor.rowcount > 0
        self.fill.needed |= self.tags.if_found if found else self.tags.all


# Whose drivers know, after execute(), how many rows there are. (A server-side cursor does not.)
_COUNTING = ("postgresql", "mysql")
