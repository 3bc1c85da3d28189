"""What is no N+1, or an accepted one: the allowlist, and comments at the line."""

from __future__ import annotations

import linecache
import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

from django_querybudget.stacks import Origin

__all__ = ["allowed", "ignored_at"]

_IGNORE = re.compile(r"#\s*querybudget:\s*ignore\[\s*[^\s\]][^\]]*\]")


def ignored_at(origin: Origin) -> bool:
    """Whether the line, or a comment just above it, says ``# querybudget: ignore[reason]``.

    In a template: ``{# querybudget: ignore[reason] #}``.
    """
    if _IGNORE.search(linecache.getline(origin.filename, origin.line)):
        return True
    above = linecache.getline(origin.filename, origin.line - 1).strip()
    return above.startswith(("#", "{#")) and _IGNORE.search(above) is not None


def allowed(patterns: Iterable[str], labels: Iterable[str], origin: Origin | None) -> bool:
    """Whether a pattern names one of the relation's ``labels`` or the file of ``origin``.

    A pattern with a slash, or that ends in ``.py``, is a glob of files; any other a glob of
    relations, with or without the app: ``jobs.Job.client``, ``Job.*``.
    """
    names = tuple(labels)
    for pattern in patterns:
        if "/" in pattern or pattern.endswith(".py"):
            filename = "" if origin is None else origin.filename.replace("\\", "/")
            if fnmatchcase(filename, pattern) or filename.endswith(f"/{pattern}"):
                return True
        elif any(fnmatchcase(name, pattern) for name in names):
            return True
    return False
