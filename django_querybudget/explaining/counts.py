"""What a view executed: by its lines in ``querybudget.toml``, and in the last test run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from django_querybudget.exceptions import LockFileError
from django_querybudget.ratchet import last_fix, last_run, lockfile
from django_querybudget.ratchet.last_fix import LastFix
from django_querybudget.ratchet.last_run import LastRun, LastRunError, ViewRun
from django_querybudget.ratchet.lines import Line

from .views import View

__all__ = ["Known", "known", "last_run_of", "recorded_of"]

_RUN = "pytest --querybudget=check, or manage.py querybudget check -- test"
_FIX = "pytest --querybudget-fix, or manage.py querybudget fix -- test"
_RECORD = "pytest --querybudget=record, or manage.py querybudget record -- test"


@dataclass(frozen=True)
class Known:
    """What the files know of all views; None where one is not there or cannot be read."""

    file: str
    """The name of the file of the lines."""
    lines: Mapping[str, Line] | None
    """Its lines of views: ``"GET jobs:list 2xx"``."""
    no_lines: str
    """Why there are none; empty if there are."""
    last: LastRun | None
    """The last test run."""
    no_last: str
    """Why there is none; empty if there is."""
    fix: LastFix | None
    """What the last ``fix`` proved."""
    no_fix: str
    """Why there is none; empty if there is."""

    def lines_of(self, view: View, method: str) -> dict[str, Line]:
        """Return the recorded lines of a view, by their names."""
        return {
            name: line for name, line in (self.lines or {}).items() if _is_of(name, view, method)
        }

    def runs_of(self, view: View, method: str) -> dict[str, ViewRun]:
        """Return what the last run saw of a view, by method."""
        views = {} if self.last is None else self.last.views
        return {
            name.partition(" ")[0]: run
            for name, run in sorted(views.items())
            if _is_of(f"{name} -", view, method)
        }

    def not_reached(self, view: View) -> str:
        """Return why nothing is known of a view from the last run."""
        if self.last is None:
            return self.no_last
        left = "" if self.last.complete else ", or it found no place in what is kept"
        when = f"{self.last.run}, {self.last.at}"
        return f"The last test run ({when}) did not reach {view.name}{left}."


def known(path: Path) -> Known:
    """Read what stands in ``path``, a ``querybudget.toml``, and beside it."""
    shown = os.path.relpath(path)
    lines: dict[str, Line] | None = None
    no_lines = no_last = ""
    last: LastRun | None = None
    try:
        if path.exists():
            read = lockfile.read(path).lines
            lines = {key.name: line for key, line in read.items() if key.kind == "views"}
        else:
            no_lines = f"There is no {shown}: run {_RECORD}."
    except LockFileError as error:
        no_lines = str(error)
    try:
        last = last_run.read(last_run.path_beside(path))
        if last is None:
            no_last = f"No test run is recorded: run {_RUN}."
    except LastRunError as error:
        no_last = str(error)
    try:
        fix = last_fix.read(last_fix.path_beside(path))
        no_fix = "" if fix else f"No patch was tried: run {_FIX}."
    except LastRunError as error:
        fix, no_fix = None, str(error)
    return Known(shown, lines, no_lines, last, no_last, fix, no_fix)


def _is_of(name: str, view: View, method: str) -> bool:
    own, _, rest = name.partition(" ")
    return rest.rpartition(" ")[0] == view.name and method in ("", own)


def recorded_of(files: Known, view: View, method: str) -> dict[str, Any]:
    """Return the recorded lines of a view."""
    lines = files.lines_of(view, method)
    unknown = files.no_lines
    if not unknown and not lines:
        unknown = f"{files.file} has no line of {view.name}: run {_RECORD}."
    return {"unknown": unknown, "file": files.file, "lines": _told(lines.items())}


def last_run_of(files: Known, view: View, method: str) -> dict[str, Any]:
    """Return what the last test run measured of a view."""
    runs, last = files.runs_of(view, method), files.last
    lines = [
        (f"{own} {view.name} {status}", line)
        for own, run in runs.items()
        for status, line in sorted(run.lines.items())
    ]
    unknown = "" if runs else files.not_reached(view)
    if runs and not lines:
        unknown = f"Only tests that failed reached {view.name} in the last run."
    return {
        "unknown": unknown,
        "run": None if last is None else last.run,
        "at": None if last is None else last.at,
        "passed": None if last is None else last.passed,
        "complete": None if last is None else last.complete,
        "lines": _told(lines),
    }


def _told(lines: Iterable[tuple[str, Line]]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "method": name.partition(" ")[0],
            "status": name.rpartition(" ")[2],
            **{number: getattr(line, number) for number in Line.NUMBERS},
            "rows": line.rows,
            "shapes": [
                {
                    "sql": shape.sql,
                    "count": shape.count,
                    "place": None if shape.place is None else shape.place.text,
                }
                for shape in line.shapes
            ],
            "loops": None if line.loops is None else [asdict(loop) for loop in line.loops],
        }
        for name, line in lines
    ]
