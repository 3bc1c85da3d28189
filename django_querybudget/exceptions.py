"""Everything this library raises on purpose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django_querybudget.budgets.growth import QueryGrowth
    from django_querybudget.reports.report import QueryReport


class QueryBudgetError(Exception):
    """Base of this library's exceptions: catch it to catch them all."""


class QueryBudgetExceeded(QueryBudgetError, AssertionError):
    """A scope executed more than its budget allows.

    An ``AssertionError`` too: test runners show it as a failure, not as an error. Its text is the
    whole report.
    """

    report: QueryReport | None
    """What was measured; None once the exception has crossed a process boundary."""

    def __init__(self, text: str, *, report: QueryReport | None = None) -> None:
        super().__init__(text)
        self.report = report

    def __reduce__(self) -> tuple[Any, ...]:
        # Parallel test runners send exceptions between processes, and a log holds code objects.
        return type(self), self.args


class NPlusOneError(QueryBudgetError, AssertionError):
    """A scope has N+1 queries, and ``QUERYBUDGET["NPLUSONE"]`` or the caller asked for an error.

    Its text names the lines, the relations and what to write.
    """

    report: QueryReport | None
    """What was measured, its ``findings`` among it; None once it crossed a process boundary."""

    def __init__(self, text: str, *, report: QueryReport | None = None) -> None:
        super().__init__(text)
        self.report = report

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self.args


class QueryGrowthError(QueryBudgetError, AssertionError):
    """The number of queries grows with the data. Its text names the shapes that do."""

    growth: QueryGrowth | None
    """What was measured; None once the exception has crossed a process boundary."""

    def __init__(self, text: str, *, growth: QueryGrowth | None = None) -> None:
        super().__init__(text)
        self.growth = growth

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self.args


class LockFileError(QueryBudgetError):
    """A ``querybudget.toml`` cannot be read: its text names the file, the line and what is wrong.

    The file is left as it is.
    """


class QueryBudgetWarning(UserWarning):
    """A scope executed more than its budget allows, and ``on_exceed`` is ``"warn"``."""


class NPlusOneWarning(UserWarning):
    """A scope has N+1 queries, and ``QUERYBUDGET["NPLUSONE"]`` is ``"warn"``."""
