"""A panel for django-debug-toolbar: the request's queries by shape, with causes and lines::

    DEBUG_TOOLBAR_PANELS = [
        "debug_toolbar.panels.history.HistoryPanel",
        "django_querybudget.contrib.debug_toolbar.QueryBudgetPanel",
        ...,
    ]

It counts what its request queries, whatever threads and tasks that takes, and whatever other
requests run meanwhile; not what the toolbar itself queries. Parameters are shown where
``QUERYBUDGET["SHOW_PARAMETERS"]`` says so. What a streamed response queries while it is sent comes
after the toolbar, and is in no panel.

Needs the extra ``debug-toolbar``: django-debug-toolbar 6 or later.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from debug_toolbar.panels import Panel
from django.template import Context, Engine, Template

from django_querybudget.budgets.by_view import view_budget
from django_querybudget.capture import Recording
from django_querybudget.conf import conf
from django_querybudget.messages.plurals import counted
from django_querybudget.reports.report import QueryReport
from django_querybudget.routing.views import view_name_of
from django_querybudget.sql.shortening import shortened

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

    from django_querybudget.reports.shapes import Shape

__all__ = ["QueryBudgetPanel"]

logger = logging.getLogger("django_querybudget")

MOST_SHAPES = 100
"""So many shapes are shown, the most frequent; the toolbar keeps some 25 requests."""
MOST_LINES = 10
"""Of a shape, so many lines and parameters."""
LONGEST = 5_000
"""So much of a shape's text and of a parameter's, in characters."""


@cache
def _template() -> Template:
    # By an engine of its own: the host's may be another, or escape nothing.
    text = (Path(__file__).parent / "panel.html").read_text(encoding="utf-8")
    return Engine().from_string(text)


class QueryBudgetPanel(Panel):
    """The panel of one request."""

    is_async = True
    title = "Queries by shape"
    nav_title = "Query budget"

    _recording: Recording | None = None

    def process_request(self, request: HttpRequest) -> Any:
        """Record what the request queries, in a context of its own under ASGI."""
        recording = self._recording = Recording()
        with recording:
            response = self.get_response(request)
        return self._awaited(recording, response) if inspect.isawaitable(response) else response

    async def _awaited(
        self, recording: Recording, response: Awaitable[HttpResponseBase]
    ) -> HttpResponseBase:
        with recording:
            return await response

    def generate_stats(self, request: HttpRequest, response: HttpResponseBase) -> None:
        """Hand what was recorded to the toolbar's store, as plain data."""
        recording, self._recording = self._recording, None
        if recording is None:
            return
        recording.close()
        try:
            self.record_stats(  # type: ignore[no-untyped-call]  # the toolbar has no types
                _told(_report(recording, request, response))
            )
        except Exception:  # a defect of ours must not become the host's
            logger.exception("django_querybudget could not fill its panel of the debug toolbar.")

    @property
    def nav_subtitle(self) -> str:
        """``12 queries in 3.4 ms``, and what is wrong with them."""
        return str(self._stats().get("summary", ""))

    @property
    def content(self) -> str:
        """The panel as HTML; of a request of the history as well."""
        return str(_template().render(Context(self._stats(), use_l10n=False)))

    def _stats(self) -> dict[str, Any]:
        found: dict[str, Any] = self.get_stats()  # type: ignore[no-untyped-call]  # the toolbar has no types
        return found


def _report(recording: Recording, request: HttpRequest, response: HttpResponseBase) -> QueryReport:
    declared = view_budget(request)
    view_name = view_name_of(request)
    return QueryReport(
        name=f"{request.method} {view_name or 'no view'}",
        log=recording.log,
        budget=None if declared is None else declared.budget,
        view_name=view_name,
        method=request.method,
        status_code=response.status_code,
    )


def _told(report: QueryReport) -> dict[str, Any]:
    shapes = report.shapes
    summary = [f"{counted(report.log.count, 'query', 'queries')} in {report.milliseconds:.1f} ms"]
    if report.findings:
        summary.append(counted(len(report.findings), "N+1 loop", "N+1 loops"))
    if report.violations:
        summary.append("over budget")
    return {
        "summary": ", ".join(summary),
        "headline": report.headline,
        "exceeded": bool(report.violations),
        "nplusone": report.nplusone_text if report.findings else "",
        "shapes": [_shape(each) for each in shapes[:MOST_SHAPES]],
        "hidden": max(0, len(shapes) - MOST_SHAPES),
        "dropped": report.log.dropped,
        "count": report.log.count,
    }


def _shape(shape: Shape) -> dict[str, Any]:
    sql = shortened(shape.fingerprint)
    whole = shape.fingerprint[:LONGEST]
    origins = shape.origins[:MOST_LINES]
    parameters = shape.queries[:MOST_LINES] if conf.SHOW_PARAMETERS else ()
    return {
        "count": shape.count,
        "milliseconds": f"{shape.milliseconds:.1f}",
        "rows": shape.rows,
        "sql": sql,
        "whole": "" if whole == sql else whole,
        "origins": [{"line": str(origin), "count": count} for origin, count in origins],
        "parameters": [repr(each.params)[:LONGEST] for each in parameters],
    }
