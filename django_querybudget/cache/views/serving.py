"""Serving a view from the cache: the question that a request asks, and the answer's way.

what of the request is in the key → tokens and entry, at once → the answer, or the view is run:
under a lease, with its request observed and its statements read, and what it returns is stored if
nothing it looked at is missing from the key.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from asgiref.sync import async_to_sync, sync_to_async
from django.core.exceptions import DisallowedHost
from django.db import connections
from django.http import HttpRequest

from django_querybudget.cache import sessions
from django_querybudget.cache.reading import audit
from django_querybudget.cache.reading.fills import Fill, filling, session_refusal
from django_querybudget.cache.reading.keeping import begun
from django_querybudget.cache.reading.leases import Turn
from django_querybudget.cache.reading.routes import aliases_for
from django_querybudget.cache.reading.threads import watched
from django_querybudget.cache.reading.through import MISS, look_up, to_be_audited
from django_querybudget.cache.stores.pulse import PULSE
from django_querybudget.cache.surrogates import add_header
from django_querybudget.conf import conf

from .absent import is_absent
from .answers import refusal_of, vary_of
from .bypasses import bypassed, tell_once
from .called import PLAIN, Call
from .inputs import Inputs, observed
from .learned import learn
from .request_key import Asked, ViewOptions, asked_of
from .telling import CacheStatus, untouched_session
from .varying import Untellable, holds_more, user_of

__all__ = ["Served", "ViewOptions", "served", "waited"]

logger = logging.getLogger("django_querybudget")

_SAFE = ("GET", "HEAD")


@dataclass(slots=True, kw_only=True)
class Served(Turn):
    """One request to a cached view."""

    asked: Asked
    fill: Fill | None = None
    inputs: Inputs | None = None
    stored: bool = False
    """Whether the view's answer was stored."""
    unseen: list[str] = field(default_factory=list)
    """What the view read of the request that is not in the key."""

    def has(self, name: str) -> bool:
        """Whether the request has an input."""
        with untouched_session(self.request):
            return not is_absent(self.request, name)

    @property
    def is_stale(self) -> bool:
        """Whether the response is no longer true, and another request makes it anew."""
        return self.looked.is_stale and self.looked.found is not MISS

    @property
    def name(self) -> str:
        """The view's name."""
        return self.asked.name

    @property
    def options(self) -> ViewOptions:
        """How the view is cached."""
        return self.asked.options

    @property
    def request(self) -> HttpRequest:
        """Django's request."""
        return self.asked.request

    @property
    def response(self) -> Any:
        """The stored answer as a response; None where the view has to run."""
        found = self.looked.found
        return None if found is MISS else found.response(self.request)

    @property
    def status(self) -> CacheStatus:
        """What became of the request, once that is known."""
        found, timeout = self.looked.found, self.options.timeout
        whole = None if timeout is None else int(timeout)
        if found is not MISS:
            age = int(time.time() - found.stored_at)
            left = None if whole is None else max(0, whole - age)
            if self.is_stale:
                return CacheStatus(fwd="stale", detail="served while another makes it anew")
            return CacheStatus(hit=True, ttl=left)
        why = "stale" if self.looked.is_stale else "miss"
        if self.stored:
            return CacheStatus(fwd=why, stored=True, ttl=whole)
        return CacheStatus(fwd=why, detail=(self.fill and self.fill.reason) or "")

    def audit(self, view: Callable[[], Any], given: Any = None) -> None:
        """Have the view run again for this hit, later, and compared."""
        to_be_audited(self.question, self.looked, audit.Again(lambda: self._again(view, given)))

    def _again(self, view: Callable[[], Any], given: Any) -> None:
        asked = replace(self.asked, asked_at=time.perf_counter())
        question = asked.question()
        other = Served(question, look_up(question), asked=asked)
        with other.running():
            response = view()
            if inspect.isawaitable(response):
                response = async_to_sync(_awaited)(response)
        if getattr(response, "is_rendered", True) is False:
            own = (getattr(given, "parser_context", None) or {}).get("view")
            if own is not None:  # REST framework's, which says how to render
                response = own.finalize_response(given, response, *own.args, **own.kwargs)
            with other.running():
                response = response.render()
        other.done(response)

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
        known = {*self.options.varying.names, *(f"header:{each}" for each in self.asked.headers)}
        user = user_of(self.request) if "user" in known else None
        if user is not None and holds_more(user):
            fill.spoil("the user holds what was read before the view")
        with (
            watched(fill),
            filling(fill),
            observed(self.request, known) as inputs,
        ):
            if self.inputs is not None:  # the view has run, and its response is rendered now
                inputs.read |= self.inputs.read
                inputs.absent |= self.inputs.absent
                inputs.negotiated |= self.inputs.negotiated
                inputs.used_session |= self.inputs.used_session
            self.inputs = inputs
            yield

    def done(self, response: Any) -> None:
        """Store the response that the view has returned, rendered, if that is right."""
        if self.fill is None or self.inputs is None:
            return
        try:
            self.stored = self._kept(response, self.fill, self.inputs)
        except Exception:
            # A defect of ours must not become the host's.
            logger.exception("django_querybudget could not store the answer of %s.", self.name)
        if not self.stored:
            self.not_stored(self.unseen)
            if self.fill.reason is not None:
                tell_once(self.name, self.fill.reason)

    def _kept(self, response: Any, fill: Fill, inputs: Inputs) -> bool:
        reason = refusal_of(
            self.request, response, varies_on_user="user" in self.options.varying.names
        )
        if reason is None:
            varied = vary_of(response) | inputs.negotiated
            self.unseen = inputs.unseen(varied)
            if self.unseen:
                reason = f"the view read {', '.join(self.unseen)}"
            else:
                self._learn(varied, fill)
        if reason is not None:
            fill.spoil(reason)
        answer = response, inputs
        header = conf.CACHE.SURROGATE_KEYS
        if header is None or fill.reason is not None:
            return self.kept(fill, answer)
        own = response.headers.get(header)
        add_header(response, header, fill.dependencies() - {PULSE})
        if self.kept(fill, answer):
            return True
        del response.headers[header]  # nothing else may keep it either
        if own is not None:
            response.headers[header] = own
        return False

    def _learn(self, varied: frozenset[str], fill: Fill) -> None:
        """Ask the question again with what the key did not hold yet; the next request's will."""
        held = self.question.sessions
        routed = frozenset() if fill.routes is None else fill.routes.labels
        others = fill.aliases - held.keys()
        if varied <= self.asked.headers and not others and routed <= self.asked.routed:
            return
        if others and routed:
            others = others - aliases_for(routed)
        learn(self.name, varied=varied, aliases=others, routed=routed)
        for alias in fill.aliases - held.keys():
            if reason := session_refusal(connections[alias], {}):
                fill.spoil(reason)
        if fill.reason is None:
            try:
                self.question = self.asked.question(held)
            except (Untellable, sessions.Unknown) as error:
                fill.spoil(str(error))


