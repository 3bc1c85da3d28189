"""What of a request is in an answer's key: the question that a cached view is asked."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from time import perf_counter
from typing import Any

from django.http import HttpRequest
from django.utils import timezone, translation

from django_querybudget.cache import sessions, tags
from django_querybudget.cache.keys import Unkeyable, entry_key, spelled
from django_querybudget.cache.lazy import unwrapped
from django_querybudget.cache.payload.models import Changed
from django_querybudget.cache.reading.codecs import Codec
from django_querybudget.cache.reading.through import Question, noted

from .answers import Answer, answer_of, status_and_body
from .inputs import is_absent
from .varying import Untellable, Varying

__all__ = ["MOST_VIEWS", "Options", "around_of", "learn", "question_of", "varied_by"]


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
MOST_VIEWS = 4096
"""How many views are remembered."""


def varied_by(name: str) -> frozenset[str]:
    """Return the headers that the view is known to vary on."""
    return _varies.get(name, frozenset())


def learn(name: str, varied: frozenset[str]) -> None:
    """Note headers of a response's ``Vary``: they are part of the view's keys from now on."""
    if len(_varies) >= MOST_VIEWS:
        _varies.clear()
    _varies[name] = _varies.get(name, frozenset()) | varied


def around_of(given: Any, request: HttpRequest, options: Options) -> str:
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


def question_of(name: str, options: Options, request: HttpRequest, around: str) -> Question:
    """Return what a request asks. Raises :class:`Untellable` and :class:`sessions.Unknown`."""
    asked_at = perf_counter()
    known = sessions.everywhere()
    urlconf = getattr(request, "urlconf", None)
    try:
        parts = [
            "view",
            name,
            request.scheme or "",
            request.get_host(),
            request.path,
            _query_string(request, options.ignore_params),
            "" if urlconf is None else spelled(_urlconf(urlconf)),
            translation.get_language() or "",
            str(timezone.get_current_timezone_name()),
            options.varying.spelled(request),
            around,
        ]
        if varied := varied_by(name):
            parts += [f"{each}={spelled(request.headers.get(each))}" for each in sorted(varied)]
    except Unkeyable as error:
        raise Untellable(str(error)) from error
    parts += [f"{alias} {text}" for alias, text in sorted(known.items())]
    key = entry_key(*parts)

    def thaw(answer: Answer) -> Answer:
        for each in answer.conditions:
            if not is_absent(request, each):
                raise Changed(name)
        return answer

    kind = f"view {name}"
    return Question(
        key=key,
        shape=key,
        kind=kind,
        expected=noted(kind),
        aliases=(),
        sessions=known,
        site=f"view {name}",
        asked_at=asked_at,
        codec=Codec("view", _freeze, Answer.thawed, thaw, status_and_body),
        found=lambda _: True,
        timeout=options.timeout,
        cache=options.cache,
        user_tags=_tags_of(name, options.tags),
    )


@lru_cache(maxsize=MOST_VIEWS)
def _tags_of(name: str, own: frozenset[str]) -> frozenset[str]:
    # Its own tag besides: invalidate("view:<name>") drops all answers of one view.
    return frozenset(map(tags.user_tag, (*own, f"view:{name}")))


def _urlconf(urlconf: Any) -> str:
    return urlconf if isinstance(urlconf, str) else repr(urlconf)


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
