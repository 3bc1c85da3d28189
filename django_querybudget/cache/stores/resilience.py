"""What when a cache fails: what is tried again, who trusts it meanwhile, and what it is owed.

A cache's errors never reach the host: a read that fails is a read from the database. A write is
never left out because the cache fails: its mark is tried until it stands, or until it is known that
nobody trusts the cache (see :mod:`.pulse`), and what could not be put is owed, and put as soon as
the cache takes it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

from django.core.cache import InvalidCacheBackendError

from django_querybudget.cache import stats, tags

from .access import busy, client_class
from .debts import Debts, Outage
from .keeper import chores
from .pulse import EVERY, LIFE, MARGIN, PULSE
from .trust import LOG_EVERY, RETRY, TrustedCache

__all__ = ["ResilientCache", "everything"]

R = TypeVar("R")

logger = logging.getLogger("django_querybudget")

PAUSE = 1.0
"""How often a request tries whether a cache that did not answer is back, in seconds."""

KEEPER_RETRY = 0.25
"""How often what is owed is tried, in seconds."""

IDLE = 600.0
"""For how long without any use of the cache the pulse is kept, in seconds."""


class ResilientCache(TrustedCache):
    """A cache that may fail at any time, and is told then what it missed."""

    def __init__(self, alias: str) -> None:
        super().__init__(alias)
        self._outage = Outage()
        self._debts = Debts()
        self._logged: dict[str, float] = {}
        self._used_at = float("-inf")

    @property
    def distrusted(self) -> bool:
        return self._outage.began is not None or bool(self._debts)

    def _guarded(self, otherwise: R, operation: Callable[..., R], *arguments: object) -> R:
        """Run ``operation``; after an error, note the outage and return ``otherwise``."""
        token = busy.set(True)
        started = time.monotonic()
        try:
            return operation(*arguments)
        except Exception as error:  # a cache's error must not be the host's
            self._failed(error, started)
            return otherwise
        finally:
            busy.reset(token)

    def _tried(self, operation: Callable[..., None], *arguments: object) -> bool:
        return self._guarded(_FAILED, operation, *arguments) is None

    def _change(
        self, operation: Callable[..., None], *arguments: object, waits: bool = True
    ) -> bool:
        """Run a change of tags. Returns whether it is done.

        If not, it is known that nobody trusts the cache now, or all was tried that can be.
        """
        if self._outage.is_settled and self._outage.is_fresh(2 * KEEPER_RETRY):
            return False
        if self._tried(operation, *arguments):
            return True
        return waits and self.has_pulse and self._done_or_harmless(operation, *arguments)

    def _done_or_harmless(self, operation: Callable[..., None], *arguments: object) -> bool:
        """Try until it is done, or nobody can trust the cache; for a bounded time."""
        stats.count("waits")
        limit = time.monotonic() + 2 * LIFE + MARGIN
        while not self._nobody_trusts():
            if time.monotonic() > limit:
                stats.count("unmarked")
                self._log(
                    "unmarked",
                    "The cache %r takes no change from this process, and others seem to use it: "
                    "what this process writes is stale there until the cache takes a change from "
                    "it, or until the entries' timeout.", self.alias,
                )  # fmt: skip
                break
            time.sleep(RETRY)
            if self._tried(operation, *arguments):
                return True
        self._outage.is_settled = True
        return False

    def _nobody_trusts(self) -> bool:
        """Whether it is known, after a failure, that there is no pulse that anyone could read."""
        if self._outage.is_unreachable:
            # Nobody has refreshed it since the server stopped answering.
            return self._outage.lasted() >= LIFE + MARGIN
        token = busy.set(True)
        try:
            self._break_pulse()
        except Exception:  # a server that takes no write at all: is it over by itself?
            try:
                return PULSE not in self._read(None, (PULSE,)).values
            except Exception as error:
                self._failed(error, time.monotonic())
                return False
        finally:
            busy.reset(token)
        return True

    def _failed(self, error: Exception, started: float) -> None:
        if self._is_replaced():
            return
        stats.count("errors")
        self._outage.failed(started, unreachable=not self._is_refusal(error))
        self._log(
            "failed",
            "The cache %r failed (%s: %s). Reads go to the database until it takes changes again.",
            self.alias, type(error).__name__, error,
        )  # fmt: skip
        self._keeper.start()

    def _is_replaced(self) -> bool:
        """Whether the cache of this name is gone or another, as in tests: ``store_for()`` tells."""
        try:
            cache = self.cache
        except InvalidCacheBackendError:
            return True
        except Exception:  # a backend's constructor may raise anything: it is this one, and fails
            return False
        return self.chosen_for not in (None, client_class(cache))

    def _log(self, what: str, message: str, *arguments: object) -> None:
        """Log a warning, each kind once a minute."""
        now = time.monotonic()
        if now - self._logged.get(what, float("-inf")) > LOG_EVERY:
            self._logged[what] = now
            logger.warning(message, *arguments)

    def _is_away(self) -> bool:
        """Whether the cache need not be asked: it did not answer a moment ago.

        A client may take a second to find that a server is still away: that is the keeper's to
        wait for, and a request's only where no thread runs, once in a pause.
        """
        outage = self._outage
        if not self.has_pulse:
            # What is owed may be stale here, and nothing else tells.
            return self._is_owing()
        if not (outage.is_unreachable or outage.is_settled):
            return False
        self._keeper.start()
        if outage.is_fresh(PAUSE):
            return True
        outage.failed_at = time.monotonic()  # this request tries, others need not
        return False

    def _is_owing(self) -> bool:
        if self._outage.is_fresh(PAUSE):
            self._keeper.start()
        else:
            self._settle()
        return self.distrusted

    # The keeper's rounds

    def retire(self) -> None:
        """End the keeper: another store speaks to the cache of this name from now on."""
        self._keeper.stop()

    def tend(self) -> float | None:
        """Refresh the pulse, or pay what is owed; return when the next round is due, in seconds."""
        token = busy.set(True)
        try:
            if self._is_replaced():
                return None
            if self.distrusted:
                self._settle()
                return KEEPER_RETRY if self.distrusted else 0.0
            now = time.monotonic()
            if not (self.has_pulse and self.keeps_beating) or now - self._used_at > IDLE:
                return None
            beat = self._beaten(look=False)
            if self.is_evicting():
                self._put_marks(every=True)
            for chore in chores:
                chore(self.alias)
            return EVERY if beat is not None and beat.token else KEEPER_RETRY
        finally:
            busy.reset(token)
            self._close_own()

    def _settle(self) -> None:
        """Put the marks and the renewals that are owed, and the pulse."""
        outage, started = self._outage, time.monotonic()
        outage.is_trying = True
        try:
            self._put_marks(every=False)
            while (owed := self._debts.take()) is not None:
                writer, wanted = owed
                try:
                    self._renew(wanted, writer)
                except BaseException:
                    self._debts.owe(writer, wanted, everything)
                    raise
            if self.has_pulse:
                self._heard(self._beat(look=True))
                self._beat_at = time.monotonic()
        except Exception as error:  # whatever it is, it is tried again
            outage.failed(started, unreachable=not self._is_refusal(error))
            if self.has_pulse and self._debts:
                self._nobody_trusts()  # a server that takes some changes and not others
        else:
            outage.over()
        finally:
            outage.is_trying = False

    def _put_marks(self, *, every: bool) -> None:
        """Put the marks of writers in flight that were refused; ``every``: that may be evicted."""
        now = time.monotonic()
        for writer, flight in list(self._debts.flights.items()):
            if not (flight.is_unmarked or (every and now - flight.marked_at < flight.timeout)):
                continue
            wanted = tuple(flight.tags)
            self._mark(wanted, writer, flight.timeout)
            flight.is_unmarked = False
            if self._debts.flights.get(writer) is not flight:  # it has ended meanwhile
                self._debts.owe(writer, wanted, everything)


_FAILED: Any = object()


def everything() -> list[str]:
    """Return the tags that every entry has one of: what is owed where too much is owed to say."""
    return [tags.everything(database) for database in tags.every_database()]
