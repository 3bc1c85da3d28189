"""Suggested statements for a coroutine, in which the ORM's own methods refuse to query."""

from __future__ import annotations

import ast
import inspect
import re

from django_querybudget.stacks import Origin, RawOrigin
from django_querybudget.stacks.source_files import source_of

__all__ = ["awaited", "is_in_coroutine"]

_FLAGS = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
_STATEMENT = re.compile(
    r'^(.*)\.(in_bulk|bulk_create|bulk_update|delete|update)(\((?:[^()"]|"[^"]*")*\)(?:  #.*)?)$'
)


def is_in_coroutine(origin: RawOrigin) -> bool:
    """Whether the function that ``origin`` stands in may await."""
    code, place = origin.code, Origin.of(origin)
    if code is None or place is None:
        return False
    if code.co_flags & _FLAGS or not code.co_name.startswith("<"):
        return bool(code.co_flags & _FLAGS)
    # A comprehension's code is its own, its statement the function's.
    around = source_of(place.filename).function_around(place.line)
    return isinstance(around, ast.AsyncFunctionDef)


def awaited(code: str) -> str:
    """Return statements with the async twins of the methods that query."""
    return "\n".join(_STATEMENT.sub(r"await \1.a\2\3", line) for line in code.split("\n"))
