"""What is no N+1, or an accepted one: the allowlist, and comments at the line."""

from __future__ import annotations

import linecache
import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

from django_querybudget.conf.until import Accepted, until_in
from django_querybudget.stacks import Origin
from django_querybudget.stacks.source_files import source_of

__all__ = ["ignored_at", "matching", "names_file", "names_relation", "refused_at"]

_IGNORE = re.compile(r"#\s*querybudget:\s*ignore\[\s*([^\s\]][^\]]*)\]")
_LIKE_IT = re.compile(r"#\s*querybudget\s*:\s*ignore\b")


def ignored_at(origin: Origin) -> bool:
    """Whether the statement, or a comment just above it, says ``# querybudget: ignore[reason]``.

    Of a statement of several lines any will do. In a template it is
    ``{# querybudget: ignore[reason] #}``. A reason may have a day, ``until=2027-03-01``, after
    which it holds no longer.
    """
    lines = _lines_of(origin)
    if any(_holds(linecache.getline(origin.filename, line)) for line in lines):
        return True
    above = (
        linecache.getline(origin.filename, line - 1).strip() for line in (lines[0], origin.line)
    )
    return any(each.startswith(("#", "{#")) and _holds(each) for each in above)


def _holds(text: str) -> bool:
    found = _IGNORE.search(text)
    return found is not None and not _lapsed(found[1])


def _lapsed(reason: str) -> str:
    """Return why a comment with this reason holds no longer; nothing if it does."""
    try:
        until = until_in(reason)
    except ValueError as error:
        return f"has no effect: {error}"
    return str(until) if until is not None and until.days_past else ""


def refused_at(origin: Origin) -> str:
    """Return what is wrong with a comment that seems to mean the line; nothing if there is none.

    It has expired, has no reason, or stands at the ``def`` of the function.
    """
    lines = _lines_of(origin)
    for line in (*lines, lines[0] - 1):
        text = linecache.getline(origin.filename, line)
        if (found := _IGNORE.search(text)) and (lapsed := _lapsed(found[1])):
            return f"The comment at line {line} {lapsed}"
        if _LIKE_IT.search(text):
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
    found = [origin.line]
    if not origin.filename.endswith(".py"):
        return found
    for node in source_of(origin.filename).statements:
        if node.lineno <= origin.line <= (node.end_lineno or node.lineno):
            body = getattr(node, "body", None)
            end = body[0].lineno - 1 if body else node.end_lineno or node.lineno
            if origin.line <= end:
                found = list(range(node.lineno, end + 1))
    return found


def matching(
    entries: Iterable[Accepted], labels: Iterable[str], origin: Origin | None
) -> list[Accepted]:
    """Return the entries that name one of the relation's ``labels`` or the file of ``origin``.

    A pattern with a slash, or that ends in ``.py``, is a glob of files; any other a glob of
    relations, with or without the app: ``jobs.Job.client``, ``Job.*``.
    """
    names = tuple(labels)
    return [each for each in entries if _matches(each.pattern, names, origin)]


def _matches(pattern: str, labels: tuple[str, ...], origin: Origin | None) -> bool:
    if names_file(pattern):
        filename = "" if origin is None else origin.filename.replace("\\", "/")
        return fnmatchcase(filename, pattern) or filename.endswith(f"/{pattern}")
    return any(names_relation(pattern, label) for label in labels)


def names_file(pattern: str) -> bool:
    """Whether a pattern is one of files, not of relations."""
    return "/" in pattern or pattern.endswith(".py")


def names_relation(pattern: str, label: str) -> bool:
    """Whether a pattern matches a relation, a field or a model as findings call it."""
    return fnmatchcase(label, pattern)
