"""What the last test run saw of each view, in a file that ``manage.py querybudget explain`` reads.

The runs that hold a suite to ``querybudget.toml`` leave it, in the folder ``.querybudget`` beside
that file. It is no part of the project: the folder has a ``.gitignore`` of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django_querybudget.exceptions import QueryBudgetError
from django_querybudget.messages.links import message_link, see
from django_querybudget.nplusone.plain import finding_id

from .details import Details
from .lines import Key, Line
from .lockfile import replace_file

__all__ = [
    "LastRun",
    "LastRunError",
    "ViewRun",
    "path_beside",
    "read",
    "read_data",
    "rows_within",
    "write",
    "write_data",
]

FORMAT = 1
FOLDER = ".querybudget"
NAME = "last-run.json"

MOST_BYTES = 4 * 1024 * 1024
"""What the file holds at most; views that find no place in it are left out."""
MOST_FINDINGS = 50
"""So many findings are kept of a view and method, those of most queries."""

_IGNORED = "# Made by django-querybudget, of the last test run.\n*\n"


class LastRunError(QueryBudgetError):
    """The file of the last run cannot be read: the text names it, what is wrong, and the way out.

    The file is left as it is.
    """

    def __str__(self) -> str:
        return f"{super().__str__()} {see(message_link('last-run'))}"


@dataclass(kw_only=True)
class ViewRun:
    """What the run saw of one view and method."""

    lines: dict[str, Line] = field(default_factory=dict)
    """The highest numbers, by class of status: ``"2xx"``."""
    tables: list[str] = field(default_factory=list)
    """What its statements name as tables, in lower case."""
    causes: bool = False
    """Whether N+1 queries were looked for."""
    findings: list[dict[str, Any]] = field(default_factory=list)
    """Its N+1 queries as plain data, each with its ``id``, those of most queries first."""


@dataclass(kw_only=True)
class LastRun:
    """A test run."""

    run: str
    """How its tests were chosen."""
    at: str
    """When it ended: UTC, ISO 8601."""
    passed: bool
    """Whether every test passed."""
    complete: bool = True
    """Whether all is here that it saw."""
    views: dict[str, ViewRun] = field(default_factory=dict)
    """By method and name: ``"GET jobs:list"``."""

    @classmethod
    def of(
        cls,
        lines: Mapping[Key, Line],
        details: Mapping[str, Details],
        *,
        run: str,
        passed: bool,
        complete: bool = True,
    ) -> LastRun:
        """Return the run that measured ``lines`` and noted ``details``, which ends now."""
        views: dict[str, ViewRun] = {}
        for key, line in lines.items():
            if key.kind == "views":
                view, _, status = key.name.rpartition(" ")
                views.setdefault(view, ViewRun()).lines[status] = line
        named = _named(details)
        for view, found in details.items():
            of_view = views.setdefault(view, ViewRun())
            of_view.tables, of_view.causes = sorted(found.tables), found.causes
            of_view.findings = list(_largest(named[view]))[:MOST_FINDINGS]
        at = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(run=run, at=at, passed=passed, complete=complete, views=views)


def path_beside(lockfile: Path) -> Path:
    """Return where the last run of what is held to ``lockfile`` stands."""
    return lockfile.parent / FOLDER / NAME


def write(path: Path, last: LastRun) -> None:
    """Replace the file; whoever is killed meanwhile leaves the old one. Raises ``OSError``."""
    path.parent.mkdir(exist_ok=True)
    ignored = path.parent / ".gitignore"
    if not ignored.exists():
        ignored.write_text(_IGNORED, encoding="utf-8")
    views = rows_within(MOST_BYTES, {name: _data(view) for name, view in last.views.items()})
    head = {
        "format": FORMAT, "run": last.run, "at": last.at, "passed": last.passed,
        "complete": last.complete and len(views) == len(last.views),
    }  # fmt: skip
    write_data(path, head, "views", views)


def rows_within(most: int, found: Mapping[str, Any]) -> list[str]:
    """Return the rows of a file, ``"name": …``, by name: those that ``most`` bytes hold."""
    rows, left = [], most
    for name, data in sorted(found.items()):
        text = f"{json.dumps(name)}: {json.dumps(data)}"
        left -= len(text)  # ASCII: JSON escapes all else
        if left > 0:
            rows.append(text)
    return rows


def write_data(path: Path, head: Mapping[str, Any], key: str, rows: Iterable[str]) -> None:
    """Replace a file, in one step, by ``head`` and its ``rows`` as ``key``. Raises ``OSError``."""
    told = ",\n".join(rows)
    replace_file(path, f'{json.dumps(head)[:-1]}, "{key}": {{\n{told}\n}}}}\n')


def read_data(path: Path, *, wanted: int, most: int, way_out: str) -> dict[str, Any] | None:
    """Return what a file of the format ``wanted`` holds; None if there is none.

    It may have twice ``most`` bytes. Raises :class:`LastRunError`, which ends in ``way_out``.
    """
    try:
        if path.stat().st_size > 2 * most:
            raise LastRunError(f"{path}: it is larger than {2 * most} bytes. {way_out}")
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise LastRunError(f"{path}: it cannot be read ({error}). {way_out}") from error
    found = data.get("format") if isinstance(data, dict) else None
    if not isinstance(data, dict) or found != wanted:
        raise LastRunError(
            f"{path}: its format is {found!r}; this django-querybudget reads {wanted}. {way_out}"
        )
    return data


def read(path: Path) -> LastRun | None:
    """Return the last run; None if there was none. Raises :class:`LastRunError`."""
    data = read_data(path, wanted=FORMAT, most=MOST_BYTES, way_out=_WAY_OUT)
    if data is None:
        return None
    try:
        return LastRun(
            run=_of(str, data["run"]),
            at=_of(str, data["at"]),
            passed=_of(bool, data["passed"]),
            complete=_of(bool, data["complete"]),
            views={name: _view(view) for name, view in data["views"].items()},
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise LastRunError(
            f"{path}: it is not what a test run writes ({type(error).__name__}: {error}). "
            f"{_WAY_OUT}"
        ) from error


_WAY_OUT = "Delete it, and run the tests again: pytest --querybudget=check."


def _data(view: ViewRun) -> dict[str, Any]:
    return {
        "lines": {status: line.as_data() for status, line in view.lines.items()},
        "tables": view.tables,
        "causes": view.causes,
        "findings": view.findings,
    }


def _view(data: Mapping[str, Any]) -> ViewRun:
    findings = _of(list, data["findings"])
    for each in findings:
        for name, kind in _FINDING.items():
            if name not in each or not isinstance(each[name], kind):
                raise TypeError(f"{name!r} of a finding")
    return ViewRun(
        lines={status: Line.from_data(line) for status, line in data["lines"].items()},
        tables=[_of(str, each) for each in data["tables"]],
        causes=_of(bool, data["causes"]),
        findings=findings,
    )


_FINDING: dict[str, Any] = {
    "id": str, "cause": str, "relation": str, "operation": str, "place": str,
    "template": (str, type(None)), "function": str, "queries": int, "saves": int,
    "use": (str, type(None)), "replaces": (str, type(None)), "hint": str, "database": str,
    "shape": str, "table": str, "fix": (dict, type(None)), "text": list,
}  # fmt: skip


def _of(kind: type, value: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value


def _named(details: Mapping[str, Details]) -> dict[str, list[dict[str, Any]]]:
    """Return the findings of each view, each once, with its ``id``.

    Two of one function that have all in common but the line are told apart by their order.
    """
    lines: dict[str, set[tuple[int, str]]] = {}
    told = {
        view: [(finding_id(each, each["table"]), _line_of(each), each) for each in found.findings]
        for view, found in details.items()
    }
    for base, line, each in (one for found in told.values() for one in found):
        lines.setdefault(base, set()).add((line, each["shape"]))
    named: dict[str, list[dict[str, Any]]] = {}
    for view, found in told.items():
        by_id: dict[str, dict[str, Any]] = {}
        for base, line, each in found:
            number = sorted(lines[base]).index((line, each["shape"]))
            name = f"{base}-{number + 1}" if number else base
            known = by_id.get(name)
            if known is None or known["queries"] < each["queries"]:
                by_id[name] = {"id": name, **each}
        named[view] = list(by_id.values())
    return named


def _line_of(finding: Mapping[str, Any]) -> int:
    line = finding["place"].rpartition(":")[2]
    return int(line) if line.isdecimal() else 0


def _largest(findings: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    yield from sorted(findings, key=lambda each: (-each["queries"], each["id"]))
