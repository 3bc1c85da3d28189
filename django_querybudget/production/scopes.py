"""What is measured: each view's request, tasks, commands, and any block by :func:`measured`.

A request costs what the reporter here adds at its end. What the cache tells meanwhile is noted on
the request, or on the scope: nobody is asked for it again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from textwrap import dedent
from typing import TYPE_CHECKING

from django_querybudget.budgets.by_view import measured_request
from django_querybudget.capture import Recording
from django_querybudget.conf import conf
from django_querybudget.recording.records import QueryLog

from .process import ProcessRecord
from .record import MOST_REMARKS, Remark, Said, series_key

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

    from django_querybudget.nplusone.findings import Finding
    from django_querybudget.reports.report import QueryReport

__all__ = ["Noted", "Reporting", "Scope", "noted_read"]

_ON_REQUEST = "_querybudget_noted"
_NOTHING = (0, 0, 0)


class Noted:
    """What is told of a request or a scope while it runs."""

    __slots__ = ("bypasses", "hits", "misses", "reasons")

    def __init__(self) -> None:
        self.hits = self.misses = self.bypasses = 0
        self.reasons: dict[str, int] | None = None
        """Of the bypasses."""

    def remarks(self) -> list[tuple[Remark, Said]]:
        """Return why cached reads went to the database."""
        reasons = self.reasons
        return (
            [(Remark("bypass", each), Said(reasons[each])) for each in reasons] if reasons else []
        )

    def values(self) -> tuple[int, int, int]:
        """Return hits, misses and bypasses of the cache."""
        return self.hits, self.misses, self.bypasses


_scope: ContextVar[Noted | None] = ContextVar("querybudget_scope", default=None)


def _listening() -> Iterator[Noted]:
    scope, request = _scope.get(), measured_request.get()
    if scope is not None:
        yield scope
    if request is not None:
        noted = request.__dict__.get(_ON_REQUEST)
        if noted is None:
            noted = request.__dict__[_ON_REQUEST] = Noted()
        yield noted


def noted_read(what: str, reason: str) -> None:
    """Count a cached read (``"hits"``, ``"misses"`` or ``"bypasses"``) for who runs it."""
    if what in ("hits", "misses", "bypasses"):
        for noted in _listening():
            setattr(noted, what, getattr(noted, what) + 1)
            if reason:
                reasons = noted.reasons = noted.reasons or {}
                if reason in reasons or len(reasons) < MOST_REMARKS:
                    reasons[reason] = reasons.get(reason, 0) + 1


class Reporting:
    """The reporter that adds each view's request to the record."""

    def __init__(self, record: ProcessRecord) -> None:
        self._record = record

    def __call__(
        self, report: QueryReport, request: HttpRequest, response: HttpResponseBase
    ) -> None:
        """Add one request."""
        key = series_key("view", report.view_name or "no view", report.method or "other")
        noted = request.__dict__.get(_ON_REQUEST)
        budget = report.budget
        log = report.log
        count, duration, duplicates, rows = log.totals
        findings = report.findings if log.evidence is not None else None
        values = (
            count,
            duration,
            rows,
            duplicates,
            None if findings is None else len(findings),
            None if budget is None else len(report.violations),
            *(_NOTHING if noted is None else noted.values()),
        )
        remarks = noted.remarks() if noted is not None else []
        if findings:
            remarks += [_remark(each) for each in findings]
        limit = None if budget is None else budget.max_queries
        self._record.add(key, values, log.raw, limit, remarks)


def _remark(finding: Finding) -> tuple[Remark, Said]:
    from django_querybudget.nplusone.rendering import described, render_findings  # seldom needed

    place = "" if finding.origin is None else finding.origin.nearest_place
    advice = dedent("\n".join(render_findings([finding])[2:]))
    return Remark("nplusone", described(finding), place), Said(1, advice)


class Scope:
    """A task or a command while it runs; begun and ended in one context."""

    def __init__(self, record: ProcessRecord, kind: str, name: str) -> None:
        self._record, self._key = record, series_key(kind, name)
        self._recording = Recording(origins=conf.ORIGINS, causes=False)
        self._noted = Noted()
        self._outer: Noted | None = None

    @property
    def log(self) -> QueryLog:
        """Its queries so far."""
        return self._recording.log

    def begin(self) -> None:
        """Begin to record."""
        self._outer = _scope.get()
        _scope.set(self._noted)
        self._recording.__enter__()

    def end(self) -> None:
        """Add it to the record."""
        self._recording.__exit__()
        self._recording.close()
        _scope.set(self._outer)
        log = self._recording.log
        count, duration, duplicates, rows = log.totals
        values = (count, duration, rows, duplicates, None, None, *self._noted.values())
        self._record.add(self._key, values, log.raw, None, self._noted.remarks())


@contextmanager
def scope(record: ProcessRecord | None, kind: str, name: str) -> Iterator[QueryLog]:
    """Measure a block; a log that stays empty where there is no record."""
    if record is None:
        yield QueryLog()
        return
    running = Scope(record, kind, name)
    running.begin()
    try:
        yield running.log
    finally:
        running.end()
