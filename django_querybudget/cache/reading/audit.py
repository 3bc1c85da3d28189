"""The audit: a share of the hits is computed again after the response, and compared.

A difference counts only if nothing that the answer depends on was written from the hit until after
the second reading: the tokens are read again last. And only if a third reading is as the second:
an answer that differs each time (a random number in a template) is no stale one.

A hit in a request is repeated in the request's thread when the request has finished; any other at
once, but never inside of a transaction, which a failing statement would abort.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from django.core.signals import request_finished, request_started, setting_changed
from django.db import connections
from django.utils import timezone, translation

from django_querybudget.cache import stats
from django_querybudget.cache.payload.entries import Entry
from django_querybudget.cache.sites import Site
from django_querybudget.cache.stores.chosen import store_for
from django_querybudget.conf import conf

from .codecs import Codec
from .fills import Fill
from .sampling import restart

__all__ = ["Again", "Replay", "later", "replaying"]

logger = logging.getLogger("django_querybudget")

MOST_WAITING = 20
"""How many hits of one request are kept to be repeated."""

SETTLING = 0.1
"""How long a renewal may be on its way where writers set no marks, in seconds."""

_waiting = threading.local()
_logged: dict[str, float] = {}


@dataclass(frozen=True, slots=True)
class Again:
    """How to do a read again, whatever becomes of its queryset or request meanwhile."""

    read: Callable[[], object]
    is_unordered: bool = False
    """Whether its rows may come in any order."""


@dataclass(slots=True)
class Replay:
    """A read that is repeated: every read in it goes to the database, and nothing is stored."""

    key: str
    comparable: Callable[[Any], str]
    routes: Mapping[str, str] | None
    """The databases that routers chose for what was read."""
    reason: str = "another question was asked"
    """Why there is nothing to compare with; empty where there is."""
    found: str = ""

    def take(self, key: str, codec: Codec, fill: Fill, answer: Any) -> bool:
        """Note what was found, where it could have been stored. Returns whether all is well."""
        if key != self.key:
            return True
        if fill.chosen() != self.routes:
            fill.spoil("the routers choose another database now")
        if fill.settled() is None:
            self.reason = fill.reason or ""
            return True
        self.found = self.comparable(json.dumps(codec.freeze(answer)))
        self.reason = ""
        return True


_replay: ContextVar[Replay | None] = ContextVar("querybudget_cache_replay", default=None)

replaying = _replay.get
"""The read that is repeated in this context."""


@dataclass(frozen=True, slots=True)
class Hit:
    """An answer that was given from the cache, and how to ask again."""

    key: str
    site: Site
    codec: Codec
    content: bytes
    tokens: Mapping[str, str]
    routes: Mapping[str, str] | None
    again: Again
    language: str | None
    zone: tzinfo
    context: Context
    """In which it is counted: who ran it is known there."""

    def read_again(self) -> Replay:
        """Ask the database for it."""
        replay = Replay(self.key, self.comparable, self.routes)
        token = _replay.set(replay)
        try:
            with translation.override(self.language), timezone.override(self.zone):
                self.again.read()
        except Exception as error:  # the host's, whatever it is
            # Of a row that is not there it comes after the reading.
            replay.reason = replay.reason and f"{type(error).__name__} in the second reading"
        finally:
            _replay.reset(token)
        return replay

    def comparable(self, content: bytes | str) -> str:
        """Return what has to be equal for two answers to be."""
        frozen = self.codec.essence(json.loads(content))
        if self.again.is_unordered:
            return json.dumps(sorted(map(repr, _leaves(frozen))))
        return json.dumps(frozen, sort_keys=True)

    def count(self, what: str) -> None:
        """Count it for its site, and for the request that was given it."""
        self.context.run(self.site.count, what)

    def is_unwritten(self) -> bool:
        """Whether each tag has the token that was read with the hit."""
        read = store_for(conf.CACHE.ALIAS).read(None, tuple(self.tokens))
        return read is not None and all(
            read.values.get(tag) == token for tag, token in self.tokens.items()
        )


def later(  # what a hit is
    key: str,
    site: Site,
    codec: Codec,
    entry: Entry,
    values: Mapping[str, str],
    again: Again,
) -> None:
    """Compare an answer with the database's: when the request has finished, or at once."""
    hit = Hit(
        key=key,
        site=site,
        codec=codec,
        content=entry.body,
        # Those of relations that were not known before were read after the others.
        tokens={tag: values.get(tag, token) for tag, token in entry.tokens.items()},
        routes=entry.routes,
        again=again,
        language=translation.get_language(),
        zone=timezone.get_current_timezone(),
        context=copy_context(),
    )
    if not getattr(_waiting, "in_request", False):
        _compare(hit)
    elif len(_waiting.hits) < MOST_WAITING:
        _waiting.hits.append(hit)
    else:
        stats.count_unaudited("too many in one request")


