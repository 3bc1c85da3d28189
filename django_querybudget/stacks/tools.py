"""Queries that another tool sends for its own sake: :func:`is_tools_own`.

django-silk stores each request and runs EXPLAIN for each of its queries; the debug toolbar keeps a
history. None of that is the view's. Such a query is told by the frame nearest above the ORM: it is
the tool's. A tool that wraps what it watches stands there as well, and passes on the call of
another: it has the name of what it calls, or of a wrapper, between two frames of the ORM.
"""

from __future__ import annotations

import os
import sys
from types import FrameType

import django

from .files import INTERNAL, TOOL, TOOLS, kind_of

__all__ = ["TOOLS", "is_tools_own", "tools_imported"]

_DJANGO = os.path.join(os.path.dirname(django.__file__), "")
_ORM = os.path.join(_DJANGO, "db", "")
# What decorators call the function that they return.
_WRAPPERS = {"__call__", "_wrapper", "inner", "traced_func", "wrapped", "wrapper"}


def tools_imported() -> bool:
    """Whether one of the tools is in this process: else there is nothing to tell apart."""
    return any(name.replace("/", ".") in sys.modules for name in TOOLS)


def is_tools_own(frame: FrameType | None) -> bool:
    """Whether the query that is sent from ``frame`` is another tool's own."""
    inner = ""
    while frame is not None:
        kind = kind_of(frame.f_code)
        if kind == TOOL:
            outermost = frame
            while (outer := outermost.f_back) is not None and kind_of(outer.f_code) == TOOL:
                outermost = outer
            if not _passes_on(outermost, inner):
                return True
            frame = outermost
        elif kind != INTERNAL or not _is_below_caller(frame):
            return False
        inner = frame.f_code.co_name
        frame = frame.f_back
    return False


def _passes_on(outermost: FrameType, inner: str) -> bool:
    """Whether a tool's frames, of which this is the outermost, wrap the call of ``inner``."""
    name, outer = outermost.f_code.co_name, outermost.f_back
    if inner in ("", name):  # "": nothing is nearer to the hook than an execute wrapper.
        return True
    between = outer is not None and outer.f_code.co_filename.startswith(_ORM)
    return between and name in _WRAPPERS


def _is_below_caller(frame: FrameType) -> bool:
    """Whether a frame that is nobody's is still the ORM's, or the standard library's."""
    filename = frame.f_code.co_filename
    return filename.startswith(_ORM) or not filename.startswith(_DJANGO)
