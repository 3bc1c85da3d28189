"""What the text of a statement tells of what it writes: :class:`Form`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django_querybudget.cache.columns import Column
    from django_querybudget.cache.tables import Table

__all__ = ["Form"]


@dataclass(frozen=True, slots=True)
class Form:
    """What the text alone tells of a write."""

    tables: tuple[Table, ...]  # bulk-written
    target: Table | None = None  # written in rows that the parameters tell
    columns: tuple[str, ...] = ()  # INSERT: those of plain rows; UPDATE: those that are set
    # UPDATE: the foreign keys that pin lists and are set, but to NULL; the parameter that each is
    # set to, None where the database computes one of the values; whether all of them are set.
    pins: tuple[tuple[Column, int | None], ...] = ()
    sets_all_pins: bool = False
    lists: bool = False  # INSERT: each parameter is a column's list of values, as bulk_create() has
    # UPDATE, DELETE: where the keys of the rows stand among the parameters, from the end; or else a
    # foreign key, left as it is, and where the values of it stand that the rows have.
    keys: tuple[int, ...] = ()
    across: tuple[Column, tuple[int, ...]] | None = None
    parameters: int = 0  # UPDATE, and what is written across a foreign key: how many there are
    everything: str = ""  # why it may write anything, if it may
    # PostgreSQL, whose catalog tells: functions that may write, and what is written to besides.
    calls: frozenset[str] = frozenset()
    targets: frozenset[str] = frozenset()
    unmodelled: bool = False  # a table that no model has, too
