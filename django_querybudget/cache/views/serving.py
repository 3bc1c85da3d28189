"""Serving a view from the cache: the question that a request asks, and the answer's way.

what of the request is in the key → tokens and entry, at once → the answer, or the view is run:
under a lease, with its request observed and its statements read, and what it returns is stored if
nothing it looked at is missing from the key.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from asgiref.sync import async_to_sync
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest

from django_querybudget.cache import sessions, stats
from django_querybudget.cache.reading import audit
from django_querybudget.cache.reading.fills import Fill, filling
from django_querybudget.cache.reading.leases import Turn
from django_querybudget.cache.reading.threads import watched
from django_querybudget.cache.reading.through import (
    MISS,
    begun,
    keep,
    look_up,
    to_be_audited,
)
from django_querybudget.cache.sites import site_of
from django_querybudget.cache.stores.pulse import PULSE
from django_querybudget.cache.surrogates import add_header
from django_querybudget.conf import conf

from .answers import refusal_of, vary_of
from .inputs import Inputs, observed
from .request_key import MOST_VIEWS, Options, around_of, learn, question_of, varied_by
from .varying import Untellable, holds_more, user_of

__all__ = ["Options", "Served", "bypassed", "served"]

logger = logging.getLogger("django_querybudget")

_SAFE = ("GET", "HEAD")

_told: set[tuple[str, str]] = set()


@dataclass(slots=True, kw_only=True)
class Served(Turn):
    """One request to a cached view."""

    name: str
    options: Options
    request: HttpRequest
    around: str
    fill: Fill | None = None
    inputs: Inputs | None = None

    @property
    def is_stale(self) -> bool:
        """Whether the response is no longer true, and another request makes it anew."""
        return self.looked.is_stale and self.looked.found is not MISS

    @property
    def response(self) -> Any:
        """The stored answer as a response; None where the view has to run."""
        found = self.looked.found
        return None if found is MISS else found.response(self.request)

    def audit(self, view: Callable[[], Any], given: Any = None) -> None:
        """Have the view run again for this hit, later, and compared."""
        to_be_audited(self.question, self.looked, audit.Again(lambda: self._again(view, given)))

    def _again(self, view: Callable[[], Any], given: Any) -> None:
        question = question_of(self.name, self.options, self.request, self.around)
        other = Served(
            question, look_up(question), name=self.name, options=self.options,
            request=self.request, around=self.around,
        )  # fmt: skip
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
        known = {*self.options.varying.names, *(f"header:{each}" for each in varied_by(self.name))}
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
        if reason is None and fill.reason is None and not varied <= varied_by(self.name):
            # The key does not hold these headers yet: the next request's will.
            learn(self.name, varied)
            self.question = question_of(self.name, self.options, self.request, self.around)
        if reason is not None:
            fill.spoil(reason)
        header = conf.CACHE.SURROGATE_KEYS
        if header is not None and fill.reason is None:
            own = response.headers.get(header)
            add_header(response, header, fill.dependencies() - {PULSE})
            stored = keep(self.question, fill, (response, frozenset(inputs.absent)))
            if not stored:  # nor may it be elsewhere
                _put_back(response, header, own)
        else:
            stored = keep(self.question, fill, (response, frozenset(inputs.absent)))
        if not stored:
            self.not_stored()
            if fill.reason is not None:
                _tell_once(self.name, fill.reason)


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
        around = around_of(given, request, options)
        question = question_of(name, options, request, around)
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
        if looked.is_kept and not looked.is_stale:
            looked = looked.given()  # a GET makes it anew
        else:
            return None  # what a view does for HEAD may be less than for GET
    return Served(question, looked, name=name, options=options, request=request, around=around)


async def _awaited(response: Any) -> Any:
    return await response


def bypassed(name: str, reason: str) -> None:
    """Count a request that could not be cached right."""
    stats.count_bypass(f"view: {reason}")
    site_of(f"view {name}").bypassed(reason)
    _tell_once(name, reason)


def _put_back(response: Any, header: str, value: str | None) -> None:
    del response.headers[header]
    if value is not None:
        response.headers[header] = value


def _is_covered(name: str, varied: frozenset[str]) -> bool:
    """Whether an input is part of a header that the response says it varies on."""
    kind, _, rest = name.partition(":")
    if kind == "header":
        return rest in varied
    return "cookie" in varied and (kind == "cookie" or name == "all cookies")


def _tell_once(name: str, reason: str) -> None:
    if (name, reason) not in _told:
        if len(_told) >= MOST_VIEWS:
            _told.clear()
        _told.add((name, reason))
        logger.debug("The answer of %s was not cached: %s.", name, reason)
