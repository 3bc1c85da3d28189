"""The first half of every cached read: looking an answer up.

tokens and entry, at once → is each token still the one it was stored under? → the answer; else
the database, with the tokens that were read before, and the entry is stored under them
(:mod:`.keeping`). :mod:`.leases` puts the halves together.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from math import log
from random import random
from time import perf_counter
from typing import Any

from django.db import connections, router

from django_querybudget.cache import stats, tags
from django_querybudget.cache.identity import identified
from django_querybudget.cache.payload.entries import Entry, decoded, log_corrupt
from django_querybudget.cache.payload.models import Changed
from django_querybudget.cache.sites import site_of
from django_querybudget.cache.stores.chosen import store_for
from django_querybudget.cache.stores.pulse import PULSE
from django_querybudget.cache.tokens import all_same, readable, same
from django_querybudget.cache.transactions import state_of
from django_querybudget.conf import conf

from . import audit
from .fills import current_fill, session_refusal, transaction_refusal
from .question import Question, refusal_of, site_of_question
from .remembered import remember_all, tags_of
from .routes import same_routes

__all__ = [
    "MISS",
    "Looked",
    "answer_in",
    "bypass",
    "look_up",
    "seen",
    "to_be_audited",
]


MISS = object()
_NEVER = float("inf")

EARLY = 1.0
"""How much earlier than its cost asks for an answer is made again."""

MANY = 20
"""How many times its cost before its end an answer is made again at most: the chance is 2e-9."""


@dataclass(slots=True)
class Looked:
    """What was found for a question."""

    found: Any
    """The answer, or ``MISS``."""

    values: Mapping[str, str]
    """The tokens that were read with it."""

    wanted: Collection[str]
    """The tags whose tokens were asked for."""

    refused: str = ""
    """Why the cache must not or cannot be asked."""

    entry: Entry | None = None
    """The entry that stands there, be it true or not."""

    kept: Any = None
    """With ``MISS``: an answer that may be given while another process makes it anew."""

    is_kept: bool = False
    """Whether there is one."""

    is_stale: bool = False
    """Whether that answer, or the one that was found, is no longer true."""

    def given(self) -> Looked:
        """Return what was found, if the kept answer is given."""
        return replace(self, found=self.kept, is_kept=False)


def look_up(question: Question, *, again: bool = False) -> Looked:
    """Ask the cache, and count what it has: ``again``, no second miss of one request."""
    if reason := refusal_of(question):
        return Looked(MISS, {}, (), reason)
    began = perf_counter() if again else question.asked_at
    wanted = tags_of(question)
    answer = _look_up(question, tuple(wanted))
    if answer is None:
        return Looked(MISS, {}, (), "cache failed")
    found, values, entry = answer
    looked = Looked(found, values, wanted, "", entry)
    seen(question, looked, perf_counter() - began, again=again)
    return looked


def seen(
    question: Question,
    looked: Looked,
    cost: float,
    *,
    again: bool = False,
    looked_at: float | None = None,
) -> None:
    """Count what the cache has; what is repeated to be audited is no hit. ``cost``: seconds.

    ``looked_at`` is a time before the cache was asked, in seconds since 1970. An answer that is to
    be made anew, early, is not found any more, but kept; and so is one that may be given although
    it is no longer true.
    """
    entry = looked.entry
    if audit.replaying() is not None:
        looked.found, looked.entry = MISS, None
        return
    if looked.found is not MISS and entry is not None:
        entry.held_at = time.time() - cost if looked_at is None else looked_at
        left = _NEVER if entry.until is None else entry.until - entry.held_at
        if left < MANY * entry.cost and _is_early(left, entry.cost):
            looked.kept, looked.is_kept, looked.found = looked.found, True, MISS
        else:
            site_of_question(question).hit(entry.size, cost, entry.cost)
        return
    if entry is not None and question.refresh is not None:
        kept = _kept(question, entry, looked.values)
        if kept is not MISS:
            looked.kept, looked.is_kept, looked.is_stale = kept, True, True
            return
    if not again:
        site_of_question(question).count("misses")


def _is_early(left: float, cost: float) -> bool:
    """Whether this reader makes an answer again that ends in ``left`` seconds: by chance, the more
    likely the nearer the end and the dearer the answer.

    Vattani, Chierichetti, Lowenstein: Optimal Probabilistic Cache Stampede Prevention, VLDB 2015.
    """
    return left <= -EARLY * cost * log(1 - random())  # noqa: S311 - no secret


def _kept(question: Question, entry: Entry, values: Mapping[str, str]) -> Any:
    """Return an answer that was true a moment ago, and may be given; else ``MISS``.

    That it was true is known of when this process last saw that it was, and of when it was made.
    What was renewed since says only of the last time.
    """
    bound = question.refresh or 0.0
    if entry.held_at == entry.since:
        bound -= conf.CACHE.CLOCK_SKEW  # by another machine's clock
    if not 0 <= time.time() - entry.held_at <= bound:
        return MISS
    # The pulse; and what was dropped by name is dropped.
    certain = [tag for tag in entry.tokens if tag == PULSE or tags.is_said(tag)]
    required = question.required
    if PULSE not in certain or not required <= entry.tokens.keys():
        return MISS
    if not same(entry.tokens, values, (*certain, *required)):
        return MISS
    try:
        return _thawed(question, entry, {})
    except Exception:  # it has been logged, if there is something to say
        return MISS


def to_be_audited(question: Question, looked: Looked, again: audit.Again) -> None:
    """Have a hit compared with the database's answer, later."""
    if looked.entry is not None and not looked.is_stale:
        site = site_of_question(question)
        audit.later(question.key, site, question.codec, looked.entry, looked.values, again)


