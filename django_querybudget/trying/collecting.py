"""What a process of the run sees, appended to a file of its own."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from threading import Lock
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from django_querybudget.conf import conf
from django_querybudget.reports import reporters
from django_querybudget.reports.enforcement import in_tests
from django_querybudget.reports.report import QueryReport, number

from .growing import growth_of
from .holders import is_added
from .launching import FOLDER_VARIABLE, ROWS_VARIABLE
from .trial import View

__all__ = ["start", "write"]

MOST_BYTES = 8_000_000
"""So much a process writes; what comes later is counted by nobody, and the page says so."""

_views: dict[str, View] = {}
_told: set[str] = set()
_written: dict[int, int] = {}
_lock = Lock()
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
    reporters.add_reporter(_note)
    write("process", {"added": is_added(), "threshold": conf.NPLUSONE_THRESHOLD})
    if ROWS_VARIABLE not in os.environ:
        from .indexes import note_models  # when the models are there

        note_models()


def write(kind: str, data: Any) -> None:
    """Append a line, by one write, so that no process cuts another's."""
    text = json.dumps([kind, data]) + "\n"
    with _lock:
        process = os.getpid()  # A fork writes to a file of its own.
        before = _written.get(process, 0)
        if before > MOST_BYTES:
            return
        _written[process] = before + len(text)
        if _written[process] > MOST_BYTES:
            text = json.dumps(["cut", True]) + "\n"
        path = Path(os.environ[FOLDER_VARIABLE], f"{process}.jsonl")
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(text)
        except OSError:
            return  # The run is over, and its folder gone: a process that was left behind.


def _note(report: QueryReport, request: HttpRequest, response: HttpResponseBase) -> None:
    del response
    if report.view_name is None:
        return
    growth = growth_of(request)
    from .reading import loops_of, view_of  # needed from the first request on

    view = view_of(report)
    if growth is None:
        _note_view(view)
        if not in_tests():
            _print_line(report)
    else:
        growth.note(view)
    if _written.get(os.getpid(), 0) > MOST_BYTES:
        return
    for kind, data in loops_of(report, None if growth is None else growth.rows):
        text = json.dumps(data)
        if text not in _told:
            _told.add(text)
            write(kind, data)


def _note_view(view: View) -> None:
    known = _views.get(view.name)
    if known is None:
        known = _views[view.name] = View(name=view.name)
    before = (known.queries, known.duplicates, dict(known.lists))
    is_first = not known.milliseconds
    known.add(view)
    if is_first or before != (known.queries, known.duplicates, known.lists):
        write("view", asdict(known))


def _print_line(report: QueryReport) -> None:
    """Tell whoever watches a server of one request."""
    loops = len(report.findings)
    more = f"; {number(loops, 'loop of queries', 'loops of queries')}" if loops else ""
    sys.stderr.write(f"querybudget: {report.headline}{more}\n")
