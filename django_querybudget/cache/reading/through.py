"""The two halves of every cached read: looking an answer up, and keeping one.

tokens and entry, at once → is each token still the one it was stored under? → the answer; else
the database, with the tokens that were read before, and the entry is stored under them.
:mod:`.leases` puts the halves together.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from math import log
from random import random
from time import perf_counter
from typing import Any

from django.db import connections, router

from django_querybudget.cache import stats, tags
from django_querybudget.cache.identity import identified
from django_querybudget.cache.payload.entries import Entry, decoded, log_corrupt, pack
from django_querybudget.cache.payload.models import Changed
from django_querybudget.cache.payload.values import Unfreezable
from django_querybudget.cache.sites import Site, known_site, site_of
from django_querybudget.cache.stores.chosen import store_for
from django_querybudget.cache.stores.pulse import PULSE
from django_querybudget.cache.tokens import all_same, is_known, readable, same
from django_querybudget.cache.transactions import state_of
from django_querybudget.conf import conf
from django_querybudget.sql.memory import Memo
from django_querybudget.sql.shortening import shortened

from . import audit
from .codecs import Codec
from .dependencies import Pins
from .fills import Fill, current_fill, refusal, session_refusal, transaction_refusal
from .routes import Routes, same_routes

__all__ = [
    "MISS",
    "Looked",
    "Question",
    "absent_of",
    "answer_in",
    "begun",
    "bypass",
    "keep",
    "look_up",
    "noted",
    "refusal_of",
    "remember_all",
    "seen",
    "site_of_question",
    "tags_of",
    "to_be_audited",
]


@dataclass(kw_only=True, slots=True)  # not frozen: that doubles the time to make one
class Question:
    """One read: where its answer is kept, and in what form. It does not change."""

    key: str
    """The entry's key."""

    shape: str
    """What questions with the same tables have in common: the SQL without its parameters."""

    expected: Collection[str]
    """The tags that it is known to depend on, besides those remembered for its shape."""

    kind: str = ""
    """What questions have in common that read mostly the same tables, if there is anything."""

    aliases: Collection[str]
    """The aliases it is known to read from."""

    sessions: Mapping[str, str]
    """The sessions that its key holds, by alias; of any other it must be the default one."""

    site: str
    """The call site that it is counted for."""

    is_site_of_shape: bool = False
    """Whether the shape is what the site is known by, and its name is for reading."""

    asked_at: float = field(default_factory=perf_counter)
    """When it was asked, on the process' own clock, in seconds."""

    codec: Codec
    found: Callable[[Any], bool]
    """Whether an answer holds a row."""

    timeout: float | None
    refresh: float | None = None
    """For how long at most an answer that was true is given while it is made anew, in seconds."""
    cache: str
    user_tags: frozenset[str]
    pins: Pins | None = None
    is_list: bool = False
    """Whether it is of a list that a foreign key pins: its rows' tags are remembered by its key."""
    required: frozenset[str] = frozenset()
    """Tags that the entry depends on besides those of its queries."""


MISS = object()
_REMEMBERED = 4096
_LONGEST = 512  # of a shape that is kept as it is, in characters
_MOST_TAGS = 256  # of all answers of a shape; of one answer there may be more
_LONGEST_SQL = 10_000  # of SQL that is made short, in characters
_NEVER = float("inf")

EARLY = 1.0
"""How much earlier than its cost asks for an answer is made again."""

MANY = 20
"""How many times its cost before its end an answer is made again at most: the chance is 2e-9."""

_dependencies: OrderedDict[str, frozenset[str]] = OrderedDict()
_rows: Memo[str, frozenset[str]] = Memo()
"""The tags of the rows that a list had the last time, by its key."""


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
            _site(question, _short(question.shape)).hit(entry.size, cost, entry.cost)
        return
    if entry is not None and question.refresh is not None:
        kept = _kept(question, entry, looked.values)
        if kept is not MISS:
            looked.kept, looked.is_kept, looked.is_stale = kept, True, True
            return
    if not again:
        _site(question, _short(question.shape)).count("misses")


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


def site_of_question(question: Question) -> Site:
    """Return the call site that a question is counted for."""
    return _site(question, _short(question.shape))


def refusal_of(question: Question) -> str | None:
    """Return why the cache must not be asked, None if it may."""
    for alias in question.aliases:
        if reason := refusal(connections[alias]):
            return reason
    return None


def tags_of(question: Question) -> set[str]:
    """Return the tags whose tokens are to be read with the entry."""
    found = {*question.expected, *question.user_tags, *noted(question.shape)}
    if question.is_list:
        with suppress(KeyError):
            found |= _rows[question.key]
    return found


