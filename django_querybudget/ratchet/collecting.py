"""Collecting the lines of a test run, from all of its processes.

Every process of the run (xdist's workers, those of ``test --parallel``) appends what it measures to
a file of its own in one folder, the *spool*, which it knows from the environment. Lines that a
process wrote before it crashed are not lost.

Each line is of a test, so that what a failing test measured can be told from the rest.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from sys import _getframe
from threading import Lock
from types import FrameType
from typing import TYPE_CHECKING
from unittest import TestCase

from django.conf import settings

from django_querybudget.conf import conf
from django_querybudget.recording.records import QueryLog
from django_querybudget.reports.report import QueryReport
from django_querybudget.signals import queries_measured

from . import details
from .lines import Key, Line, merged, view_key

if TYPE_CHECKING:
    from django_querybudget.nplusone import Finding

from .spool import read_lines

__all__ = [
    "SPOOL_VARIABLE",
    "Collected",
    "collect",
    "current_test",
    "read_spool",
    "start",
    "stop",
    "views_of_few_rows",
]

SPOOL_VARIABLE = "QUERYBUDGET_SPOOL"
MIDDLEWARE = "django_querybudget.middleware.QueryBudgetMiddleware"

_MEASURED = {"SAMPLE_RATE": 1.0, "ORIGINS": True}

_highest: dict[tuple[Key, str | None], Line] = {}
_written: dict[tuple[int, Key, Line], int] = {}
"""The number of each line, by the process that wrote it: many tests measure the same one."""
_rows: dict[tuple[int, Key], int] = {}
"""The most rows that a list of a view had, by the process that wrote it."""
_lock = Lock()


@dataclass(frozen=True)
class Collected:
    """What the tests of a run measured."""

    lines: dict[Key, Line] = field(default_factory=dict)
    """The highest line of each key among the tests that passed."""

    left_out: dict[Key, set[str]] = field(default_factory=dict)
    """The keys that failing tests measured as well, or alone, each with the names of the tests."""


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
    _written.clear()
    _rows.clear()
    details.forget()


def start_from_environment() -> None:
    """Collect if this process was started by one that does."""
    if spool := os.environ.get(SPOOL_VARIABLE):
        start(Path(spool))


def collect(key: Key, log: QueryLog, findings: Iterable[Finding] | None = None) -> None:
    """Take note of what ``key`` executed, if that is more than before.

    ``findings`` are its N+1 queries; they are looked for where it is None.
    """
    spool = os.environ.get(SPOOL_VARIABLE)
    if spool is None:
        return
    if findings is None:
        findings = QueryReport(name=key.name, log=log).findings
    line, test = Line.of(log, findings), current_test()
    with _lock:
        before = _highest.get((key, test))
        highest = line if before is None else line.highest(before)
        if highest == before:
            return
        _highest[key, test] = highest
        # A fork inherits what is kept here, and writes to a file of its own.
        written = (os.getpid(), key, highest)
        data = None if written in _written else highest.as_data()
        number = _written.setdefault(written, len(_written))
        # One write of one line, so that no process cuts another's.
        with Path(spool, f"{os.getpid()}.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps([*key, test, number, data]) + "\n")


def current_test() -> str | None:
    """Return the name of the test that runs in this thread, as its runner has it; None if unknown.

    pytest tells it in the environment. In unittest, the test is who runs on the stack; a server's
    thread and a coroutine have no test on theirs.
    """
    if told := os.environ.get("PYTEST_CURRENT_TEST"):
        return told.rpartition(" ")[0]
    frame: FrameType | None = _getframe(1)
    while frame is not None:
        if frame.f_code is TestCase.run.__code__:
            return str(frame.f_locals["self"].id())
        frame = frame.f_back
    return None


def read_spool(spool: Path, failed: Collection[str] = ()) -> Collected:
    """Return what any process has collected. ``failed`` are the tests that did not pass.

    Where some failed, what no test is known for is left out, too.
    """
    found: list[tuple[Key, Line]] = []
    left_out: dict[Key, set[str]] = {}
    for path in sorted(spool.glob("*.jsonl")):
        known: dict[tuple[Key, int], Line] = {}
        for kind, name, test, number, data in read_lines(path):
            key = Key(kind, name)
            if data is not None:
                known[key, number] = Line.from_data(data)
            if failed and (test is None or test in failed):
                left_out.setdefault(key, set()).add(test or "a test that is not known")
            else:
                found.append((key, known[key, number]))
    return Collected(merged(found), left_out)


def _note_rows(key: Key, rows: int) -> None:
    """Take note of the most rows that a list of a view had in any test."""
    spool = os.environ.get(SPOOL_VARIABLE)
    if spool is None:
        return
    with _lock:
        if rows > _rows.get((os.getpid(), key), -1):
            _rows[os.getpid(), key] = rows
            with Path(spool, f"{os.getpid()}.rows").open("a", encoding="utf-8") as file:
                file.write(json.dumps([*key, rows]) + "\n")


def views_of_few_rows(spool: Path, threshold: int) -> list[Key]:
    """Return the list views that no test gave ``threshold`` rows: no loop could show there."""
    most: dict[Key, int] = {}
    for path in sorted(spool.glob("*.rows")):
        for kind, name, rows in read_lines(path):
            key = Key(kind, name)
            most[key] = max(rows, most.get(key, 0))
    return sorted(key for key, rows in most.items() if rows < threshold)


def _on_measured(report: QueryReport, **_: object) -> None:
    if report.view_name is not None and report.method is not None:
        key = view_key(report.method, report.view_name, report.status_code or 0)
        collect(key, report.log, report.findings)
        if spool := os.environ.get(SPOOL_VARIABLE):
            details.note_details(Path(spool), report)
        # Here, not above: a run without causes has no need of it.
        from django_querybudget.nplusone.rows import most_rows

        rows = most_rows(report.log) if report.method == "GET" else None
        if rows is not None:
            _note_rows(key, rows)
