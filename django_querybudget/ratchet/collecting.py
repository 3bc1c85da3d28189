"""Collecting the lines of a test run, from all of its processes.

Every process of the run (xdist's workers, those of ``test --parallel``) appends what it measures to
a file of its own in one folder, the *spool*, which it knows from the environment. Lines that a
process wrote before it crashed are not lost.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from threading import Lock
from typing import Any

from django.conf import settings

from django_querybudget.conf import conf
from django_querybudget.recording.records import QueryLog
from django_querybudget.reports.report import QueryReport
from django_querybudget.signals import queries_measured

from .lines import Key, Line, merged, view_key

__all__ = ["SPOOL_VARIABLE", "collect", "read_spool", "start", "stop"]

SPOOL_VARIABLE = "QUERYBUDGET_SPOOL"
MIDDLEWARE = "django_querybudget.middleware.QueryBudgetMiddleware"

_MEASURED = {"SAMPLE_RATE": 1.0, "ORIGINS": True}

_highest: dict[Key, Line] = {}
_lock = Lock()


def start(spool: Path) -> None:
    """Collect into ``spool`` what this process, and those it starts, measure from now on.

    Every request is measured, and the middleware is put first if the settings do not have it.
    """
    os.environ[SPOOL_VARIABLE] = str(spool)
    conf.overrides.update(_MEASURED)
    if MIDDLEWARE not in settings.MIDDLEWARE:
        settings.MIDDLEWARE = [MIDDLEWARE, *settings.MIDDLEWARE]
    queries_measured.connect(_on_measured, dispatch_uid=__name__)


def stop() -> None:
    """Undo :func:`start`, but for the middleware."""
    os.environ.pop(SPOOL_VARIABLE, None)
    for name in _MEASURED:
        conf.overrides.pop(name, None)
    queries_measured.disconnect(dispatch_uid=__name__)
    _highest.clear()


def start_from_environment() -> None:
    """Collect if this process was started by one that does."""
    if spool := os.environ.get(SPOOL_VARIABLE):
        start(Path(spool))


def collect(key: Key, log: QueryLog) -> None:
    """Take note of what ``key`` executed, if that is more than before."""
    spool = os.environ.get(SPOOL_VARIABLE)
    if spool is None:
        return
    line = Line.of(log)
    with _lock:
        before = _highest.get(key)
        highest = line if before is None else line.highest(before)
        if highest == before:
            return
        _highest[key] = highest
        # One write of one line: forked processes inherit _highest, so the file is by process.
        with Path(spool, f"{os.getpid()}.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps([*key, highest.as_data()]) + "\n")


def read_spool(spool: Path) -> dict[Key, Line]:
    """Return the highest line of each key that any process has collected."""
    lines = []
    for path in sorted(spool.glob("*.jsonl")):
        for text in path.read_text(encoding="utf-8").splitlines():
            try:
                kind, name, data = json.loads(text)
            except json.JSONDecodeError:
                continue  # Its process was killed while it wrote.
            lines.append(((kind, name), Line.from_data(data)))
    return merged(lines)


def _on_measured(report: QueryReport, **_: Any) -> None:
    if report.view_name is not None and report.method is not None:
        key = view_key(report.method, report.view_name, report.status_code or 0)
        collect(key, report.log)