def bypass(reason: str, compute: Callable[[], Any], site: str = "") -> Any:
    """Return ``compute()``; nothing around it is cached either."""
    stats.count_bypass(reason)
    if site:
        site_of(site).bypassed(reason)
    if (outer := current_fill()) is not None:
        outer.spoil(reason)
    return compute()


def _look_up(
    question: Question, wanted: tuple[str, ...]
) -> tuple[Any, dict[str, str], Entry | None] | None:
    """Return the answer or ``MISS``, the tokens read, and the entry; None if it cannot be asked."""
    alias = conf.CACHE.ALIAS
    tokens = store_for(alias)
    if question.cache != alias:
        # The entry first: tokens read later than it can only make it a miss.
        apart = store_for(question.cache).read(question.key, ())
        read = tokens.read(None, wanted)
        if read is None or apart is None:
            return None
        stored, values = apart.entry, read.values
    else:
        read = tokens.read(question.key, wanted)
        if read is None:
            return None
        stored, values = read
    found, entry = answer_in(question, stored, values)
    return found, values, entry


def answer_in(
    question: Question,
    stored: object,
    values: Mapping[str, str],
    trusted: dict[str, str] | None = None,
) -> tuple[Any, Entry | None]:
    """Return the answer in what stands under the question's key, or ``MISS``; and the entry.

    ``values`` are the tokens that were read with it, or later. ``trusted`` is what
    :func:`_trusted` has said since then, by alias.
    """
    if stored is None:
        return MISS, None
    try:
        entry = decoded(question.key, stored)
        if (found := _valid(question, entry, values, {} if trusted is None else trusted)) is MISS:
            return MISS, entry
    except Changed:
        return MISS, None
    except Exception as error:  # whatever stands there, it is a miss
        log_corrupt(question.key, error)
        stats.count_bypass("corrupt entry")
        return MISS, None
    if (outer := current_fill()) is not None:
        outer.absorb(entry.tokens, entry.aliases, entry.routes or ())
    return found, entry


def _valid(
    question: Question, entry: Entry, values: Mapping[str, str], trusted: dict[str, str]
) -> Any:
    if PULSE in entry.tokens and all_same(entry.tokens, values):
        return _thawed(question, entry, trusted)
    needed = entry.tokens.keys()
    known = [tag for tag in needed if tag in values]
    if PULSE not in known or not same(entry.tokens, values, known):
        return MISS
    if len(known) < len(needed):
        # Tags of relations that this process has not seen yet: one more look, once.
        remember_all(question, needed)
        missing = [tag for tag in needed if tag not in values]
        if any(map(tags.is_twin, missing)):
            # What a twin says holds with a tag of any value that was not read before it.
            missing = [tag for tag in needed if tag != PULSE]
        if any(not readable(entry.tokens[tag]) for tag in missing):
            return MISS
        read = store_for(conf.CACHE.ALIAS).read(None, missing)
        if read is None or not same(entry.tokens, read.values, missing):
            return MISS
    return _thawed(question, entry, trusted)


def _thawed(question: Question, entry: Entry, trusted: dict[str, str]) -> Any:
    """Return the answer, if it is one to this question here and now; else ``MISS``."""
    needed = entry.tokens.keys()
    for alias in entry.aliases:
        if alias in question.aliases:
            continue
        if (everything := trusted.get(alias)) is None:
            everything = trusted[alias] = _trusted(alias)
        if everything not in needed:
            return MISS  # or the alias was another database's then
        # What the key holds was read from the connection a moment ago.
        if alias not in question.sessions and session_refusal(
            connections[alias], question.sessions
        ):
            return MISS
    if not question.user_tags | question.required <= needed:
        return MISS
    if (entry.routes is not None or router.routers) and not same_routes(entry.routes):
        return MISS
    return question.codec.thaw(entry.prepared(question.codec.prepare))


def _trusted(alias: str) -> str:
    """Return the tag of everything in the alias' database; empty where nothing of it is trusted."""
    connection = connections[alias]
    # One that has ended unheard is renewed by transaction_refusal(): after the tokens were read.
    is_unheard = state_of(connection).is_watched
    if transaction_refusal(connection) or is_unheard:
        return ""
    name = identified(alias)
    return "" if name is None else tags.everything(name)
