"""The keeper: one thread for each cache and process, for what must not wait for a request.

It refreshes the pulse, so that a site with little traffic keeps it, and puts what is owed to a
cache that failed. It stops when there is nothing more to do, and is started again by use. Where
threads do not run, requests do its work.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any, Protocol

__all__ = ["Keeper", "chores"]

chores: list[Callable[[str], None]] = []
"""What else is done in a round, for the cache of that alias. It raises nothing."""


class Tended(Protocol):
    """What a keeper looks after."""

    alias: str

    @property
    def distrusted(self) -> bool:
        """Whether there is something to be done that must not be left."""

    def tend(self) -> float | None:
        """Do a round; return in how many seconds the next is due, None to stop."""


class Keeper:
    """Runs ``tended.tend()`` for as long as that asks for it, and as it is there."""

    _woken: threading.Event

    def __init__(self, tended: Tended) -> None:
        self._tended = weakref.ref(tended)
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._starting = threading.Lock()
        _keepers.add(self)

    def start(self) -> None:
        """Start the thread, unless it runs."""
        if self._thread is not None and self._thread.is_alive():
            return
        tended = self._tended()
        with self._starting:
            if tended is None or (self._thread is not None and self._thread.is_alive()):
                return
            self._woken, self._stopping = threading.Event(), False
            thread = threading.Thread(
                target=_run,
                args=(self._tended, weakref.ref(self), self._woken),
                name=f"querybudget-{tended.alias}",
                daemon=True,
            )
            try:
                thread.start()
            except RuntimeError:
                return  # the interpreter is shutting down, or can have no more threads
            self._thread = thread

    def stop(self) -> None:
        """Let the thread end, and wait for it."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            self._stopping = True
            self._woken.set()
            thread.join(timeout=3)

    def may_end(self) -> bool:
        """Let the thread end, unless something has come up meanwhile."""
        with self._starting:
            tended = self._tended()
            if tended is not None and tended.distrusted:
                return False
            self._thread = None
            return True

    @property
    def is_stopping(self) -> bool:
        return self._stopping

    def forget(self) -> None:
        """In a forked process: the thread is the parent's."""
        self._thread, self._starting = None, threading.Lock()


def _run(tended: weakref.ref[Any], keeper: weakref.ref[Keeper], woken: threading.Event) -> None:
    while True:
        one, its = tended(), keeper()
        if one is None or its is None or its.is_stopping:
            return
        seconds = one.tend()
        if seconds is None and its.may_end():
            return
        del one, its
        woken.wait(1.0 if seconds is None else seconds)
        woken.clear()


_keepers: weakref.WeakSet[Keeper] = weakref.WeakSet()


def _stop_all() -> None:
    # A process that forks beside a running thread is warned, and may find its locks taken.
    for keeper in list(_keepers):
        keeper.stop()


def _forget_all() -> None:
    for keeper in list(_keepers):
        keeper.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_stop_all, after_in_child=_forget_all)
