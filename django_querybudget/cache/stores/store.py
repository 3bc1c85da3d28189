"""What is asked of a cache that holds tokens and entries: :class:`Store`."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import TypeVar

from django_querybudget.cache import stats
from django_querybudget.cache.tokens import LONGEST_MARK, is_known
from django_querybudget.conf import conf

from .access import Lease, Read, ReadMany, busy
from .resilience import ResilientCache, everything

__all__ = ["Store"]

R = TypeVar("R")


class Store(ResilientCache):
    """One cache: entries by key, and tags with their values.

    A subclass says how: see :class:`~.access.CacheAccess`.
    """

    reads_tokens_at_once = False
    """Whether :meth:`tokens` reads all of them in one step, and each write changes its in one."""

    tells_writers_apart = False
    """Whether it tells if anybody has written who knows less of a table, as :mod:`.twins` says."""

    def read(self, key: str | None, wanted: Collection[str]) -> Read | None:
        """Return what stands under ``key`` and the values of the tags that have one, at once.

        Where tags are asked for, the pulse is among them if it can be trusted, as :data:`PULSE`.
        Others may have put anything there: ``payload/entries.py`` tells. None where the cache
        cannot be asked.
        """
        if not wanted:
            return self._asked(self._read, key, ())
        return self._asked(self._read_with_pulse, partial(self._read, key), wanted)

    def read_many(self, keys: Sequence[str], wanted: Collection[str]) -> ReadMany | None:
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
        token = busy.set(True)
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
            busy.reset(token)
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
        self._debts.owe(writer, wanted, everything)
        self._keeper.start()
        return False
