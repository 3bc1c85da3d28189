"""Whether what is read from a cache can be trusted: its pulse, and evictions."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from typing import TypeVar

from django_querybudget.cache.tokens import token_time
from django_querybudget.conf import conf

from .access import CacheAccess, Read, ReadMany
from .keeper import Keeper
from .pulse import ALWAYS, EVERY, PULSE, Beat, beat_of

__all__ = ["LOG_EVERY", "RETRY", "TrustedCache"]

R = TypeVar("R", Read, ReadMany)

RETRY = 0.1
"""How often a writer that waits tries to put its mark, in seconds."""

REST = 2.0
"""How old a token must be to store under it while the server evicts keys, in seconds."""

LOG_EVERY = 60.0
"""How often one thing is logged, and for how long evictions are taken to go on, in seconds."""


class TrustedCache(CacheAccess):
    """A cache whose tags are read with the pulse, which says that its server takes writes."""

    def __init__(self, alias: str) -> None:
        super().__init__(alias)
        self._keeper = Keeper(self)
        self._beat_at = self._missed_at = float("-inf")
        self._pulse: tuple[str, Beat | None] = ("", None)
        self._evicting_until = float("-inf")

    @property
    def distrusted(self) -> bool:
        """Whether the cache has failed and not taken a change since, or something is owed to it."""
        raise NotImplementedError

    def tend(self) -> float | None:
        """Refresh the pulse; return when the next round is due, in seconds, None for none."""
        raise NotImplementedError

    def _failed(self, error: Exception, started: float) -> None:
        """Note that what was begun at ``started`` has failed."""
        raise NotImplementedError

    def is_evicting(self) -> bool:
        """Whether the server evicts keys: a mark may be gone, and its tag come back without it."""
        return time.monotonic() < self._evicting_until

    def may_be_marked(self, tokens: Iterable[str]) -> bool:
        """Whether a writer's mark may have been evicted from one of the tags, and not be back yet.

        Each process puts the marks of its writers again while the server evicts.
        """
        if not self.is_evicting():
            return False
        before = time.time() - REST - conf.CACHE.CLOCK_SKEW
        return any(token_time(token) > before for token in tokens)

    def _read_with_pulse(
        self,
        read: Callable[[Collection[str]], R],
        wanted: Collection[str],
    ) -> R:
        if not self.has_pulse:
            answer = read(wanted)
            answer.values[PULSE] = ALWAYS
            return answer
        asked, opened = (*wanted, PULSE), self._opened()
        answer = read(asked)
        beat = self._heard(answer.values.pop(PULSE, ""))
        is_new = self._opened() != opened
        if is_new or beat is None or self._is_late():
            before = beat
            beat = self._beaten(look=is_new)
            if beat is not None and beat.token and (before is None or before.token != beat.token):
                # What was read before this pulse came is not to be trusted with it.
                answer = read(asked)
                beat = self._heard(answer.values.pop(PULSE, ""))
        if beat is not None and beat.token:
            answer.values[PULSE] = beat.token
        return answer

    def _heard(self, text: str) -> Beat | None:
        """Return what the pulse's value says, and note whether the server evicts."""
        known, beat = self._pulse
        if text != known:
            beat = beat_of(text)
            self._pulse = (text, beat)
        if beat is not None and beat.is_evicting:
            self._evicts()
        return beat

    def _evicts(self) -> None:
        self._evicting_until = time.monotonic() + LOG_EVERY

    def _is_late(self) -> bool:
        """Whether the pulse was not refreshed when it should have been."""
        return time.monotonic() - self._beat_at > 2 * EVERY

    def _beaten(self, *, look: bool) -> Beat | None:
        """Refresh the pulse for a request, and see that the keeper does from now on."""
        now = time.monotonic()
        if not look and now - self._missed_at < RETRY:
            return None
        if self.keeps_beating:
            self._keeper.start()
        try:
            beat = self._heard(self._beat(look=look))
        except Exception as error:  # the server answers reads, and refuses this
            self._failed(error, now)
            beat = None
        self._beat_at = time.monotonic()
        if beat is None or not beat.token:
            self._missed_at = self._beat_at
        return beat
