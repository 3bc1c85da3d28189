"""What of a request is in an answer's key: the question that a cached view is asked."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from time import perf_counter
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections
from django.http import HttpRequest, QueryDict
from django.utils import timezone, translation

from django_querybudget.cache import sessions, tags
from django_querybudget.cache.keys import Unkeyable, entry_key, spelled
from django_querybudget.cache.payload.models import Changed
from django_querybudget.cache.reading.codecs import Codec
from django_querybudget.cache.reading.question import Question
from django_querybudget.cache.reading.remembered import noted
from django_querybudget.cache.reading.routes import aliases_for
from django_querybudget.conf import conf

from .absent import is_absent
from .answers import Answer, answer_of, status_and_body
from .called import PLAIN, Call
from .inputs import Inputs
from .learned import MOST_VIEWS, reads_from, routed_of, varied_by
from .varying import Untellable, Varying

__all__ = ["Asked", "ViewOptions", "asked_of"]


@dataclass(frozen=True, kw_only=True)
class ViewOptions:
    """How a view is cached; ``timeout`` in seconds."""

    timeout: float | None
    varying: Varying
    tags: frozenset[str]
    cache: str
    ignore_params: tuple[str, ...] = ()
    refresh: float | None = None


@dataclass(slots=True)
class Asked:
    """What a request asks of a view, as it was before the view ran."""

    name: str
    options: ViewOptions
    request: HttpRequest
    parts: tuple[str, ...]
    """What is in the key of each request to any view."""
    asked_at: float
    """When, on the process' own clock, in seconds."""
    headers: frozenset[str] = frozenset()
    """The headers in the key of the question that was asked last, in small letters."""
    routed: frozenset[str] = frozenset()
    """The models whose databases, by the routers, are in it."""

    def question(self, known: Mapping[str, str] | None = None) -> Question:
        """Return it with what the view is known to vary on and to read from.

        ``known`` are sessions that were read already, by alias. Raises :class:`Untellable` and
        :class:`sessions.Unknown`.
        """
        name, request, options = self.name, self.request, self.options
        parts = [*self.parts]
        self.headers = varied = varied_by(name)
        if varied:
            parts += [f"{each}={spelled(request.headers.get(each))}" for each in sorted(varied)]
        self.routed = routed = routed_of(name)
        held = {} if known is None else dict(known)
        for alias in sorted(aliases_for(routed).union(reads_from(name, DEFAULT_DB_ALIAS))):
            if alias not in held:
                held[alias] = sessions.text_of(connections[alias])
            parts.append(f"{alias} {held[alias]}")

        def thaw(answer: Answer) -> Answer:
            for each in answer.conditions:
                if not is_absent(request, each):
                    raise Changed(name)
            return answer

        key, kind = entry_key(*parts), f"view {name}"
        return Question(
            key=key,
            shape=key,
            kind=kind,
            expected=noted(kind),
            aliases=(),
            sessions=held,
            site=kind,
            asked_at=self.asked_at,
            codec=Codec("view", _freeze, Answer.thawed, thaw, status_and_body),
            found=lambda _: True,
            timeout=options.timeout,
            refresh=options.refresh,
            cache=options.cache,
            user_tags=_tags_of(name, options.tags),
        )


def asked_of(name: str, options: ViewOptions, request: HttpRequest, call: Call = PLAIN) -> Asked:
    """Return what a request asks. Raises :class:`Untellable`.

    ``call`` is what the view is called with besides it.
    """
    asked_at = perf_counter()
    urlconf, own = getattr(request, "urlconf", None), request.__dict__
    try:
        parts = (
            "view",
            name,
            request.scheme or "",
            request.get_host(),
            request.path,
            request.path_info,
            _query_string(request, options.ignore_params),
            request.META.get("CONTENT_TYPE", ""),  # its charset is that of the query string, too
            "" if urlconf is None else spelled(_urlconf(urlconf)),
            translation.get_language() or "",
            own.get("LANGUAGE_CODE") or "",  # of a middleware that has activated another
            own.get("_encoding") or "",
            _replaced_query(own, request.META, options.ignore_params),
            str(timezone.get_current_timezone_name()),
            options.varying.spelled(request),
            call.spelled(request, holds_user="user" in options.varying.names),
            conf.CACHE.SURROGATE_KEYS or "",
        )
    except Unkeyable as error:
        raise Untellable(str(error)) from error
    return Asked(name, options, request, parts, asked_at)


@lru_cache(maxsize=MOST_VIEWS)
def _tags_of(name: str, own: frozenset[str]) -> frozenset[str]:
    # Its own tag besides: invalidate("view:<name>") drops all answers of one view.
    return frozenset(map(tags.user_tag, (*own, f"view:{name}")))


def _urlconf(urlconf: Any) -> str:
    return urlconf if isinstance(urlconf, str) else repr(urlconf)


def _freeze(answered: tuple[Any, Inputs]) -> Any:
    response, inputs = answered
    made = answer_of(response, frozenset(inputs.absent), used_session=inputs.used_session)
    return made.frozen()


def _query_string(request: HttpRequest, ignored: Collection[str]) -> str:
    return _without(request.META.get("QUERY_STRING", ""), ignored)


def _replaced_query(
    own: Mapping[str, Any], meta: Mapping[str, Any], ignored: Collection[str]
) -> str:
    """Return the parameters that a middleware has put in place of the query string's, if any."""
    read = own.get("GET")
    if read is None or not (read or meta.get("QUERY_STRING")):
        return ""
    if not isinstance(read, QueryDict):
        return spelled(read)
    text = read.urlencode()
    sent = QueryDict(meta.get("QUERY_STRING", ""), encoding=read.encoding).urlencode()
    return "" if text == sent else f"?{_without(text, ignored)}"


def _without(text: str, ignored: Collection[str]) -> str:
    if not ignored or not text:
        return text
    kept = [each for each in text.split("&") if not _is_ignored(each.partition("=")[0], ignored)]
    return "&".join(kept)


def _is_ignored(name: str, ignored: Collection[str]) -> bool:
    return any(
        name == each or (each.endswith("*") and name.startswith(each[:-1])) for each in ignored
    )
