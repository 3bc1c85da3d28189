"""The report of a measured scope. All text that a person sees is rendered here."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from .budgets import Budget, Violation
from .records import QueryLog

__all__ = ["QueryReport"]


@dataclass(frozen=True, kw_only=True)
class QueryReport:
    """What one scope executed. It is made once, when the count is final."""

    name: str
    """The scope's name: for a view, ``"GET jobs:list"``."""
    log: QueryLog
    """Its queries."""
    budget: Budget | None = None
    """The budget that applies to it, if one does."""
    view_name: str | None = None
    """For a view: ``resolver_match.view_name``, or the route where the view has no name."""
    method: str | None = None
    """For a view: the request's method."""
    status_code: int | None = None
    """For a view: the response's status."""
    streaming: bool = False
    """For a view: whether the response was streamed; the report is made at the stream's end."""

    @cached_property
    def violations(self) -> tuple[Violation, ...]:
        """What the log exceeds of the budget."""
        return self.budget.check(self.log) if self.budget is not None else ()

    @property
    def milliseconds(self) -> float:
        """How long the databases took, in milliseconds."""
        return self.log.duration * 1000

    @property
    def summary(self) -> str:
        """``"12 queries, 3 duplicates"``."""
        duplicates = self.log.duplicate_count
        text = _number(self.log.count, "query", "queries")
        return f"{text}, {_number(duplicates, 'duplicate', 'duplicates')}" if duplicates else text

    def __str__(self) -> str:
        text = f"{self.name}: {self.summary}, {self.milliseconds:.1f} ms"
        return f"{text}, budget is {self.budget.max_queries}" if self.budget is not None else text


def _number(count: int, singular: str, plural: str) -> str:
    return f"{count} {singular if count == 1 else plural}"
