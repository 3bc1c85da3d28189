"""``Cache-Status`` (RFC 9211): what the cache did, told to who may see our headers."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from asgiref.sync import sync_to_async
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from django_querybudget.conf import conf
from django_querybudget.conf.headers import may_see_headers

__all__ = ["CacheStatus", "told", "told_async", "untouched_session"]

R = TypeVar("R")

logger = logging.getLogger("django_querybudget")

NAME = "django-querybudget"
_LONGEST = 200  # of a detail, in characters


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheStatus:
    """What became of one request to a cached view, in the words of RFC 9211."""

    hit: bool = False
    """Whether the answer came from the cache."""
    fwd: str = ""
    """Why it did not, or not only: ``"miss"``, ``"bypass"``, ``"method"``, ``"stale"``."""
    stored: bool = False
    """Whether the view's answer was stored."""
    ttl: int | None = None
    """For how long the answer may be kept from now on, in seconds; None for no limit."""
    detail: str = ""
    """The reason, for a person."""

    @property
    def status(self) -> CacheStatus:
        """It is known already: see :class:`Told`."""
        return self

    def __str__(self) -> str:
        parts = [NAME]
        if self.hit:
            parts.append("hit")
        if self.fwd:
            parts.append(f"fwd={self.fwd}")
        if self.stored:
            parts.append("stored")
        if self.ttl is not None:
            parts.append(f"ttl={self.ttl}")
        if self.detail:
            parts.append(f"detail={_quoted(self.detail)}")
        return "; ".join(parts)


class Told(Protocol):
    """What knows what became of a request."""

    @property
    def status(self) -> CacheStatus:
        """It, in the words of RFC 9211; asked for where it may be seen."""


def told(response: R, request: HttpRequest, found: Told) -> R:
    """Return ``response``, with the header if who sent ``request`` may see it."""
    if not isinstance(response, HttpResponseBase):
        return response  # Django says what is wrong
    try:
        if _may_see(request):
            # The caches before us, seen from the view, come first: RFC 9211, section 2.
            status = found.status
            before = response.headers.get("Cache-Status")
            response.headers["Cache-Status"] = f"{before}, {status}" if before else str(status)
    except Exception:
        logger.exception("django_querybudget could not send Cache-Status.")
    return response


async def told_async(response: R, request: HttpRequest, found: Told) -> R:
    """As :func:`told`, with the project's callable on a thread, where it may query."""
    if callable(conf.HEADERS):
        return await sync_to_async(told)(response, request, found)
    return told(response, request, found)


def _may_see(request: HttpRequest) -> bool:
    if not callable(conf.HEADERS):
        return may_see_headers(request)
    with untouched_session(request):
        return may_see_headers(request)


class untouched_session:  # noqa: N801  # a context manager; no generator: each hit enters it
    """Let what a block reads of the session be no reading of the view's.

    ``SessionMiddleware`` adds ``Vary: Cookie`` to the response where the session was read.
    """

    __slots__ = ("_accessed", "_session")

    def __init__(self, request: HttpRequest) -> None:
        self._session: Any = request.__dict__.get("session")

    def __enter__(self) -> None:
        self._accessed = getattr(self._session, "accessed", None)

    def __exit__(self, *_: object) -> None:
        if self._accessed is not None:
            self._session.accessed = self._accessed


def _quoted(text: str) -> str:
    """Return a String of RFC 8941: printable ASCII between quotes."""
    plain = "".join(each if " " <= each <= "~" else "?" for each in text[:_LONGEST])
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'