def _compare(hit: Hit) -> None:
    if any(each.in_atomic_block for each in connections.all(initialized_only=True)):
        stats.count_unaudited("inside of a transaction")
        return
    with _own_connections():
        reason = _judged(hit)
    if reason:
        stats.count_unaudited(reason)


def _judged(hit: Hit) -> str:
    """Count whether the answer was right; return why that cannot be said."""
    second = hit.read_again()
    if second.reason:
        return second.reason
    if second.found != hit.comparable(hit.content):
        if not conf.CACHE.IN_FLIGHT_MARKS:
            time.sleep(SETTLING)
        third = hit.read_again()
        if not hit.is_unwritten():
            return "written meanwhile"
        if third.reason or third.found != second.found:
            return third.reason or "it differs each time"
        hit.count("stale")
        _log(hit)
    hit.count("audited")
    return ""


def _log(hit: Hit) -> None:
    now = time.monotonic()
    if now - _logged.get(hit.site.name, float("-inf")) < 60:
        return
    if len(_logged) >= MOST_WAITING:
        _logged.clear()
    _logged[hit.site.name] = now
    logger.error(
        "Stale: an answer of %s from the cache differs from the database's, and nothing that it "
        "depends on was written since (entry %s). Something writes past Django (call invalidate() "
        "after it), or the answer is made of more than the database. If it is neither, it is a "
        "defect of django-querybudget: please report it.",
        hit.site.name, hit.key,
    )  # fmt: skip


def _leaves(frozen: Any) -> Iterator[Any]:
    """Return the values in it: rows without an order may come in any."""
    inner = frozen.values() if isinstance(frozen, dict) else frozen
    if not isinstance(frozen, dict | list):
        yield frozen
        return
    for each in inner:
        yield from _leaves(each)


@contextmanager
def _own_connections() -> Iterator[None]:
    """Close again what was opened in the block: the request's own may be closed already."""
    before = [
        each for each in connections.all(initialized_only=True) if each.connection is not None
    ]
    try:
        yield
    finally:
        for each in connections.all(initialized_only=True):
            if not any(each is other for other in before) and not each.in_atomic_block:
                each.close()


# Requests


def _began(**_: object) -> None:
    _waiting.in_request, _waiting.hits = True, []


def _finished(**_: object) -> None:
    hits = getattr(_waiting, "hits", [])
    _waiting.in_request, _waiting.hits = False, []
    for hit in hits:
        _compare(hit)


def _follow_requests(**_: object) -> None:
    """Begin to look where requests begin and end, if there is an audit."""
    restart()
    if conf.CACHE.AUDIT:
        request_started.connect(_began, dispatch_uid="querybudget-audit")
        request_finished.connect(_finished, dispatch_uid="querybudget-audit")
    else:
        request_started.disconnect(dispatch_uid="querybudget-audit")
        request_finished.disconnect(dispatch_uid="querybudget-audit")


_follow_requests()
setting_changed.connect(_follow_requests, dispatch_uid="querybudget-audit")
