"""Serving a view from the cache: the question that a request asks, and the answer's way.

what of the request is in the key → tokens and entry, at once → the answer, or the view is run:
under a lease, with its request observed and its statements read, and what it returns is stored if
nothing it looked at is missing from the key.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import DisallowedHost
from django.http import HttpRequest
from django.utils import timezone, translation

from django_querybudget.cache import sessions, stats, tags
from django_querybudget.cache.keys import Unkeyable, entry_key, spelled
from django_querybudget.cache.lazy import unwrapped
from django_querybudget.cache.payload.models import Changed
from django_querybudget.cache.reading.codecs import Codec
from django_querybudget.cache.reading.fills import Fill, filling
from django_querybudget.cache.reading.threads import watched
from django_querybudget.cache.reading.through import (
    MISS,
    Looked,
    Question,
    begun,
    keep,
    look_up,
)
from django_querybudget.cache.stores.chosen import store_for

from .answers import Answer, answer_of, refusal_of, vary_of
from .inputs import Inputs, is_absent, observed
from .varying import Untellable, Varying, holds_more, user_of

__all__ = ["Options", "Served", "bypassed", "served"]

logger = logging.getLogger("django_querybudget")

_SAFE = ("GET", "HEAD")

LEASE = 1.0
"""How long one request keeps others from computing what it computes, in seconds."""

WAIT = 2.0
"""How long a request waits for another's answer, in seconds."""

POLL = 0.02
"""How often it looks, in seconds."""

UNSTORED = 10.0
"""For how long nobody waits for a view whose answer could not be stored, in seconds."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a view is cached; ``timeout`` in seconds."""

    timeout: float | None
    varying: Varying
    tags: frozenset[str]
    cache: str
    ignore_params: tuple[str, ...] = ()


# What each view was found to vary on by its responses, in this process.
_varies: dict[str, frozenset[str]] = {}
_MOST_VIEWS = 4096
_told: set[tuple[str, str]] = set()
_unstored: dict[str, float] = {}


