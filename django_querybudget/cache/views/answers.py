"""Responses as what is stored: status, headers and body, and made again from them."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseNotModified
from django.http.response import HttpResponseBase, ResponseHeaders
from django.utils.cache import get_conditional_response
from django.utils.http import parse_http_date_safe

__all__ = [
    "CONDITIONS",
    "Answer",
    "answer_of",
    "refusal_of",
    "status_and_body",
    "vary_of",
]

_STATUSES = frozenset({200, 203, 204, 300, 301, 404, 410})
"""The statuses that may be stored: those that RFC 9110, section 15.1, calls cacheable by default,
less 206, 405, 414 and 501."""

CONDITIONS = ("HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE",
              "HTTP_IF_UNMODIFIED_SINCE")  # fmt: skip
"""The headers of a conditional request, in ``META``: RFC 9110, section 13.1."""

# Attributes of Django's and Django REST framework's responses that say nothing to middleware, or
# that a response made anew has.
_OWN = frozenset(
    {
        "headers", "cookies", "closed", "status_code", "_charset", "_resource_closers",
        "_handler_class", "_reason_phrase", "_container", "_has_been_logged", "template_name",
        "context_data", "using", "_post_render_callbacks", "_request", "_is_rendered", "data",
        "exception", "content_type", "accepted_renderer", "accepted_media_type",
        "renderer_context",
    }
)  # fmt: skip


# RFC 9110, section 15.4.5.
_KEPT_OF_304 = frozenset(
    {"cache-control", "content-location", "date", "etag", "expires", "last-modified", "vary"}
)


@dataclass(frozen=True, slots=True)
class Answer:
    """A response that was stored."""

    status: int
    reason: str | None
    headers: tuple[tuple[str, str], ...]
    body: bytes
    etag: str
    stored_at: float
    """When, in seconds since 1970."""
    conditions: tuple[str, ...]
    """The inputs that the request had not got, and another must not have."""
    attributes: str = ""
    """What the response carries for middleware (``xframe_options_exempt``), as JSON."""
    used_session: bool = False
    """Whether the view has read its session, or the user that comes from it."""
    checked: ResponseHeaders = field(default_factory=lambda: ResponseHeaders({}))
    """The headers as Django keeps them, of one that was stored."""

    def frozen(self) -> list[Any]:
        """Return it as JSON takes it."""
        try:
            body: Any = self.body.decode()
        except UnicodeDecodeError:
            body = [base64.b64encode(self.body).decode("ascii")]
        return [
            self.status, self.reason, self.headers, body, self.etag, self.stored_at,
            self.conditions, self.attributes, self.used_session,
        ]  # fmt: skip

    @classmethod
    def thawed(cls, frozen: Any) -> Answer:
        """Return what :meth:`frozen` wrote. Raises :class:`ValueError` for what it did not."""
        status, reason, headers, body, etag, stored_at, conditions, attributes, used = frozen
        raw = body.encode() if isinstance(body, str) else base64.b64decode(body[0], validate=True)
        pairs = tuple((str(name), str(value)) for name, value in headers)
        if not isinstance(status, int) or not isinstance(stored_at, float):
            raise ValueError("a response of another form")  # noqa: TRY004  # of stored bytes
        return cls(
            status, reason, pairs, raw, str(etag), stored_at, tuple(map(str, conditions)),
            str(attributes), bool(used), ResponseHeaders(dict(pairs)),
        )  # fmt: skip

    def response(self, request: HttpRequest) -> HttpResponse:
        """Return it as a response to ``request``: 304 where the client has it already."""
        if request.META.get("HTTP_IF_NONE_MATCH") == self.etag and self._is_current(request):
            return self._not_modified()
        made = HttpResponse(self.body, "", self.status, self.reason)
        headers = made.headers
        del headers["Content-Type"]  # some have none; those that have one are told it below
        headers._store.update(self.checked._store)  # each checked by Django, once
        if self.attributes:
            made.__dict__.update(json.loads(self.attributes))
        session: Any = request.__dict__.get("session")
        if session is not None and self.used_session:
            session.accessed = True  # as by the view: SessionMiddleware adds Vary: Cookie
        if "Cache-Control" in headers and _tells_age(made):
            headers["Age"] = str(max(0, int(time.time() - self.stored_at)))
        found: HttpResponse = conditional(request, made)
        return found

    def _is_current(self, request: HttpRequest) -> bool:
        """Whether nothing but the ETag is asked about: RFC 9110, section 13.2.2."""
        meta = request.META
        others = "HTTP_IF_MATCH" in meta or "HTTP_IF_UNMODIFIED_SINCE" in meta
        return self.status == 200 and not others

    def _not_modified(self) -> HttpResponse:
        """Return what Django answers, with no body made for it first."""
        made = HttpResponseNotModified()
        for name, value in self.headers:
            if name.lower() in _KEPT_OF_304:
                made.headers[name] = value
        return made


def status_and_body(frozen: Any) -> Any:
    """Return what of :meth:`Answer.frozen` has to be equal for two answers to be."""
    return frozen[0], frozen[3]


def conditional(request: HttpRequest, response: Any) -> Any:
    """Return ``response``, or a 304 or 412 where the request's conditions ask for it."""
    if response.status_code != 200 or not any(name in request.META for name in CONDITIONS):
        return response
    modified = response.headers.get("Last-Modified")
    return get_conditional_response(
        request,
        etag=response.headers.get("ETag"),
        last_modified=parse_http_date_safe(modified) if modified else None,
        response=response,
    )


