"""Has a CDN purge what a commit has changed. Import it in the ready() of one of your apps."""

from __future__ import annotations

import atexit
import logging
import queue
import threading
import time
import urllib.request
from collections import deque
from contextlib import suppress
from itertools import islice

from django.conf import settings
from django.dispatch import receiver

from django_querybudget.signals import dependencies_renewed

AT_ONCE = 256  # keys in one request: Fastly takes no more
AGAIN = 5.0  # seconds until keys are purged a second time
PAUSE = 2.0  # seconds after a request that failed
LAST = 2.0  # seconds that a process waits for its last purges when it ends
MOST = 1000  # commits that may wait

logger = logging.getLogger(__name__)


def send(what: str, keys: list[str]) -> None:
    """Ask Fastly, at https://api.fastly.com/service/ID in PURGE_URL. Raises OSError."""
    headers = {"Fastly-Key": settings.PURGE_TOKEN, "Surrogate-Key": " ".join(keys)}
    request = urllib.request.Request(f"{settings.PURGE_URL}/{what}", method="POST", headers=headers)
    urllib.request.urlopen(request, timeout=5).close()


class Purger:
    """A thread that purges what commits hand on: a slow or dead CDN holds up no request."""

    def __init__(self) -> None:
        self.commits: queue.Queue[frozenset[str]] = queue.Queue(MOST)
        self.is_full = False  # more commits than may wait: everything is purged then
        self.ends = False
        self.starting = threading.Lock()
        self.thread: threading.Thread | None = None

    def add(self, names: frozenset[str]) -> None:
        try:
            self.commits.put_nowait(names)
        except queue.Full:
            self.is_full = True
        with self.starting:  # at the first commit, and again in a forked process
            if self.thread is None or not self.thread.is_alive():
                self.thread = threading.Thread(target=self.run, daemon=True)
                self.thread.start()

    def run(self) -> None:
        again: deque[tuple[float, set[str]]] = deque()  # when, and which keys
        while again or not self.ends:
            wait = None
            if again:
                wait = 0 if self.ends else max(0, again[0][0] - time.monotonic())
            first: set[str] = set()
            with suppress(queue.Empty):
                first |= self.commits.get(timeout=wait)
                while True:  # one purge for all commits that wait
                    first |= self.commits.get_nowait()
            second: set[str] = set()
            while again and (self.ends or again[0][0] <= time.monotonic()):
                second |= again.popleft()[1]
            if first:
                again.append((time.monotonic() + AGAIN, first))
            self.purge(first | second)

    def purge(self, keys: set[str]) -> None:
        waiting = iter(sorted(keys))
        while some := list(islice(waiting, AT_ONCE)):
            while not self.sent("purge", some):
                time.sleep(PAUSE)
        if self.is_full:
            self.is_full = False  # first: others may find no place meanwhile
            self.is_full |= not self.sent("purge_all", [])

    def sent(self, what: str, keys: list[str]) -> bool:
        try:
            send(what, keys)
        except OSError:
            logger.warning("The CDN could not be asked for %s.", what, exc_info=True)
            return False
        return True

    def end(self) -> None:
        """Purge what waits, at the end of a process; wait LAST seconds for it at most."""
        self.ends = True
        with suppress(queue.Full):
            self.commits.put_nowait(frozenset())  # so that it is woken
        if self.thread is not None:
            self.thread.join(LAST)


purger = Purger()
atexit.register(purger.end)


@receiver(dependencies_renewed)
def purge(names: frozenset[str], **kwargs: object) -> None:
    """In the thread that writes, after its commit: only hand it on."""
    purger.add(names)