@dataclass(slots=True)
class Served:
    """One request to a cached view."""

    name: str
    options: Options
    request: HttpRequest
    around: str
    question: Question
    looked: Looked
    fill: Fill | None = None
    inputs: Inputs | None = None

    leads: bool = False
    _lease: str = ""
    """Whether this request holds the lease: others wait for what it computes."""

    @property
    def response(self) -> Any:
        """The stored answer as a response; None where the view has to run."""
        found = self.looked.found
        return None if found is MISS else found.response(self.request)

    def begin(self) -> Fill:
        """Take the tokens under which the answer is computed."""
        if self.fill is None:
            self.fill = begun(self.question, self.looked)
            self.fill.needs_query = False
            self.fill.pins_by_text = True
            self.fill.found = True
        return self.fill

    def spoil(self, reason: str) -> None:
        """Do not store the answer."""
        self.begin().spoil(reason)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the view in the block: what it reads is noted."""
        fill = self.begin()
        known = {*self.options.varying.names, *(f"header:{each}" for each in self._varied())}
        with (
            watched(fill),
            filling(fill),
            observed(self.request, known) as inputs,
        ):
            if self.inputs is not None:  # the view has run, and its response is rendered now
                inputs.read |= self.inputs.read
                inputs.absent |= self.inputs.absent
            self.inputs = inputs
            user = None
            if "user" in self.options.varying.names:
                user = user_of(self.request)
            if user is not None and holds_more(user):
                fill.spoil("the user holds what was read before the view")
            yield

    def _varied(self) -> frozenset[str]:
        return _varies.get(self.name, frozenset())

    def done(self, response: Any) -> None:
        """Store the response that the view has returned, rendered, if that is right."""
        fill, inputs = self.fill, self.inputs
        if fill is None or inputs is None:
            return
        varied = vary_of(response)
        reason = refusal_of(
            self.request, response, varies_on_user="user" in self.options.varying.names
        )
        unseen = sorted(each for each in inputs.read if not _is_covered(each, varied))
        if reason is None and unseen:
            reason = f"the view read {', '.join(unseen)}"
        if reason is None and fill.reason is None and not varied <= self._varied():
            # The key does not hold these headers yet: the next request's will.
            _learn(self.name, varied)
            self.question = _question(self.name, self.options, self.request, self.around)
        if reason is not None:
            fill.spoil(reason)
        stored = keep(self.question, fill, (response, frozenset(inputs.absent)))
        if not stored:
            _unstored[self.name] = time.monotonic()
            if fill.reason is not None:
                _tell_once(self.name, fill.reason)

    # Many that ask at once

    def waits(self) -> Iterator[float]:
        """Yield, in seconds, for how long to wait, until it is this request's turn.

        It is where the answer is there; where this request has the lease; where the view's answers
        are not stored; and after ``WAIT`` seconds, whatever the others do.
        """
        store = store_for(self.options.cache)
        until = time.monotonic() + WAIT
        while self.looked.found is MISS:
            if time.monotonic() - _unstored.get(self.name, float("-inf")) < UNSTORED:
                return
            if store.take(self.lease, LEASE):
                self.leads, self._lease = True, self.lease
                return
            if time.monotonic() >= until:
                return
            yield POLL
            self.looked = look_up(self.question)

    @property
    def lease(self) -> str:
        """The key under which one process says that it computes the answer."""
        return f"{self.question.key}:lease"

    def release(self) -> None:
        """Let others compute, if this request kept them from it."""
        if self.leads:
            self.leads = False
            store_for(self.options.cache).drop(self._lease)


def served(  # noqa: PLR0911  # one way not to cache after another
    name: str, options: Options, request: HttpRequest, given: Any = None
) -> Served | None:
    """Look for the answer to ``request``; None, with the reason counted, if it must not be cached.

    ``given`` is what the view is called with, where that is not Django's request itself.
    An answer to ``HEAD`` is the one to ``GET``, whose body Django leaves out.
    """
    if request.method not in _SAFE or options.timeout == 0:
        return None
    try:
        around = _around(given, request, options)
        question = _question(name, options, request, around)
    except Untellable as reason:
        bypassed(name, str(reason))
        return None
    except sessions.Unknown as reason:
        bypassed(name, str(reason))
        return None
    except DisallowedHost:
        return None  # which the view meets again, or nobody asks
    looked = look_up(question)
    if looked.refused:
        bypassed(name, looked.refused)
        return None
    if looked.found is MISS and request.method == "HEAD":
        return None  # what a view does for HEAD may be less than for GET
    return Served(name, options, request, around, question, looked)


def bypassed(name: str, reason: str) -> None:
    """Count a request that could not be cached right."""
    stats.count_bypass(f"view: {reason}")
    _tell_once(name, reason)


def _is_covered(name: str, varied: frozenset[str]) -> bool:
    """Whether an input is part of a header that the response says it varies on."""
    kind, _, rest = name.partition(":")
    if kind == "header":
        return rest in varied
    return "cookie" in varied and (kind == "cookie" or name == "all cookies")


def _tell_once(name: str, reason: str) -> None:
    if (name, reason) not in _told:
        if len(_told) >= _MOST_VIEWS:
            _told.clear()
        _told.add((name, reason))
        logger.debug("The answer of %s was not cached: %s.", name, reason)


def _learn(name: str, varied: frozenset[str]) -> None:
    if len(_varies) >= _MOST_VIEWS:
        _varies.clear()
    _varies[name] = _varies.get(name, frozenset()) | varied


def _around(given: Any, request: HttpRequest, options: Options) -> str:
    """Return what Django REST framework made of a request before its view's method is called.

    Raises :class:`Untellable`.
    """
    if given is None or given is request:
        return ""
    own = vars(given)
    user = unwrapped(own.get("_user"))
    if "user" not in options.varying.names and getattr(user, "is_authenticated", False):
        raise Untellable("the user was looked up before the view, and vary_on leaves it out")
    try:
        return spelled((own.get("_auth"), own.get("accepted_media_type"), own.get("version")))
    except Unkeyable as error:
        raise Untellable(f"request.auth or request.version: {error}") from error


def _question(name: str, options: Options, request: HttpRequest, around: str) -> Question:
    """Return what a request asks. Raises :class:`Untellable` and :class:`sessions.Unknown`."""
    known = sessions.everywhere()
    headers = [
        f"{each}={spelled(request.headers.get(each))}"
        for each in sorted(_varies.get(name, frozenset()))
    ]
    urlconf = getattr(request, "urlconf", None)
    try:
        parts = (
            "view",
            name,
            request.scheme or "",
            request.get_host(),
            request.path,
            _query_string(request, options.ignore_params),
            spelled(urlconf if urlconf is None or isinstance(urlconf, str) else repr(urlconf)),
            translation.get_language() or "",
            str(timezone.get_current_timezone_name()),
            options.varying.spelled(request),
            around,
            *headers,
        )
    except Unkeyable as error:
        raise Untellable(str(error)) from error
    key = entry_key(*parts, *(f"{alias} {text}" for alias, text in sorted(known.items())))

    def thaw(answer: Answer) -> Answer:
        if not all(is_absent(request, each) for each in answer.conditions):
            raise Changed(name)
        return answer

    return Question(
        key=key,
        shape=key,
        expected=(),
        aliases=(),
        sessions=known,
        codec=Codec("view", _freeze, Answer.thawed, thaw),
        found=lambda _: True,
        timeout=options.timeout,
        cache=options.cache,
        # Its own tag besides: invalidate("view:<name>") drops all answers of one view.
        user_tags=frozenset(map(tags.user_tag, (*options.tags, f"view:{name}"))),
    )


def _freeze(answered: tuple[Any, frozenset[str]]) -> Any:
    response, conditions = answered
    return answer_of(response, conditions).frozen()


def _query_string(request: HttpRequest, ignored: Collection[str]) -> str:
    text: str = request.META.get("QUERY_STRING", "")
    if not ignored or not text:
        return text
    kept = [each for each in text.split("&") if not _is_ignored(each.partition("=")[0], ignored)]
    return "&".join(kept)


def _is_ignored(name: str, ignored: Collection[str]) -> bool:
    return any(
        name == each or (each.endswith("*") and name.startswith(each[:-1])) for each in ignored
    )