def answer_of(response: Any, conditions: frozenset[str], *, used_session: bool) -> Answer:
    """Return a rendered response as it is to be stored; it gets its ``ETag`` now."""
    body = bytes(response.content)
    if response.status_code == 200 and not response.has_header("ETag"):
        digest = blake2b(body, digest_size=16).hexdigest()
        response.headers["ETag"] = f'"{digest}"'
    return Answer(
        status=response.status_code,
        reason=vars(response).get("_reason_phrase"),
        headers=tuple(response.headers.items()),
        body=body,
        etag=response.headers.get("ETag", ""),
        stored_at=time.time(),
        conditions=tuple(sorted(conditions)),
        attributes=json.dumps(own) if (own := _carried(response)) else "",
        used_session=used_session,
    )


def refusal_of(  # noqa: PLR0911  # one reason after another
    request: HttpRequest, response: HttpResponseBase, *, varies_on_user: bool
) -> str | None:
    """Return why a response must not be stored, None if it may."""
    if not isinstance(response, HttpResponse):
        return "a stream" if getattr(response, "streaming", False) else "no HttpResponse"
    if response.status_code not in _STATUSES:
        return f"status {response.status_code}"
    if response.cookies or response.has_header("Set-Cookie"):
        return "a cookie is set"
    if request.META.get("CSRF_COOKIE_NEEDS_UPDATE"):
        return "a CSRF token was used"
    if request.__dict__.get("_csp_nonce"):
        return "a CSP nonce was used"
    session: Any = request.__dict__.get("session")
    if getattr(session, "modified", False):
        return "the session was changed"
    directives = _directives(response)
    if "no-store" in directives:
        return "Cache-Control: no-store"
    if "private" in directives and not varies_on_user:
        return "Cache-Control: private"
    if "*" in vary_of(response):
        return "Vary: *"
    if names := [name for name, value in _carried(response).items() if not _is_plain(value)]:
        return f"the response carries {', '.join(names)}"
    return None


def _carried(response: HttpResponseBase) -> dict[str, Any]:
    """Return what decorators and the view have put on a response, besides its content."""
    return {name: value for name, value in vars(response).items() if name not in _OWN}


def _is_plain(value: object) -> bool:
    """Whether a value is the same after it was JSON."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(each) for key, each in value.items())
    if isinstance(value, list):
        return all(map(_is_plain, value))
    # Constants of a StrEnum (those of a Content-Security-Policy) are equal to their text.
    return value is None or type(value) in (bool, int, float, str) or isinstance(value, StrEnum)


def vary_of(response: HttpResponseBase) -> frozenset[str]:
    """Return the headers that the response says it varies on, in small letters."""
    text = response.headers.get("Vary", "")
    return frozenset(name.strip().lower() for name in text.split(",") if name.strip())


def _directives(response: HttpResponseBase) -> set[str]:
    text = response.headers.get("Cache-Control", "")
    return {each.partition("=")[0].strip().lower() for each in text.split(",")}


def _tells_age(response: HttpResponse) -> bool:
    """Whether caches further on count from the time that the response was made."""
    return bool(_directives(response) & {"max-age", "s-maxage"})
