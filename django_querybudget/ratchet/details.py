"""What a test run notes of its views besides their lines: the tables they read, their N+1 queries.

It goes into the same spool (see :mod:`.collecting`), in files of its own.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from django.db import connections

from django_querybudget.reports.report import QueryReport
from django_querybudget.sql.lexer import readings
from django_querybudget.sql.memory import Memo
from django_querybudget.sql.names import tables_of
from django_querybudget.sql.shortening import shortened

from .spool import read_lines

if TYPE_CHECKING:
    from django_querybudget.nplusone import Finding

__all__ = ["Details", "forget", "note_details", "read_details", "table_of", "tables_in"]

MOST_NOTES = 20_000
"""So many notes a process writes; what comes after them is left out, and that is said."""
LONGEST_NOTE = 32 * 1024
"""In characters; a longer one is left out, and that is said."""

_CUT = json.dumps(["", "cut", True])

_noted: set[int] = set()
_lock = Lock()


@dataclass
class Details:
    """What is known of one view and method, ``"GET jobs:list"``."""

    tables: set[str] = field(default_factory=set)
    """What its statements name as tables, in lower case."""
    causes: bool = False
    """Whether N+1 queries were looked for in any request to it."""
    findings: list[dict[str, Any]] = field(default_factory=list)
    """As :func:`~django_querybudget.nplusone.plain.plain` has them, with ``table``, ``fix`` and
    ``text``."""


def tables_in(sql: str, vendor: str) -> tuple[str, ...]:
    """Return the names of the tables that a text reads and writes, in lower case."""
    return _tables[sql, vendor]


def _tables_in(key: tuple[str, str]) -> tuple[str, ...]:
    sql, vendor = key
    return tables_of(list(readings(sql, vendor)[0]))


_tables = Memo(_tables_in)


def note_details(spool: Path, report: QueryReport) -> None:
    """Note what is known of the view of ``report``, if that is new."""
    view = f"{report.method} {report.view_name}"
    tables = {
        table
        for shape in report.shapes
        for table in tables_in(shape.fingerprint, _vendor(shape.queries[0].alias))
    }
    _write(spool, view, "tables", sorted(tables))
    if report.log.evidence is None:
        return
    _write(spool, view, "causes", True)
    if not report.findings:
        return
    # Here, not above: most reports have none.
    from django_querybudget.nplusone.plain import plain, plain_fix
    from django_querybudget.nplusone.rendering import render_findings

    for each in report.findings:
        data = {
            **plain(each),
            "shape": shortened(each.fingerprint),
            "table": table_of(each),
            "fix": None if each.fix is None else plain_fix(each.fix),
            "text": render_findings([each]),
        }
        _write(spool, view, "finding", data)


def table_of(finding: Finding) -> str:
    """Return the table that a finding's queries are about, in lower case; empty if not known."""
    found = tables_in(finding.fingerprint, _vendor(finding.alias))
    return found[0] if found else ""


def _vendor(alias: str) -> str:
    return connections[alias].vendor if alias in connections.settings else ""


def _write(spool: Path, view: str, kind: str, data: object) -> None:
    text = json.dumps([view, kind, data])
    with _lock:
        if len(text) > LONGEST_NOTE or len(_noted) >= MOST_NOTES:
            text = _CUT
        # A fork inherits what is noted here; it stands in the parent's file.
        if hash(text) in _noted:
            return
        _noted.add(hash(text))
        with Path(spool, f"{os.getpid()}.details").open("a", encoding="utf-8") as file:
            file.write(f"{text}\n")


def forget() -> None:
    """Begin anew."""
    _noted.clear()


def read_details(spool: Path) -> tuple[dict[str, Details], bool]:
    """Return what any process has noted, by view; and whether that is all that there was."""
    found: dict[str, Details] = {}
    complete = True
    for path in sorted(spool.glob("*.details")):
        for view, kind, data in read_lines(path):
            if kind == "cut":
                complete = False
                continue
            details = found.setdefault(view, Details())
            if kind == "tables":
                details.tables.update(data)
            elif kind == "causes":
                details.causes = True
            else:
                details.findings.append(data)
    return found, complete
