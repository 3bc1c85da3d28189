"""Who is told of a report: the response's headers, the log, the signal.

A reporter is told of every measured view, once, when its count is final; none may raise into the
host's request. What is no request has reporters of its own: :func:`tell_of_work`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol

from asgiref.sync import sync_to_async
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from django_querybudget.conf import conf
from django_querybudget.conf.headers import may_see_headers
from django_querybudget.recording.records import QueryLog
from django_querybudget.signals import nplusone_found, queries_measured

from .repeats import is_news
from .report import QueryReport

if TYPE_CHECKING:
    from django_querybudget.work import Work

logger = logging.getLogger("django_querybudget")


class Reporter(Protocol):
    """A callable that passes a report on."""

    def __call__(
        self, report: QueryReport, request: HttpRequest, response: HttpResponseBase
    ) -> None: ...


def send_headers(report: QueryReport, request: HttpRequest, response: HttpResponseBase) -> None:
    """Put the count into the response's headers, for those who may see it.

    A stream's headers are gone before its queries run: they get none, rather than a false count.
    """
    if report.streaming or not may_see_headers(request):
        return
    log = report.log
    response.headers["X-Query-Count"] = str(log.count)
    response.headers["X-Query-Time"] = f"{report.milliseconds:.1f}"
    response.headers["X-Query-Duplicates"] = str(log.duplicate_count)
    response.headers["X-Query-Rows"] = rows_told(log)
    if report.budget is not None and report.budget.max_queries is not None:
        response.headers["X-Query-Budget"] = str(report.budget.max_queries)
    timing = f'db;dur={report.milliseconds:.1f};desc="{report.summary}"'
    other = response.headers.get("Server-Timing")
    response.headers["Server-Timing"] = f"{other}, {timing}" if other else timing


def rows_told(log: QueryLog) -> str:
    """Return ``"120"``; ``"120;unknown=2"``, if two queries' rows are unknown; or ``"unknown"``.

    An item with a parameter of Structured Field Values (RFC 9651).
    """
    fetched = log.fetched
    if fetched.told is None:
        return "unknown"
    return f"{fetched.rows};unknown={fetched.unknown}" if fetched.unknown else str(fetched.rows)


def write_log(report: QueryReport, request: HttpRequest, response: HttpResponseBase) -> None:
    """Log the report on ``django_querybudget``: a warning if it exceeds its budget or has N+1
    queries, else debug. What was logged whole in this process before is one line.
    """
    _write_log(report, {"report": report, "request": request})


def _write_log(report: QueryReport, extra: dict[str, Any]) -> None:
    loud = bool(report.violations or report.findings)
    news = is_news(report) if loud or report.unjudged else True
    # That rows cannot be judged is said once, not of every request.
    level = logging.WARNING if loud or (report.unjudged and news) else logging.DEBUG
    if logger.isEnabledFor(level):
        text = report if news else report.brief
        logger.log(level, "%s", text, extra=extra)


def send_signal(report: QueryReport, request: HttpRequest, response: HttpResponseBase) -> None:
    """Send :data:`~django_querybudget.signals.queries_measured`; a receiver's error is logged."""
    queries_measured.send_robust(
        sender=QueryReport, report=report, request=request, response=response
    )
    _send_findings(report)


def _send_findings(report: QueryReport) -> None:
    if report.findings:
        nplusone_found.send_robust(sender=QueryReport, report=report, findings=report.findings)


REPORTERS: tuple[Reporter, ...] = (send_headers, write_log, send_signal)


def add_reporter(reporter: Reporter) -> None:
    """Tell ``reporter`` of every measured view, too, after all others."""
    global REPORTERS
    REPORTERS = (*REPORTERS, reporter)


def remove_reporter(reporter: Reporter) -> None:
    """Undo :func:`add_reporter`."""
    global REPORTERS
    REPORTERS = tuple(other for other in REPORTERS if other is not reporter)


def tell(report: QueryReport, request: HttpRequest, response: HttpResponseBase) -> None:
    """Tell every reporter; what one raises is logged."""
    for reporter in REPORTERS:
        try:
            reporter(report, request, response)
        except Exception:
            logger.exception("django_querybudget could not report %s.", report.name)


async def tell_async(report: QueryReport, request: HttpRequest, response: HttpResponseBase) -> None:
    """As :func:`tell`, with the host's code on a thread: there it may query, as under WSGI.

    On the loop's own thread a policy that reads ``request.user`` would be refused by Django, and
    so would a receiver that queries or is async. Without such code no thread is worth its price.
    """
    if callable(conf.HEADERS) or queries_measured.has_listeners(QueryReport):
        await sync_to_async(tell)(report, request, response)
    else:
        tell(report, request, response)


class WorkReporter(Protocol):
    """A callable that passes on the report of a task, a command or a message."""

    def __call__(self, report: QueryReport, work: Work) -> None: ...


def log_work(report: QueryReport, work: Work) -> None:
    """As :func:`write_log`, unless it is shown or its declared budget has told what exceeds it."""
    if not work.shown and (work.judged is None or not work.judged.violations):
        _write_log(report, {"report": report})


def signal_work(report: QueryReport, work: Work) -> None:
    """Send :data:`~django_querybudget.signals.nplusone_found`; a receiver's error is logged."""
    _send_findings(report)


WORK_REPORTERS: tuple[WorkReporter, ...] = (log_work, signal_work)


def add_work_reporter(reporter: WorkReporter) -> None:
    """Tell ``reporter`` of every measured task, command and message, too, after all others."""
    global WORK_REPORTERS
    WORK_REPORTERS = (*WORK_REPORTERS, reporter)


def remove_work_reporter(reporter: WorkReporter) -> None:
    """Undo :func:`add_work_reporter`."""
    global WORK_REPORTERS
    WORK_REPORTERS = tuple(other for other in WORK_REPORTERS if other is not reporter)


def tell_of_work(report: QueryReport, work: Work) -> None:
    """Tell every reporter of what is no request; what one raises is logged."""
    for reporter in WORK_REPORTERS:
        try:
            reporter(report, work)
        except Exception:  # as of a view
            logger.exception("django_querybudget could not report %s.", report.name)
