"""A fill: what a read that goes to the database depends on, found while it runs.

The tokens of a table's tags are read before the statement that reads the table is sent. Whatever
is invalidated from then on makes the entry dead on arrival.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from django.db import connections

from django_querybudget.cache import sessions, tags
from django_querybudget.cache.identity import is_identified
from django_querybudget.cache.relations import refused_relation
from django_querybudget.cache.stores.chosen import store_for
from django_querybudget.cache.stores.pulse import PULSE
from django_querybudget.cache.tokens import readable
from django_querybudget.cache.transactions import Mode, mode_of, state_of
from django_querybudget.conf import conf

from .dependencies import Pins, ReadTags, pins_of_text, refused, tags_read, withheld
from .routes import Rerouted, Routes
from .statements import PendingRead, ReadFrom

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from .lists import Listing

__all__ = [
    "Fill",
    "PendingRead",
    "current_fill",
    "filling",
    "refusal",
    "session_refusal",
    "transaction_refusal",
]

_current: ContextVar[Fill | None] = ContextVar("querybudget_cache_fill", default=None)


def current_fill() -> Fill | None:
    """Return the fill that runs in this context."""
    return _current.get()


def refusal(connection: BaseDatabaseWrapper) -> str | None:
    """Return why nothing may be read through the cache on ``connection`` now, None if it may."""
    if reason := transaction_refusal(connection):
        return reason
    if not is_identified(connection.alias):
        return "the server cannot say which database it is"
    return None


def transaction_refusal(connection: BaseDatabaseWrapper) -> str | None:
    """Return why the connection's transaction must not read through the cache, None if it may.

    What a transaction wrote that has ended unheard is renewed now.
    """
    state, mode = state_of(connection), mode_of(connection)
    state.settle(connection, mode)
    if mode is Mode.MANUAL:
        return "manual transaction"
    if state.has_written():
        return "the transaction has written"
    return None


def session_refusal(connection: BaseDatabaseWrapper, known: Mapping[str, str]) -> str | None:
    """Return why a key with the sessions ``known`` does not hold for ``connection``, or None.

    An alias that is not in them must be as its settings make it.
    """
    expected = known.get(connection.alias)
    if expected is None:
        return None if sessions.is_default(connection) else "another database's session"
    try:
        same = sessions.text_of(connection) == expected
    except sessions.Unknown as reason:
        return str(reason)
    return None if same else "the session was changed"


class Fill:
    """The tokens read, and whether what was read may be stored.

    ``tokens`` are those already read. ``pins`` refine the tags of the next statement.
    ``known`` are the sessions in the entry's key, by alias.
    """

    def __init__(
        self,
        tokens: Mapping[str, str],
        pins: Pins | None = None,
        known: Mapping[str, str] | None = None,
    ) -> None:
        self.tokens: dict[str, str] = dict(tokens)
        self.needed: set[str] = {PULSE}
        self.if_found: set[str] = set()
        self.if_empty: set[str] = set()
        self.reason: str | None = None
        self.found: bool | None = None
        """Whether there was a row; None where it is not known."""
        self.needs_query = True
        """Whether an answer without any statement is not stored."""
        self.ended = False
        self.pins_by_text = False
        """Whether statements that were not announced are read for what pins them."""
        self.listing: Listing | None = None
        """Whose rows the next statement fetches."""
        self.asked: set[str] = set()
        """Tags whose tokens such a list needs to have been read, besides those it depends on."""
        self.aliases: set[str] = set()
        self.routes: Routes | None = None
        """What routers choose for what is read; None where the project has none."""
        self._next: Pins | None = pins
        self._known = known or {}
        self._sources: list[ReadFrom] = []
        self._began = 0.0
        self._made_at = time.time()
        self.cost = 0.0
        """What was computed took, less what the cache took of it; seconds."""

    def spoil(self, reason: str) -> None:
        """Store nothing; the first reason counts."""
        self.reason = self.reason or reason

    def reading(
        self, sql: str, connection: BaseDatabaseWrapper, params: Any = None
    ) -> PendingRead | None:
        """A statement that reads is about to be sent; what is returned is told when it is done."""
        self._began = self._began or time.time()
        self.aliases.add(connection.alias)
        if reason := refusal(connection) or session_refusal(connection, self._known):
            self.spoil(reason)
        source = ReadFrom(state_of(connection), mode_of(connection), tags.lag_of(connection.alias))
        if source not in self._sources:
            self._sources.append(source)
        if reason := (
            refused(sql, connection)
            or withheld(sql, connection)
            or refused_relation(sql, connection)
        ):
            self.spoil(reason)
        pins, self._next = self._next, None
        listing, self.listing = self.listing, None
        by_text = pins is None and self.pins_by_text
        if by_text:
            pins = pins_of_text(sql, params, connection)
        found = tags_read(sql, connection, pins)
        wanted = frozenset[str]()
        if listing is not None:
            wanted = listing.takes(found, sql, params, connection)
        self.take_tokens(wanted or found.all)
        if self.routes is not None:
            self.routes.note(found.all, connection.alias)
        if wanted:
            return None  # what it depends on is said when the rows are there
        if by_text:
            self.needed |= found.always
            return PendingRead(self, found) if found.if_found else None
        self.depends_on(found)
        return None

    def depends_on(self, found: ReadTags) -> None:
        """What is made depends on a statement with these tags."""
        self.needed |= found.always
        self.if_found.update(found.if_found)
        self.if_empty.update(found.if_empty)

    @contextmanager
    def next_reads(self, pins: Pins | None) -> Iterator[None]:
        """Refine the tags of the next statement, if it is sent in the block."""
        self._next = pins
        try:
            yield
        finally:
            self._next = None

    def take_tokens(self, wanted: Collection[str]) -> None:
        """Read the tokens that are not read yet; a tag without one gets a fresh one."""
        if self.reason is not None or PULSE not in self.tokens:
            return  # it will not be stored
        missing = [tag for tag in wanted if tag not in self.tokens and tag != PULSE]
        if not missing:
            return
        began = time.perf_counter()
        values = store_for(conf.CACHE.ALIAS).tokens(missing)
        if values is None:
            self.spoil("cache failed")
            return
        # What else was read stays as it was read first: a statement before may depend on it.
        self.tokens |= {tag: values[tag] for tag in missing if tag in values}
        self.cost -= time.perf_counter() - began

    def absorb(
        self, tokens: Mapping[str, str], aliases: Collection[str], routed: Collection[str] = ()
    ) -> None:
        """A read inside of this one was answered from the cache, or filled it.

        ``routed`` are the labels of the models that it read where the routers said.
        """
        self._began = self._began or time.time()
        self.needed.update(tokens)
        self.aliases.update(aliases)
        for alias in aliases:
            if reason := session_refusal(connections[alias], self._known):
                self.spoil(reason)
        for tag, token in tokens.items():
            self.tokens.setdefault(tag, token)
        if self.routes is not None and routed:
            self.routes.absorb(routed)

    def true_since(self) -> float:
        """Return a time at which the answer was true, in seconds since 1970; 0: it is not known."""
        is_now = all(each.mode is Mode.AUTOCOMMIT and not each.lag for each in self._sources)
        return self._made_at if is_now else 0.0  # a transaction may read from an old snapshot

    def dependencies(self) -> set[str]:
        """Return the tags that what was read depends on."""
        if self.found is None:
            return self.needed | self.if_found | self.if_empty
        return self.needed | (self.if_found if self.found else self.if_empty)

    def chosen(self) -> dict[str, str] | None:
        """Return the database that routers chose for each model that was read where they said.

        None where the project has none, and where it is not known: then nothing is stored.
        """
        if self.routes is None:
            return None
        try:
            return self.routes.before()
        except Rerouted as reason:
            self.spoil(str(reason))
            return None

    def settled(self) -> dict[str, str] | None:
        """Return the tokens to store with what was read, None if it must not be stored."""
        needed = self.dependencies()
        if self.reason is None and self.needs_query and needed == {PULSE}:
            self.spoil("no query")
        if PULSE not in self.tokens:
            self.spoil("the cache takes no writes, or is recovering")
        tokens = {tag: self.tokens.get(tag, "") for tag in needed}
        if not all(tokens.values()):
            self.spoil("the cache kept no token")
        if not all(map(readable, tokens.values())):
            self.spoil("a writer is in flight")
        if self.reason is None and not self._is_recent_enough(tokens.values()):
            self.spoil("the snapshot may be older than a write")
        if self.reason is None and store_for(conf.CACHE.ALIAS).may_be_marked(tokens.values()):
            self.spoil("the cache evicts keys")
        return tokens if self.reason is None else None

    def _is_recent_enough(self, tokens: Collection[str]) -> bool:
        """Whether what was read is no older than any of the tokens."""
        return all(
            source.state.may_store(tokens, source.mode, self._began, source.lag)
            for source in self._sources
        )

    def may_store(self, tokens: Collection[str]) -> bool:
        """Whether what was read may be stored under these tokens, by what is known so far."""
        store = store_for(conf.CACHE.ALIAS)
        return self._is_recent_enough(tokens) and not store.may_be_marked(tokens)


@contextmanager
def filling(fill: Fill) -> Iterator[Fill]:
    """Let the statements of a block count for ``fill``, and for the fill around it."""
    outer = _current.get()
    _current.set(fill)
    fill.ended = False
    began = time.perf_counter()
    try:
        yield fill
    finally:
        fill.cost += time.perf_counter() - began
        fill.ended = True
        # Not reset(): a middleware's two methods may run in copies of one context.
        _current.set(outer)
        if outer is not None:
            outer.absorb(
                {tag: fill.tokens.get(tag, "") for tag in fill.dependencies()},
                fill.aliases,
                fill.routes.labels if fill.routes is not None else (),
            )
            if fill.reason:
                outer.spoil(fill.reason)
