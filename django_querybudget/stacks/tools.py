"""Queries that another tool sends for its own sake: :func:`is_tools_own`.

django-silk stores each request and runs EXPLAIN for each of its queries; the debug toolbar keeps a
history and shows the session. None of that is the view's. Such a query is told by the frame nearest
above the ORM, or above a session that is loaded because somebody looks into it: it is the tool's. A
tool that wraps what it watches stands there as well, and passes on the call of another: it has the
name of what it calls. Only a tool that is known to send queries is asked (``TOOLS``): of one that
is not, a query would be lost where it is taken for the sender.
"""

from __future__ import annotations

import os
import sys
from types import FrameType

import django

from .files import INTERNAL, TOOL, TOOLS, kind_of

__all__ = ["TOOLS", "is_tools_own", "tools_imported"]

_DJANGO = os.path.join(os.path.dirname(django.__file__), "")
_BELOW_CALLERS = tuple(
    os.path.join(_DJANGO, *path, "")
    for path in (("db",), ("contrib", "sessions"))  # What runs queries for whoever asks.
)


def tools_imported() -> bool:
    """Whether one of the tools is in this process: else there is nothing to tell apart."""
    return any(name in sys.modules for name in TOOLS)


def is_tools_own(frame: FrameType | None) -> bool:
    """Whether the query is another tool's own; ``frame`` is what called ``cursor.execute()``."""
    inner = "execute"
    while frame is not None:
        kind = kind_of(frame.f_code)
        if kind == TOOL:
            outermost = frame
            while (outer := outermost.f_back) is not None and kind_of(outer.f_code) == TOOL:
                outermost = outer
            if outermost.f_code.co_name != inner:
                return True
            frame = outermost
        elif kind != INTERNAL or not _is_below_caller(frame):
            return False
        inner = frame.f_code.co_name
        frame = frame.f_back
    return False


def _is_below_caller(frame: FrameType) -> bool:
    """Whether a frame that is nobody's is still what runs the query, or the standard library's."""
    filename = frame.f_code.co_filename
    return filename.startswith(_BELOW_CALLERS) or not filename.startswith(_DJANGO)
