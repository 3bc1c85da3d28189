"""What is measured: each view's request, and each :class:`~django_querybudget.work.Work`.

A request costs what the reporter here adds at its end. What the cache tells meanwhile is noted on
the request, or on the work: nobody is asked for it again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from textwrap import dedent
from typing import TYPE_CHECKING

from django_querybudget.budgets.by_view import measured_request
from django_querybudget.work import Work, measured_work

from .measures import COUNTERS
from .process import ProcessRecord
from .record import MOST_REMARKS, Remark, Said, SeriesKey, series_key

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

    from django_querybudget.nplusone.findings import Finding
    from django_querybudget.reports.report import QueryReport

__all__ = ["Noted", "Reporting", "noted_read"]

_ON_REQUEST = "_querybudget_noted"
_NOTHING = (0, 0, 0)
_COUNTERS = {each.name.removeprefix("cache_"): each.total for each in COUNTERS}


class Noted:
    """What is told of a request or a work while it runs."""

    __slots__ = ("bypasses", "counted", "hits", "misses", "reasons", "tell")

    def __init__(self) -> None:
        self.hits = self.misses = self.bypasses = 0
        self.counted: dict[int, int] | None = None
        """Of the counters, by their places, what was counted before the end."""
        self.tell: Callable[[int], None] | None = None
        """Who is told of what is counted after it."""
        self.reasons: dict[str, int] | None = None
        """Of the bypasses."""

    def count(self, place: int) -> None:
        """Add one to a counter."""
        if self.tell is not None:
            self.tell(place)
            return
        counted = self.counted = self.counted or {}
        counted[place] = counted.get(place, 0) + 1

    def remarks(self) -> list[tuple[Remark, Said]]:
        """Return why cached reads went to the database."""
        reasons = self.reasons
        return (
            [(Remark("bypass", each), Said(reasons[each])) for each in reasons] if reasons else []
        )

    def values(self) -> tuple[int, int, int]:
        """Return hits, misses and bypasses of the cache."""
        return self.hits, self.misses, self.bypasses


def _listening() -> Iterator[Noted]:
    work, request = measured_work.get(), measured_request.get()
    while work is not None:
        if work.noted is None:
            work.noted = Noted()
        yield work.noted
        work = work.outer
    if request is not None:
        noted = request.__dict__.get(_ON_REQUEST)
        if noted is None:
            noted = request.__dict__[_ON_REQUEST] = Noted()
        yield noted


def noted_read(what: str, reason: str) -> None:
    """Count a cached read (``"hits"``, ``"misses"`` or ``"bypasses"``) for who runs it.

    And what the audit, later, finds of it for who ran it: ``"audited"``, ``"stale"``.
    """
    if (place := _COUNTERS.get(what)) is not None:
        for noted in _listening():
            noted.count(place)
    elif what in ("hits", "misses", "bypasses"):
        for noted in _listening():
            setattr(noted, what, getattr(noted, what) + 1)
            if reason:
                reasons = noted.reasons = noted.reasons or {}
                if reason in reasons or len(reasons) < MOST_REMARKS:
                    reasons[reason] = reasons.get(reason, 0) + 1


class Reporting:
    """The reporter that adds each view's request, and each work, to the record."""

    def __init__(self, record: ProcessRecord) -> None:
        self._record = record

    def __call__(
        self, report: QueryReport, request: HttpRequest, response: HttpResponseBase
    ) -> None:
        """Add one request."""
        key = series_key("view", report.view_name or "no view", report.method or "other")
        self._add(key, report, request.__dict__.get(_ON_REQUEST), report)

    def of_work(self, report: QueryReport, work: Work) -> None:
        """Add one task, command or message."""
        key = series_key(work.kind, work.name)
        self._add(key, report, work.noted, work.judged or report)

    def _add(
        self, key: SeriesKey, report: QueryReport, noted: Noted | None, judged: QueryReport
    ) -> None:
        """Add it; ``judged`` is the report that has the budget."""
        budget = judged.budget
        log = report.log
        count, duration, duplicates, rows = log.totals
        findings = report.findings if log.evidence is not None else None
        values = (  # in the order of MEASURES
            count,
            duration,
            rows,
            duplicates,
            None if findings is None else len(findings),
            None if budget is None else len(judged.violations),
            *(_NOTHING if noted is None else noted.values()),
        )
        remarks = noted.remarks() if noted is not None else []
        if findings:
            remarks += [_remark(each) for each in findings]
        limit = None if budget is None else budget.max_queries
        self._record.add(key, values, log.raw, limit, remarks)
        if noted is not None:
            noted.tell = partial(self._record.count, key)
            for place, number in (noted.counted or {}).items():
                self._record.count(key, place, number)


def _remark(finding: Finding) -> tuple[Remark, Said]:
    from django_querybudget.nplusone.rendering import described, render_findings  # seldom needed

    place = "" if finding.origin is None else finding.origin.nearest_place
    advice = dedent("\n".join(render_findings([finding])[2:]))
    return Remark("nplusone", described(finding), place), Said(1, advice)
