"""Statements that a view sends where its context does not reach: in threads of its own.

A thread that a view starts, or a pool's, has no part in the view's context (before Python 3.14, and
later where it does not inherit it). What it reads is in the view's answer all the same. Such a
statement cannot be told from others by where it comes from; but those of other requests can: their
contexts have seen a request begin. So a statement of neither sort, while a view is run for the
cache, spoils every answer that is being computed in this process.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.core.signals import request_started

from .fills import Fill, current_fill

__all__ = ["fill_here", "watched"]

_in_request: ContextVar[bool] = ContextVar("querybudget_in_request", default=False)
_open: dict[int, Fill] = {}
_lock = threading.Lock()


@contextmanager
def watched(fill: Fill) -> Iterator[None]:
    """Spoil ``fill`` if a statement comes from a thread that belongs to no request."""
    with _lock:
        _open[id(fill)] = fill
    try:
        yield
    finally:
        with _lock:
            _open.pop(id(fill), None)


def fill_here() -> Fill | None:
    """Return the fill that a statement counts for, which is about to be sent in this context."""
    fill = current_fill()
    if fill is not None and not fill.ended:
        return fill
    if _open and (fill is not None or not _in_request.get()):
        with _lock:
            for each in _open.values():
                each.spoil("a statement in a thread of its own")
    return None


def _request_began(**_: Any) -> None:
    _in_request.set(True)


request_started.connect(_request_began, dispatch_uid="django_querybudget.cache.reading.threads")
