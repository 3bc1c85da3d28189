"""The caches that hold tokens and entries: what is asked of them, and what when they fail.

A :class:`Store` speaks to one of Django's caches. Its errors never reach the host: a read that
fails is a read from the database. A write is never left out because the cache fails: its mark is
tried until it stands, or until it is known that nobody trusts the cache (see :mod:`.pulse`),
and what could not be put is owed, and put as soon as the cache takes it.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Collection, Sequence
from contextvars import ContextVar
from functools import lru_cache, partial
from typing import Any, TypeVar

from django.core.cache import InvalidCacheBackendError, caches

from django_querybudget.cache import stats, tags
from django_querybudget.cache.tokens import LONGEST_MARK, is_known
from django_querybudget.conf import conf

from .access import Lease
from .debts import Debts, Outage
from .keeper import chores
from .pulse import EVERY, LIFE, MARGIN, PULSE
from .trust import LOG_EVERY, RETRY, TrustedCache

__all__ = ["Store", "is_busy", "prefixed", "tag_key"]

R = TypeVar("R")

logger = logging.getLogger("django_querybudget")

PAUSE = 1.0
"""How often a request tries whether a cache that did not answer is back, in seconds."""

KEEPER_RETRY = 0.25
"""How often what is owed is tried, in seconds."""

IDLE = 600.0
"""For how long without any use of the cache the pulse is kept, in seconds."""

TRANSIENT_TIMEOUT = 24 * 3600
"""How long the token of a row, of a scope's value or of the host's own tag lives, in seconds."""

_SAFE = re.compile(r"[\x21-\x7e]{1,150}")
_busy: ContextVar[bool] = ContextVar("querybudget_cache_busy", default=False)


is_busy = _busy.get
"""Whether the statement that runs now is a cache's own (Django's database cache)."""


@lru_cache(maxsize=8192)
def prefixed(prefix: str, tag: str) -> str:
    """Return the cache key of a tag, with ``TOKEN_PREFIX`` as given."""
    if tag == PULSE:
        return f"{prefix}qb:pulse"
    return f"{prefix}qb:t:{tag}" if _SAFE.fullmatch(tag) else f"{prefix}qb:h:{tags.digest(tag)}"


def tag_key(tag: str) -> str:
    """Return the cache key of a tag; a tag that some cache cannot have in a key is hashed."""
    return prefixed(conf.CACHE.TOKEN_PREFIX, tag)


class Store(TrustedCache):
    """One cache: entries by key, and tags with their values.

    A subclass says how: see :class:`~.access.CacheAccess`.
    """

    def __init__(self, alias: str) -> None:
        super().__init__(alias)
        self._outage = Outage()
        self._debts = Debts()
        self._logged: dict[str, float] = {}
        self._used_at = float("-inf")

    @property
    def distrusted(self) -> bool:
        return self._outage.began is not None or bool(self._debts)

    # What is asked of a store

    def read(self, key: str | None, wanted: Collection[str]) -> tuple[Any, dict[str, str]] | None:
        """Return what stands under ``key`` and the values of the tags that have one, at once.

        Where tags are asked for, the pulse is among them if it can be trusted, as :data:`PULSE`.
        Others may have put anything there: ``payload/entries.py`` tells. None where the cache
        cannot be asked.
        """
        if not wanted:
            return self._asked(self._read, key, ())
        return self._asked(self._read_with_pulse, partial(self._read, key), wanted)

    def read_many(
        self, keys: Sequence[str], wanted: Collection[str]
    ) -> tuple[list[Any], dict[str, str]] | None:
        """Return what stands under each key and the values of the tags, as :meth:`read` does."""
        if not wanted:
            return self._asked(self._read_many, keys, ())
        return self._asked(self._read_with_pulse, partial(self._read_many, keys), wanted)

    def tokens(self, wanted: Collection[str]) -> dict[str, str] | None:
        """Return the values of the tags; one without a value is given a fresh token.

        None where the cache cannot be asked.
        """
        return self._asked(self._tokens_and_look, wanted)

    def _asked(self, operation: Callable[..., R], *arguments: object) -> R | None:
        if (self._outage.began is not None or self._debts.owed) and self._is_away():
            return None
        self._used_at = time.monotonic()
        answer = self._guarded(None, operation, *arguments)
        if answer is not None and self._outage.is_unreachable:
            self._outage.answered()
        return answer

    def _tokens_and_look(self, wanted: Collection[str]) -> dict[str, str]:
        opened = self._opened()
        values = self._tokens(wanted)
        if self.has_pulse and self._opened() != opened:
            self._beaten(look=True)  # it may be another server, which has another pulse
        return values

    def _tokens(self, wanted: Collection[str]) -> dict[str, str]:
        _, values = self._read(None, wanted)
        if absent := [tag for tag in wanted if not is_known(values.get(tag, ""))]:
            values |= self._ensure(absent)
        return values

    def ensure(self, missing: Collection[str]) -> dict[str, str]:
        """Give each tag without a value a fresh token; return the values that stand then."""
        return self._guarded({}, self._ensure, missing)

    def write(
        self, key: str, entry: bytes, timeout: float | None, lease: tuple[str, str] | None = None
    ) -> bool:
        """Store an entry. Returns whether the cache took it, as far as that is known.

        ``lease`` is the key of one to give back behind the entry, and who has it.
        """
        most = conf.CACHE.MAX_BYTES
        if most and len(entry) > most:
            stats.count_not_stored("larger than MAX_BYTES")
            return False
        token = _busy.set(True)
        try:
            if lease is None:
                taken = self._write(key, entry, timeout)
            else:
                taken = self._write_last(key, entry, timeout, *lease)
            if taken:
                return True
            self._refused(None)
        except Exception as error:  # one entry not stored: reads tell of an outage
            self._refused(error)
        finally:
            _busy.reset(token)
        return False

    def _refused(self, error: Exception | None) -> None:
        """The cache did not take an entry: it says so now, or says it of an earlier one."""
        stats.count_not_stored("the cache did not take it")
        if error is not None:
            self._log(
                "entry", "The cache %r did not take an entry (%s: %s).",
                self.alias, type(error).__name__, error,
            )  # fmt: skip

    def take(self, key: str, who: str, seconds: float) -> Lease:
        """Take a lease for so long, whole seconds: whoever has it computes what others wait for.

        ``who`` is a name that nobody else has.
        """
        return self._guarded(Lease.TAKEN, self._take, key, who, seconds)

    def drop(self, key: str, who: str) -> None:
        """Give a lease back, if ``who`` has it still."""
        self._guarded(None, self._drop, key, who)

    def mark(self, wanted: Collection[str], writer: str, timeout: float) -> bool:
        """Put ``writer``'s mark on the tags, for ``timeout`` seconds at most.

        Returns whether it stands. If not, nobody trusts what is in the cache, and the mark is put
        as soon as the cache takes it; or a bounded wait is over, which is counted and logged.
        """
        stats.count("marks")
        timeout = min(timeout, LONGEST_MARK)
        flight = self._debts.takes_off(writer, wanted, timeout)
        self._used_at = time.monotonic()
        if self._change(self._mark, wanted, writer, timeout):
            return True
        flight.is_unmarked = True
        self._keeper.start()  # what is owed is the keeper's, in a forked process too
        return False

    def renew(self, wanted: Collection[str], writer: str = "", *, marked: bool = False) -> bool:
        """Put a new token under each tag, and take ``writer``'s mark away.

        ``marked``: the mark stands under all of them, and will for a while. Nobody trusts the
        tags until the renewal has arrived, so that it need not be waited for.
        """
        stats.count("invalidations")
        self._debts.flights.pop(writer, None)
        marked = marked and not self.is_evicting()  # or the mark may be gone
        if self._change(self._renew, wanted, writer, marked, waits=not marked):
            return True
        self._debts.owe(writer, wanted, _everything)
        self._keeper.start()
        return False

    # What when it fails

    def _guarded(self, otherwise: R, operation: Callable[..., R], *arguments: object) -> R:
        """Run ``operation``; after an error, note the outage and return ``otherwise``."""
        token = _busy.set(True)
        started = time.monotonic()
        try:
            return operation(*arguments)
        except Exception as error:  # a cache's error must not be the host's
            self._failed(error, started)
            return otherwise
        finally:
            _busy.reset(token)

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
        token = _busy.set(True)
        try:
            self._break_pulse()
        except Exception:  # a server that takes no write at all
            try:
                return PULSE not in self._read(None, (PULSE,))[1]
            except Exception as error:
                self._failed(error, time.monotonic())
                return False
        finally:
            _busy.reset(token)
        return True

    def _failed(self, error: Exception, started: float) -> None:
        if isinstance(error, InvalidCacheBackendError):
            return  # taken out of CACHES, as tests do: store_for() tells
        stats.count("errors")
        self._outage.failed(started, unreachable=not self._is_refusal(error))
        self._log(
            "failed",
            "The cache %r failed (%s: %s). Reads go to the database until it takes changes again.",
            self.alias, type(error).__name__, error,
        )  # fmt: skip
        self._keeper.start()

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
        token = _busy.set(True)
        try:
            if self.alias not in caches.settings:
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
            _busy.reset(token)
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
                    self._debts.owe(writer, wanted, _everything)
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
                self._debts.owe(writer, wanted, _everything)


_FAILED: Any = object()


def _everything() -> list[str]:
    return [tags.everything(database) for database in tags.every_database()]