async def waited(found: Served) -> None:
    """Wait until it is this request's turn, and block no loop."""
    waits = found.waits()
    while (seconds := await sync_to_async(_next)(waits)) is not None:  # noqa: ASYNC110 - another process computes: no event to wait for
        await asyncio.sleep(seconds)  # another process computes


def _next(waits: Iterator[float]) -> float | None:
    return next(waits, None)


def served(
    name: str, options: ViewOptions, request: HttpRequest, call: Call = PLAIN
) -> Served | CacheStatus:
    """Look for the answer to ``request``; where it must not be cached, return that.

    ``call`` is what the view is called with besides it.
    An answer to ``HEAD`` is the one to ``GET``, whose body Django leaves out.
    """
    method = request.method
    # A middleware may take a POST for a GET.
    if method not in _SAFE or request.META.get("REQUEST_METHOD", method) not in _SAFE:
        return CacheStatus(fwd="method")
    if options.timeout == 0:
        return CacheStatus(fwd="bypass", detail="its timeout is 0")
    with untouched_session(request):
        return _served(name, options, request, call)


def _served(  # noqa: PLR0911  # one way not to cache after another
    name: str, options: ViewOptions, request: HttpRequest, call: Call
) -> Served | CacheStatus:
    try:
        asked = asked_of(name, options, request, call)
        question = asked.question()
    except (Untellable, sessions.Unknown) as reason:
        return bypassed(name, str(reason))
    except DisallowedHost:  # which the view meets again, or nobody asks
        return CacheStatus(fwd="bypass", detail="a host that is not allowed")
    except Exception as error:
        # What a project's user or session raises is the view's to meet, if it asks for them.
        logger.exception("django_querybudget could not make the key of an answer of %s.", name)
        return bypassed(name, f"{type(error).__name__} while its key was made")
    looked = look_up(question)
    if looked.refused:
        return bypassed(name, looked.refused)
    if looked.found is MISS and request.method == "HEAD":
        if looked.is_kept and not looked.is_stale:
            return Served(question, looked.given(), asked=asked)  # a GET makes it anew
        # What a view does for HEAD may be less than for GET.
        return CacheStatus(fwd="miss", detail="HEAD stores nothing")
    return Served(question, looked, asked=asked)


async def _awaited(response: Any) -> Any:
    return await response
