"""What is no request and is measured like one: a task, a command, a message of a socket.

A :class:`Work` counts from its begin to its end, in one context. Then its reporters are told: the
log, the signal of N+1 queries, the record of production. Raising is the decision of whoever began
it, and comes last. What begins one: :func:`measured`, ``contrib.celery``, ``contrib.channels``,
``production.tasks_and_commands`` and ``manage.py querybudget run``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from django_querybudget.budgets.by_view import Declared, work_budget
from django_querybudget.recording.records import QueryLog
from django_querybudget.reports.enforcement import (
    enforce,
    enforce_nplusone,
    nplusone_policy,
    policy,
)
from django_querybudget.reports.report import QueryReport
from django_querybudget.reports.reporters import tell_of_work
from django_querybudget.routing.names import WORK_KINDS

from .capture import ProcessRecording, Recording
from .conf import conf

if TYPE_CHECKING:
    from django_querybudget.budgets.budget import Budget

__all__ = ["Work", "enforce_work", "measured", "measured_work"]

measured_work: ContextVar[Work | None] = ContextVar("querybudget_work", default=None)
"""The innermost work that is measured in this context."""


class Work:
    """A task, a command or a message while it runs; begun and ended once, in one context.

    ``declared`` is the ``query_budget`` of the function that it runs: that one judges the
    function's queries by itself, and tells here what it found. ``causes`` is whether the cause of
    an N+1 is looked for; by default where requests do. ``across_threads`` counts what every thread
    of the process queries. ``shown``: who began it shows its report, which is not logged then.
    """

    def __init__(
        self,
        kind: str,
        name: str,
        *,
        declared: Declared | None = None,
        causes: bool | None = None,
        across_threads: bool = False,
        shown: bool = False,
    ) -> None:
        self.kind, self.name = kind, name
        self.shown = shown
        self.declared = declared
        self.judged: QueryReport | None = None
        """What its declared budget found of it."""
        self.outer: Work | None = None
        """That in which it runs."""
        self.noted: Any = None
        """What the record of production notes of it while it runs."""
        causes = nplusone_policy() != "off" if causes is None else causes
        recording = ProcessRecording if across_threads else Recording
        self._recording: Recording | None = recording(origins=conf.ORIGINS, causes=causes)

    def begin(self) -> QueryLog:
        """Begin to record; return the log of its queries."""
        assert self._recording is not None  # noqa: S101 - begun once
        self.outer = measured_work.get()
        measured_work.set(self)
        return self._recording.__enter__()

    def end(self, budget: Budget | None = None) -> QueryReport:
        """Tell the reporters; return the report. ``budget`` comes before that of ``BUDGETS``."""
        assert self._recording is not None  # noqa: S101 - ended once
        # Tasks that outlive it hold it, in copies of its context: not the log as well.
        recording, self._recording = self._recording, None
        recording.__exit__()
        recording.close()
        measured_work.set(self.outer)
        if budget is None and self.judged is None:
            configured = work_budget(self.kind, self.name)
            budget = None if configured is None else configured.budget
        report = QueryReport(name=f"{self.kind} {self.name}", log=recording.log, budget=budget)
        tell_of_work(report, self)
        self.judged = None
        return report

    def note_judged(self, by: Declared, report: QueryReport) -> None:
        """Take what a declared budget found; another's than this work's own is left alone."""
        if by is self.declared and self._recording is not None:
            self.judged = report


def enforce_work(report: QueryReport, *, in_flight: bool, may_raise: bool = True) -> None:
    """Raise or warn of what a work exceeded; the reporters have logged it.

    Where nothing can be raised (``may_raise``), that they logged it is all. Raises
    :class:`~django_querybudget.exceptions.QueryBudgetExceeded` and
    :class:`~django_querybudget.exceptions.NPlusOneError`.
    """
    __tracebackhide__ = True
    if may_raise or policy(None) != "raise":
        enforce(report, in_flight=in_flight, logged=True)
    if may_raise or nplusone_policy() != "raise":
        enforce_nplusone(report, nplusone_policy(), in_flight=in_flight, logged=True)


def measured(kind: str, name: str) -> AbstractContextManager[QueryLog]:
    """Measure a block as a ``"task"``, a ``"command"`` or a ``"message"`` of that name.

    For what does not tell of itself (an RQ job)::

        with measured("task", "send_invoices"):
            send_invoices()

    It is told to the log, to ``nplusone_found`` and, with ``QUERYBUDGET["PRODUCTION"]``, to the
    record; its budget is that of ``"task send_invoices"`` in ``BUDGETS``. ``name`` says which code
    it is, never which row: at most 500 names have a series of their own. With ``ENABLED`` off it
    does nothing. Yields the :class:`QueryLog`. Raises ``ValueError`` for another kind, and what
    the budget's policy raises, never over another exception.
    """
    if kind not in WORK_KINDS:
        known = ", ".join(map(repr, WORK_KINDS))
        raise ValueError(f"kind is {kind!r}; it accepts one of {known}.")
    return _measured(kind, name)


@contextmanager
def _measured(kind: str, name: str) -> Iterator[QueryLog]:
    __tracebackhide__ = True
    if not conf.ENABLED:
        yield QueryLog()
        return
    work = Work(kind, name)
    log = work.begin()
    try:
        yield log
    except BaseException:
        enforce_work(work.end(), in_flight=True)
        raise
    enforce_work(work.end(), in_flight=False)
