"""Django 6.1 and later: a fetch mode that knows the peers, and what ``FETCH_PEERS`` would do.

A queryset with ``.fetch_mode(traced())`` loads as any other does, row by row. But its instances
know the rows they were loaded with, and the line that built their queryset: a finding says "20 of
20 rows", and names that line, exactly. Put it into a manager's ``get_queryset()`` in development::

    class JobManager(models.Manager):
        def get_queryset(self):
            return super().get_queryset().fetch_mode(traced())

The mode is handed on to the instances that these load, as all modes are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from sys import _getframe
from typing import TYPE_CHECKING, Any

from django.db import models

from django_querybudget.capture import capture_queries
from django_querybudget.stacks import RawOrigin, locate

if TYPE_CHECKING:
    _FetchMode: Any = object
else:
    try:
        from django.db.models.fetch_modes import FetchMode as _FetchMode
    except ImportError:  # Before Django 6.1.
        _FetchMode = object

__all__ = ["PeersMeasured", "TracedFetchMode", "fetch_peers", "measure_fetch_peers", "traced"]

_with_peers: ContextVar[bool] = ContextVar("querybudget_fetch_peers", default=False)


class TracedFetchMode(_FetchMode):  # type: ignore[misc]  # Any to mypy, see above
    """Loads one instance's relation or field, as ``FETCH_ONE``; keeps where it was made."""

    __slots__ = ("origin",)

    track_peers = True

    def __init__(self, origin: RawOrigin | None) -> None:
        self.origin = origin

    def fetch(self, fetcher: Any, instance: models.Model) -> None:
        """Load for ``instance``; for all its peers inside of :func:`fetch_peers`."""
        mode: Any = models.FETCH_PEERS if _with_peers.get() else models.FETCH_ONE
        mode.fetch(fetcher, instance)

    def __reduce__(self) -> str | tuple[Any, ...]:
        # A code object cannot be pickled; an unpickled instance has no peers either.
        return type(self), (None,)


def traced() -> Any:
    """Return a :class:`TracedFetchMode` made at the caller's line.

    Raises ``RuntimeError`` before Django 6.1, which has no fetch modes.
    """
    if _FetchMode is object:
        raise RuntimeError("traced() needs Django 6.1 or later: earlier ones have no fetch modes.")
    return TracedFetchMode(locate(_getframe(1))[0])


@contextmanager
def fetch_peers() -> Iterator[None]:
    """Let traced querysets load for all peers at once, as with ``FETCH_PEERS``."""
    token = _with_peers.set(True)
    try:
        yield
    finally:
        _with_peers.reset(token)


@dataclass(frozen=True, kw_only=True)
class PeersMeasured:
    """What ``FETCH_PEERS`` does for a piece of code: measured, not guessed."""

    one_by_one: int
    """How many queries it executes as it is."""
    with_peers: int
    """How many it executes when its traced querysets fetch for all peers."""


def measure_fetch_peers(function: Callable[[], Any]) -> PeersMeasured:
    """Run ``function`` twice, the second time with :func:`fetch_peers`, and count both.

    It must do the same each time: undo what it writes.
    """
    with capture_queries() as before:
        function()
    with fetch_peers(), capture_queries() as after:
        function()
    return PeersMeasured(one_by_one=before.count, with_peers=after.count)
