"""What is no N+1, or an accepted one: the allowlist, and comments at the line."""

from __future__ import annotations

import ast
import linecache
import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

from django_querybudget.nplusone.source.files import source_of
from django_querybudget.stacks import Origin

__all__ = ["allowed", "ignored_at", "misplaced_at", "names_file", "names_relation"]

_IGNORE = re.compile(r"#\s*querybudget:\s*ignore\[\s*[^\s\]][^\]]*\]")
_LIKE_IT = re.compile(r"#\s*querybudget\s*:\s*ignore\b")


def ignored_at(origin: Origin) -> bool:
    """Whether the statement, or a comment just above it, says ``# querybudget: ignore[reason]``.

    Of a statement of several lines any will do. In a template it is
    ``{# querybudget: ignore[reason] #}``.
    """
    lines = _lines_of(origin)
    if any(_IGNORE.search(linecache.getline(origin.filename, line)) for line in lines):
        return True
    above = (
        linecache.getline(origin.filename, line - 1).strip() for line in (lines[0], origin.line)
    )
    return any(each.startswith(("#", "{#")) and _IGNORE.search(each) for each in above)


def misplaced_at(origin: Origin) -> str:
    """Return what is wrong with a comment that seems to mean the line; nothing if there is none.

    It has no reason, or stands at the ``def`` of the function.
    """
    lines = _lines_of(origin)
    for line in (*lines, lines[0] - 1):
        if _LIKE_IT.search(linecache.getline(origin.filename, line)):
            return f"The comment at line {line} has no effect without a reason: ignore[why]."
    for function in source_of(origin.filename).functions_around(origin.line):
        for line in (function.lineno, function.lineno - 1):
            if _LIKE_IT.search(linecache.getline(origin.filename, line)):
                return (
                    f"The comment at line {line} has no effect on a function: write it at line "
                    f"{origin.line}."
                )
    return ""


def _lines_of(origin: Origin) -> list[int]:
    """Return the lines of the statement that a line is of, of a compound one those of its head."""
    nodes = source_of(origin.filename).nodes() if origin.filename.endswith(".py") else ()
    found = [origin.line]
    for node in nodes:
        if isinstance(node, ast.stmt):
            body = getattr(node, "body", None)
            end = body[0].lineno - 1 if body else node.end_lineno or node.lineno
            if node.lineno <= origin.line <= end:
                found = list(range(node.lineno, end + 1))
    return found


def allowed(patterns: Iterable[str], labels: Iterable[str], origin: Origin | None) -> bool:
    """Whether a pattern names one of the relation's ``labels`` or the file of ``origin``.

    A pattern with a slash, or that ends in ``.py``, is a glob of files; any other a glob of
    relations, with or without the app: ``jobs.Job.client``, ``Job.*``.
    """
    names = tuple(labels)
    for pattern in patterns:
        if names_file(pattern):
            filename = "" if origin is None else origin.filename.replace("\\", "/")
            if fnmatchcase(filename, pattern) or filename.endswith(f"/{pattern}"):
                return True
        elif any(names_relation(pattern, name) for name in names):
            return True
    return False


def names_file(pattern: str) -> bool:
    """Whether a pattern is one of files, not of relations."""
    return "/" in pattern or pattern.endswith(".py")


def names_relation(pattern: str, label: str) -> bool:
    """Whether a pattern matches a relation, a field or a model as findings call it."""
    return fnmatchcase(label, pattern)
