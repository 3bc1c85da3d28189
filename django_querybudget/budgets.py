"""Budgets: how many queries a scope may execute. Functions of a :class:`QueryLog`, no I/O."""

from __future__ import annotations

from dataclasses import dataclass

from .records import QueryLog

__all__ = ["Budget", "Violation"]


@dataclass(frozen=True, kw_only=True)
class Violation:
    """One dimension of a budget that a log exceeds."""

    dimension: str
    """The dimension's name: ``"max_queries"``."""
    limit: float
    """What the budget allows."""
    actual: float
    """What the log has."""


@dataclass(frozen=True)
class Budget:
    """The most a scope may do. ``Budget(10)`` allows ten queries.

    Raises ``TypeError`` for a limit that is no integer, ``ValueError`` for a negative one.
    """

    max_queries: int
    """The most queries, on all databases together; transaction control is not counted."""

    def __post_init__(self) -> None:
        if isinstance(self.max_queries, bool) or not isinstance(self.max_queries, int):
            raise TypeError(
                f"max_queries is {self.max_queries!r}; it accepts a whole number of 0 or more."
            )
        if self.max_queries < 0:
            raise ValueError(
                f"max_queries is {self.max_queries}; it accepts a whole number of 0 or more."
            )

    def check(self, log: QueryLog) -> tuple[Violation, ...]:
        """Return what ``log`` exceeds; nothing if it keeps within the budget."""
        count = log.count
        if count <= self.max_queries:
            return ()
        return (Violation(dimension="max_queries", limit=self.max_queries, actual=count),)
