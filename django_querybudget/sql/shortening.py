"""Fingerprints made short enough to read: for reports, and for the lines of querybudget.toml."""

from __future__ import annotations

import re

from .memory import Memo

__all__ = ["shortened"]

WIDTH = 140
# A column list that is shorter says more than an ellipsis: COUNT(*), 1 AS a.
_SHORT = 24

_QUOTES = re.compile(r'"((?:[^"]|"")*)"|`([^`]*)`')
_SELECT = re.compile(r"SELECT (?:DISTINCT )?", re.IGNORECASE)
_FROM = re.compile(r"[()]| FROM ", re.IGNORECASE)
_JOINED = re.compile(r" ON \([^()]*\)", re.IGNORECASE)
_INSERTED = re.compile(r"(INSERT INTO [^\s(]+ )\([^()]*\)", re.IGNORECASE)


def shortened(fingerprint: str, width: int = WIDTH) -> str:
    """Return ``fingerprint`` without quotes and column lists, of ``width`` characters at most.

    ``SELECT "jobs_job"."id", … FROM "jobs_job"`` becomes ``SELECT … FROM jobs_job``. It is for
    reading: two fingerprints may be shortened to the same text.
    """
    return _texts[fingerprint, width]


def _shortened(key: tuple[str, int]) -> str:
    fingerprint, width = key
    text = _QUOTES.sub(lambda name: name[1] or name[2] or "", fingerprint)
    text = _JOINED.sub(" ON (…)", text)
    text = _INSERTED.sub(r"\1(…)", text)
    if select := _SELECT.match(text):
        columns_end = _top_level_from(text, select.end())
        if columns_end is not None and columns_end - select.end() > _SHORT:
            text = f"{select[0]}…{text[columns_end:]}"
    return text if len(text) <= width else f"{text[: width - 2]} …"


_texts = Memo(_shortened)


def _top_level_from(text: str, start: int) -> int | None:
    """Return where the FROM of the outermost SELECT stands; subqueries' are in parentheses."""
    depth = 0
    for found in _FROM.finditer(text, start):
        if found[0] == "(":
            depth += 1
        elif found[0] == ")":
            depth -= 1
        elif depth == 0:
            return found.start()
    return None
