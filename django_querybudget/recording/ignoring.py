"""Statements that a project leaves out of every count: ``QUERYBUDGET["IGNORE_QUERIES"]``."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import FrameType

from django_querybudget.conf import conf
from django_querybudget.stacks import is_tools_own, outward, tools_imported

__all__ = ["LeavesOut", "leaving_out"]

LeavesOut = Callable[[str, FrameType], bool]
"""Whether a statement is left out: its text, and the frame that called ``cursor.execute()``."""

# What a statement reads or writes: a name after one of these words, quoted or not, with a schema.
_NAME = r'(?:"[^"]+"|`[^`]+`|\w+)'
_TABLE = re.compile(
    rf"\b(?:FROM|JOIN|INTO|UPDATE|TABLE)\s+(?:ONLY\s+)?({_NAME}(?:\.{_NAME})?)", re.IGNORECASE
)


def leaving_out(*, origins: bool) -> LeavesOut | None:
    """Return what decides which statements a recording leaves out; None if it leaves out none.

    With ``origins`` the walk for the caller's line tells another tool's queries apart by itself.
    """
    checks: list[LeavesOut] = []
    if not origins and tools_imported():
        checks.append(_is_tools)
    ignored = conf.IGNORE_QUERIES
    if ignored.values():
        if ignored.TABLES:
            checks.append(_on_tables(ignored.TABLES))
        if ignored.SQL:
            checks.append(_matching(ignored.SQL))
        if ignored.CALLERS:
            checks.append(_called_by(ignored.CALLERS))
    if not checks:
        return None
    return lambda sql, frame: any(check(sql, frame) for check in checks)


def _is_tools(sql: str, frame: FrameType) -> bool:
    return is_tools_own(frame)


def _on_tables(tables: frozenset[str]) -> LeavesOut:
    """Those that name these tables and no other: a join with another is the other's as well."""

    def check(sql: str, frame: FrameType) -> bool:
        named = {each.rpartition(".")[2].strip('"`') for each in _TABLE.findall(sql)}
        return bool(named) and named <= tables

    return check


def _matching(patterns: tuple[re.Pattern[str], ...]) -> LeavesOut:
    return lambda sql, frame: any(pattern.search(sql) for pattern in patterns)


def _called_by(callers: frozenset[str]) -> LeavesOut:
    """Those sent while one of these modules' functions runs, or one of these functions."""

    def check(sql: str, frame: FrameType) -> bool:
        for each in outward(frame):
            module = each.f_globals.get("__name__", "")
            names = f"{module}.{each.f_code.co_qualname}".split(".")
            if any(".".join(names[:end]) in callers for end in range(1, len(names) + 1)):
                return True
        return False

    return check