def to_be_audited(question: Question, looked: Looked, again: audit.Again) -> None:
    """Have a hit compared with the database's answer, later."""
    if looked.entry is not None and not looked.is_stale:
        site = site_of_question(question)
        audit.later(question.key, site, question.codec, looked.entry, looked.values, again)


def _site(question: Question, shape: str) -> Site:
    if not question.is_site_of_shape:
        return site_of(question.site)
    return known_site(shape) or site_of(_named(question), shape)


def _named(question: Question) -> str:
    """Return what a shape is called: by whom it is asked, and its SQL made short."""
    start = question.shape.find("SELECT ")
    sql = shortened(question.shape[start : start + _LONGEST_SQL]) if start >= 0 else ""
    return f"{question.site} {sql}".rstrip()


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
        entries = store_for(question.cache).read(question.key, ())
        stored = entries[0] if entries is not None else None
        read = tokens.read(None, wanted)
        if read is None or entries is None:
            return None
        values = read[1]
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
        if read is None or not same(entry.tokens, read[1], missing):
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


def _short(shape: str) -> str:
    """Return what a shape is known by: SQL with a long list may be megabytes."""
    return shape if len(shape) <= _LONGEST else tags.digest(shape)


def noted(shape: str) -> frozenset[str]:
    """Return the tags that answers of a shape were found to depend on, in this process."""
    return _dependencies.get(_short(shape), frozenset())


def remember(shape: str, found: Collection[str]) -> None:
    """Note the tags of a shape, to ask for them at once the next time.

    Those of one view on many databases are of many tables. So past :data:`_MOST_TAGS` the last
    answer's alone are kept: what is not asked for at once is asked for in a second look.
    """
    # The shape of a decorated function's answer is its own: it has no other rows' tags.
    kept = frozenset(
        tag
        for tag in found
        if tag != PULSE and (shape.startswith("qb:") or not tags.is_transient(tag))
    )
    before = noted(shape)
    if not kept <= before:
        # Rows are those that the last answer had.
        both = kept.union(tag for tag in before if not tags.is_row(tag))
        _dependencies[_short(shape)] = both if len(both) <= _MOST_TAGS else kept
        if len(_dependencies) > _REMEMBERED:
            _dependencies.popitem(last=False)


def begun(question: Question, looked: Looked) -> Fill:
    """Return the fill in which the answer is to be computed, with the tokens it begins with."""
    fill = Fill(looked.values, question.pins, question.sessions)
    if PULSE in looked.values and (absent := absent_of(looked)):
        fill.tokens.update(store_for(conf.CACHE.ALIAS).ensure(absent))
    fill.needed |= question.user_tags | question.required
    if router.routers:
        fill.routes = Routes(looked.wanted)
    return fill


def absent_of(looked: Looked) -> list[str]:
    """Return the tags that have no token yet."""
    return [tag for tag in looked.wanted if not is_known(looked.values.get(tag, ""))]


def keep(question: Question, fill: Fill, answer: Any, lease: tuple[str, str] | None = None) -> bool:
    """Store an answer that was computed in ``fill``, if that is right. Returns whether it is.

    ``lease`` is given back behind it: its key, and who has it.
    """
    if (replay := audit.replaying()) is not None:
        return replay.take(question.key, question.codec, fill, answer)
    site = _site(question, _short(question.shape))
    routes, tokens = fill.chosen(), fill.settled()
    if tokens is None:
        if fill.routes is not None:
            remember_all(question, fill.dependencies())  # whose database to ask for the next time
        return _not_kept(site, fill.reason or "")
    cost, timeout = fill.cost, question.timeout
    try:
        packed = pack(
            tokens, fill.aliases, question.codec.freeze(answer), cost=cost, since=fill.true_since(),
            until=None if timeout is None else time.time() + timeout, routes=routes,
        )  # fmt: skip
    except Unfreezable as error:
        return _not_kept(site, f"value {error}")
    except (ValueError, RecursionError) as error:
        return _not_kept(site, f"value {type(error).__name__}")
    remember_all(question, (*tokens, *fill.instead[0], *fill.instead[1], *fill.asked))
    if not store_for(question.cache).write(question.key, packed, timeout, lease):
        site.refused("the cache did not take it")
        return False
    site.filled(cost, perf_counter() - question.asked_at - cost)
    return True


def remember_all(question: Question, depends: Collection[str]) -> None:
    """Note the tags that the answer to a question was found to depend on, to ask for at once."""
    remember(question.shape, depends)
    if question.is_list:
        _rows.remember(question.key, frozenset(filter(tags.is_row, depends)))
    if question.kind:
        remember(question.kind, depends)


def _not_kept(site: Site, reason: str) -> bool:
    stats.count_not_stored(reason)
    site.refused(reason)
    return False
