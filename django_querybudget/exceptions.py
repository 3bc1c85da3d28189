"""Everything this library raises on purpose."""

from __future__ import annotations

from typing import Any


class QueryBudgetError(Exception):
    """Base of this library's exceptions: catch it to catch them all."""


class NPlusOneError(QueryBudgetError):
    """A scope has N+1 queries, and ``QUERYBUDGET["NPLUSONE"]`` or the caller asked for an error.

    ``report`` is the :class:`~django_querybudget.reports.QueryReport`: its ``findings`` name the
    lines, the relations and the fixes, and the message is their text.
    """

    def __init__(self, message: str, report: Any = None) -> None:
        super().__init__(message)
        self.report = report
