"""Many that ask at once: one process makes the answer, the others wait or take the last one.

A *lease* in the cache says that somebody makes it. Whoever comes meanwhile waits, for a bounded
time, and then makes it as well: a leader that died holds nobody up for longer. Where there is an
answer that may be given still, nobody waits: one that is true but near its end, or one that is
not true any more where ``refresh`` allows that.

A lease costs a miss two trips more, of which one is not waited for. So a queryset takes one only if
its answer is known to be dear (``LEASE_FROM``), by the last time that it was made; a view always.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db import connections

from django_querybudget.cache.stores.access import Lease
from django_querybudget.cache.stores.chosen import store_for
from django_querybudget.cache.tokens import new_writer
from django_querybudget.conf import conf

from . import audit, sampling
from .fills import Fill, current_fill, filling
from .keeping import begun, keep
from .question import Question, site_of_question
from .through import MISS, Looked, bypass, look_up, to_be_audited

__all__ = ["Turn", "make", "read_through"]

LEASE = 1.0
"""How long one reader keeps others from making what it makes, at least; in seconds."""

LONGEST = 10.0
"""And at most: twice what the answer took the last time."""

WAIT = 1.0
"""How much longer than a lease another waits, in seconds."""

POLL = 0.02
"""How often it looks, in seconds."""

UNSTORED = 10.0
"""For how long nobody waits for a site whose answer could not be stored, in seconds."""

MOST_SITES = 1024
MOST_INPUTS = 20

_ANY = ""
_unstored: dict[str, dict[str, float]] = {}
"""By site, and by the input whose readers' answers are not stored: when that was seen."""


@dataclass(slots=True)
class Turn:
    """One reader that has looked for an answer and not found it."""

    question: Question
    looked: Looked
    leads: bool = False
    """Whether this reader has the lease: others wait for what it makes."""
    _who: str = ""
    _key: str = ""

    @property
    def lease(self) -> str:
        """The key under which one process says that it makes the answer."""
        return f"{self.question.key}:lease"

    @property
    def known_cost(self) -> float:
        """What the answer took to make the last time, in seconds; 0 where that is not known."""
        entry = self.looked.entry
        return entry.cost if entry is not None else site_of_question(self.question).last_cost

    def waits(self) -> Iterator[float]:
        """Yield, in seconds, for how long to wait, until it is this reader's turn.

        It is where the answer is there, or another that may be given; where this reader has the
        lease; where such answers are not stored; and after a bounded time, whatever others do.
        """
        if self.looked.found is not MISS:
            return
        store, site = store_for(self.question.cache), site_of_question(self.question)
        seconds = min(max(LEASE, 2 * self.known_cost), LONGEST)
        until = time.monotonic() + seconds + WAIT
        self._who = new_writer()
        while self.looked.found is MISS:
            if self._waits_in_vain(site.name):
                self.goes_on()
                return
            if taken := store.take(self.lease, self._who, seconds):
                self.leads, self._key = True, self.lease
                if taken is Lease.TAKEN_AFTER_ANOTHER:
                    self._look_again()  # it may have stored the answer since
                if self.looked.found is not MISS:
                    self.release()
                elif self.looked.is_kept:
                    site.count("misses" if self.looked.is_stale else "refreshes")
                return
            if self.looked.is_kept:
                self._give()
                return
            if time.monotonic() >= until:
                return
            yield POLL
            self._look_again()

    def _look_again(self) -> None:
        looked = look_up(self.question, again=True)
        if not looked.refused:
            self.looked = looked

    def goes_on(self) -> None:
        """Do without a lease: give what is true still, or make it."""
        if self.looked.is_kept and not self.looked.is_stale:
            self._give()
        elif self.looked.is_kept:
            site_of_question(self.question).count("misses")

    def _give(self) -> None:
        """Give the answer that there is, while another is made."""
        site, entry = site_of_question(self.question), self.looked.entry
        if entry is not None:
            site.hit(entry.size, time.perf_counter() - self.question.asked_at, entry.cost)
        if self.looked.is_stale:
            site.count("served_stale")
            if (outer := current_fill()) is not None:
                outer.spoil("a part of it is not true any more, and is made anew")
        self.looked = self.looked.given()

    def not_stored(self, inputs: Iterable[str] = ()) -> None:
        """Let nobody wait for such answers for a while: who has one of ``inputs``, or anybody."""
        if len(_unstored) >= MOST_SITES:
            _unstored.clear()
        seen = _unstored.setdefault(site_of_question(self.question).name, {})
        for name in tuple(inputs)[:MOST_INPUTS] or (_ANY,):
            if len(seen) >= MOST_INPUTS:
                seen.clear()
            seen[name] = time.monotonic()

    def has(self, name: str) -> bool:
        """Whether the reader has an input; a queryset has none that is not in its key."""
        del name
        return True

    def _waits_in_vain(self, site: str) -> bool:
        """Whether the answer would not be stored: others' like it were not, a moment ago."""
        now = time.monotonic()
        return any(
            now - at < UNSTORED and (name == _ANY or self.has(name))
            for name, at in list(_unstored.get(site, {}).items())
        )

    def kept(self, fill: Fill, answer: Any) -> bool:
        """Store what was made, and give the lease back behind it. Returns whether it is stored."""
        lease = (self._key, self._who) if self.leads else None
        if not keep(self.question, fill, answer, lease):
            return False
        self.leads = False
        if (seen := _unstored.get(site_of_question(self.question).name)) is not None:
            seen.pop(_ANY, None)  # it was a passing reason
        return True

    def release(self) -> None:
        """Let others make it, if this reader kept them from it."""
        if self.leads:
            self.leads = False
            store_for(self.question.cache).drop(self._key, self._who)


def read_through(
    question: Question, compute: Callable[[], Any], again: Callable[[], audit.Again]
) -> Any:
    """Return the answer, from the cache if it holds one that is still true, else ``compute()``.

    ``again`` is called for a hit that is to be audited.
    """
    looked = look_up(question)
    if looked.refused:
        return bypass(looked.refused, compute, question.site)
    if looked.found is not MISS:
        if sampling.due():
            to_be_audited(question, looked, again())
        return looked.found
    return make(question, looked, compute)


def make(question: Question, looked: Looked, compute: Callable[[], Any]) -> Any:
    """Return the answer that was looked for and not found: ``compute()``, or what another made."""
    turn = Turn(question, looked)
    if _takes_turns(turn):
        for seconds in turn.waits():
            time.sleep(seconds)
    else:
        turn.goes_on()
    looked = turn.looked
    if looked.found is not MISS:
        return looked.found
    try:
        fill = begun(question, looked)
        with filling(fill):
            answer = compute()
            fill.found = question.found(answer)
        if not turn.kept(fill, answer):
            turn.not_stored()
    finally:
        turn.release()
    return answer


def _takes_turns(turn: Turn) -> bool:
    """Whether it is worth a lease, and this reader keeps nobody else waiting if it waits."""
    if audit.replaying() is not None:
        return False
    least = conf.CACHE.LEASE_FROM
    if not turn.looked.is_kept and (least is None or turn.known_cost < least):
        return False
    aliases = turn.question.aliases
    if aliases:
        return not any(connections[alias].in_atomic_block for alias in aliases)
    return not any(each.in_atomic_block for each in connections.all(initialized_only=True))
