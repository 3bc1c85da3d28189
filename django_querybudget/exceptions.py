"""The exceptions and warnings that a project may want to catch.

Those of one command alone stand with it; all errors share one base.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .messages.links import message_link, see

if TYPE_CHECKING:
    from django_querybudget.budgets.growth import QueryGrowth
    from django_querybudget.reports.report import QueryReport

__all__ = [
    "LockFileError",
    "NPlusOneError",
    "NPlusOneWarning",
    "QueryBudgetError",
    "QueryBudgetExceeded",
    "QueryBudgetWarning",
    "QueryGrowthError",
]


class QueryBudgetError(Exception):
    """Base of this library's exceptions. A bad argument is a ``TypeError`` or ``ValueError``."""


class _Failure(QueryBudgetError, AssertionError):
    """What a test runner shows as a failure, not as an error. Its text is the whole report."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Parallel test runners send exceptions between processes, and a log holds code objects:
        # the text alone goes along.
        return type(self), self.args


class _OfReport(_Failure):
    report: QueryReport | None
    """What was measured; None once the exception has crossed a process boundary."""

    def __init__(self, text: str, *, report: QueryReport | None = None) -> None:
        super().__init__(text)
        self.report = report


class QueryBudgetExceeded(_OfReport):
    """A scope executed more than its budget allows; also an ``AssertionError``.

    ``report`` is what was measured, a :class:`~django_querybudget.reports.QueryReport`; None once
    the exception has crossed a process boundary.
    """


class NPlusOneError(_OfReport):
    """A scope has N+1 queries, and ``QUERYBUDGET["NPLUSONE"]`` or the caller asked for an error.

    Its text names the lines, the relations and what to write. Also an ``AssertionError``.
    ``report`` is what was measured, its ``findings`` among it; None once the exception has crossed
    a process boundary.
    """


class QueryGrowthError(_Failure):
    """The number of queries grows with the data. Its text names the shapes that do.

    Also an ``AssertionError``.
    """

    growth: QueryGrowth | None
    """What was measured; None once the exception has crossed a process boundary."""

    def __init__(self, text: str, *, growth: QueryGrowth | None = None) -> None:
        super().__init__(text)
        self.growth = growth


class LockFileError(QueryBudgetError):
    """A ``querybudget.toml`` cannot be read: its text names the file, the line and what is wrong.

    The file is left as it is.
    """

    def __str__(self) -> str:
        return f"{super().__str__()} {see(message_link('lock-file'))}"


class QueryBudgetWarning(UserWarning):
    """A scope executed more than its budget allows, and ``on_exceed`` is ``"warn"``."""


class NPlusOneWarning(UserWarning):
    """A scope has N+1 queries, and ``QUERYBUDGET["NPLUSONE"]`` is ``"warn"``."""
