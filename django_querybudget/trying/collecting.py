"""What a process of the run sees: a reporter that takes note of each measured request."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict

from django.core.checks.registry import registry
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from django_querybudget.conf import conf
from django_querybudget.messages.plurals import counted
from django_querybudget.reports import reporters
from django_querybudget.reports.enforcement import in_tests
from django_querybudget.reports.report import QueryReport

from .growing import before_of, growth_of
from .launching import ROWS_VARIABLE
from .notes import is_full, write
from .settings_classes import is_added
from .trial import ViewCount

__all__ = ["start"]

MOST_VIEWS = 5_000

_views: dict[str, ViewCount] = {}
_told: set[str] = set()
_started = False


def start() -> None:
    """Measure every request of this process from now on. Called when Django has been set up."""
    global _started
    if _started:  # Apps are set up anew by a test that overrides INSTALLED_APPS.
        return
    _started = True
    conf.overrides.update({"SAMPLE_RATE": 1.0, "ORIGINS": True})
    if conf.NPLUSONE in (None, "off"):
        conf.overrides["NPLUSONE"] = "log"
    if is_added():
        # The page says it all at the end: the project's output and answers are as they always are.
        conf.overrides["HEADERS"] = False
        reporters.remove_reporter(reporters.write_log)
        _unregister_checks()
    reporters.add_reporter(_note)
    write("process", {"added": is_added(), "threshold": conf.NPLUSONE_THRESHOLD})
    if ROWS_VARIABLE not in os.environ:
        from .indexes import note_models  # when the models are there

        note_models()


def _unregister_checks() -> None:
    """Leave the checks to the project's own: ours are not to stop, or to lengthen, what it runs."""
    from . import indexes  # noqa: F401  # it registers some

    checks = registry.registered_checks
    checks.difference_update(
        {each for each in checks if each.__module__.startswith("django_querybudget.")}
    )


def _note(report: QueryReport, request: HttpRequest, response: HttpResponseBase) -> None:
    del response
    if report.view_name is None:
        return
    growth = growth_of(request)
    from .report_data import loops_of, view_of  # needed from the first request on

    view = view_of(report)
    if growth is None:
        if (beside := before_of(request)) is not None:
            beside.note(view)
        _note_view(view)
        if not in_tests():
            _print_line(report)
    else:
        growth.note(view)
    if is_full():
        return
    for kind, data in loops_of(report, None if growth is None else growth.rows):
        text = json.dumps(data)
        if text not in _told:
            _told.add(text)
            write(kind, data)


def _note_view(view: ViewCount) -> None:
    known = _views.get(view.name)
    if known is None and len(_views) < MOST_VIEWS:
        _views[view.name] = view
        write("view", asdict(view))
    elif known is not None and known.add(view):
        write("view", asdict(known))


def _print_line(report: QueryReport) -> None:
    """Tell whoever watches a server of one request."""
    loops = len(report.findings)
    more = f"; {counted(loops, 'loop of queries', 'loops of queries')}" if loops else ""
    sys.stderr.write(f"querybudget: {report.headline}{more}\n")
