"""What a view reads of its request, seen while it runs.

An answer is kept under what its key holds of the request. If the view looks at anything else, a
cookie, the session, what a middleware put there, its answer is not another request's. So a view
that is run for the cache gets its request *observed*: the same object, whose class is one that
notes what is read, until the view is done.

What is read and is not there (no ``Authorization`` header, an empty session) is a *condition*: the
answer holds for every request that has not got it either.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject, empty

from django_querybudget.cache.lazy import unwrapped

from .absent import cookies_of, has_no_body, is_empty_session, is_nobody
from .answers import CONDITIONS
from .noting import NotedDict, reader
from .observing import INPUTS, observing_request, observing_session

__all__ = ["Inputs", "observed"]

# In every key, or the same wherever a process of the project runs.
_IN_KEY = frozenset(
    {
        "REQUEST_METHOD", "PATH_INFO", "SCRIPT_NAME", "QUERY_STRING", "SERVER_SOFTWARE",
        "GATEWAY_INTERFACE", "REQUEST_SCHEME", "HTTPS", "CONTENT_TYPE",
    }
)  # fmt: skip

# What middleware sets on a request, and what is in the key or looked at otherwise.
_OF_KEY = frozenset(
    {
        "method", "path", "path_info", "script_name", "GET", "resolver_match", "content_type",
        "content_params", "encoding", "urlconf", "LANGUAGE_CODE", "upload_handlers", "user",
        "exception_reporter_filter", "exception_reporter_class", "csrf_processing_done",
        "csrf_cookie_needs_reset", "__class__", "__dict__",
    }
)  # fmt: skip

# Django's own, of which nothing tells but by the names above, or which is looked at otherwise.
_PRIVATE = frozenset(
    {
        "_messages", "_csp_nonce", "_cached_user", "_acached_user", "_encoding", "_read_started",
        "_post_parse_error", "_upload_handlers", "_dont_enforce_csrf_checks", "_stream",
        "_current_scheme_host", "_closable_objects", "_body", "_post", "_files",
    }
)  # fmt: skip
_BODY = frozenset(
    {"body", "POST", "FILES", "read", "readline", "readlines", "_body", "_post", "_files"}
)
_ACCEPT = frozenset(
    {
        "accepts", "accepted_type", "accepted_types", "accepted_types_by_precedence",
        "get_preferred_type",
    }
)  # fmt: skip


class Inputs:
    """What was read of one request, besides what is in every key.

    Names are ``user``, ``session``, ``messages``, ``body``, ``client address``, ``cookie:NAME``,
    ``header:NAME`` (as in HTTP, lower case), ``META:NAME``, and ``request:NAME`` for an attribute
    that some middleware set. ``all headers`` and ``all cookies`` cannot be told apart further.
    """

    def __init__(self, request: HttpRequest, known: Iterable[str]) -> None:
        self.read: set[str] = set()
        self.absent: set[str] = set()
        self.negotiated: set[str] = set()
        """Headers by which a framework chose the form of the answer: parts of the key, as if the
        response varied on them."""
        self.used_session = False
        """Whether a response would say that it varies on the cookie: the session was read, or the
        user that comes from it."""
        self._own = request.__dict__
        self._outer = frozenset(
            name for name in self._own if not name.startswith("_querybudget_")
        ) - (_OF_KEY | _PRIVATE)
        self.known = frozenset(known)
        self._host = "HTTP_X_FORWARDED_HOST" if settings.USE_X_FORWARDED_HOST else "HTTP_HOST"
        self._noting: dict[int, NotedDict] = {}

    def note(self, name: str, *, is_there: bool) -> None:
        """Something was read."""
        if name not in self.known:
            (self.read if is_there else self.absent).add(name)

    def note_user(self, user: object) -> None:
        """The user was read; None for one that is not known yet."""
        self.used_session = True
        self.note("user", is_there=not is_nobody(user))

    def note_meta(self, key: Any) -> None:
        """A key of ``META`` was read."""
        if not isinstance(key, str) or key in _IN_KEY:
            return
        is_there = key in self._own["META"]
        if key == self._host and is_there:
            return  # it is the host that the key holds
        module = reader(2).f_globals.get("__name__")
        if key in CONDITIONS and module == "django.utils.cache":
            return  # what it answers then is not kept, and a hit is asked the same
        if key == "HTTP_ACCEPT" and module == "rest_framework.negotiation":
            self.negotiated.add("accept")
        elif key in ("CONTENT_LENGTH", "wsgi.input"):
            self.note("body", is_there=not has_no_body(self._own["META"]))
        elif key in ("REMOTE_ADDR", "REMOTE_HOST", "REMOTE_PORT"):
            self.note("client address", is_there=True)
        elif key == "HTTP_COOKIE":
            self.note("all cookies", is_there=is_there)
        elif key.startswith("HTTP_"):
            self.note(f"header:{key[5:].replace('_', '-').lower()}", is_there=is_there)
        elif key.startswith("CSRF_COOKIE") and module == "django.middleware.csrf":
            return  # whether a CSRF token was used is looked at when the answer is there
        elif not key.startswith(("wsgi.", "asgi.")):
            self.note(f"META:{key}", is_there=is_there)

    def note_cookie(self, name: Any) -> None:
        """A cookie was read."""
        frame = reader(2)
        module = frame.f_globals.get("__name__")
        if module == "django.middleware.csrf":
            return  # its check reads its cookie in the views of Django REST framework
        if module == "ninja.security.apikey" and name == settings.SESSION_COOKIE_NAME:
            owner = type(frame.f_locals.get("self"))
            if owner.__module__ == "ninja.security.session":
                return  # it asks for the user, and does nothing with the cookie
        self.note(f"cookie:{name}", is_there=name in cookies_of(self._own))

    def note_attribute(self, name: str) -> None:
        """An attribute of the request was read."""
        if name in _BODY:
            self.note("body", is_there=not has_no_body(self._own["META"]))
        elif name in _ACCEPT:
            self.note_meta("HTTP_ACCEPT")
        elif name == "get_signed_cookie":
            self.note_meta("HTTP_COOKIE")
        elif name == "auser":
            self.note_user(None)
        elif name in ("_cached_user", "_acached_user"):
            if name in self._own:  # else the session is read, which is seen
                self.note_user(self._own[name])
        elif name == "get_port":
            self.note("META:SERVER_PORT", is_there=True)
        elif name == "scope":
            self.note("all headers", is_there=True)
        elif name == "session":
            if not hasattr(self._own.get("session"), "accessed"):  # not one of Django's
                self.note("session", is_there=True)
        elif name in self._outer:
            self.note(f"request:{name}", is_there=True)

    def note_session(self) -> None:
        """Something of the session was read that does not load it: its key."""
        self.note("session", is_there=not is_empty_session(self._own.get("session")))

    def note_all_of(self, other: Inputs) -> None:
        """Note what was read of the request by a part of the view that is cached by itself."""
        self.read |= other.read - self.known
        self.absent |= other.absent - self.known
        self.negotiated |= other.negotiated
        self.used_session |= other.used_session

    def unseen(self, varied: Collection[str]) -> list[str]:
        """Return what was read that is part of no header that the response says it varies on."""

        def is_covered(name: str) -> bool:
            kind, _, rest = name.partition(":")
            if kind == "header":
                return rest in varied
            return "cookie" in varied and (kind == "cookie" or name == "all cookies")

        return sorted(each for each in self.read if not is_covered(each))

    def noting(
        self, name: str, raw: Any, note: Callable[[Any], None], everything: str
    ) -> NotedDict:
        """Return ``raw``, a dict of the request's, in a form that notes what is read of it."""
        found = self._noting.get(id(raw))
        if found is None:
            found = self._noting[id(raw)] = NotedDict(
                raw, note, partial(self.note, everything, is_there=True)
            )
        return found


@contextmanager
def observed(request: HttpRequest, known: Iterable[str]) -> Iterator[Inputs]:
    """Note what a block reads of ``request``; ``known`` are the inputs that its key holds."""
    inputs = Inputs(request, known)
    own = request.__dict__
    outer: Inputs | None = own.get(INPUTS)
    session: Any = own.get("session")
    watched: list[tuple[Any, Any]] = [(request, observing_request)]
    if hasattr(session, "accessed"):
        watched.append((session, observing_session))
    accessed = getattr(session, "accessed", None)
    if accessed:
        session.accessed = False  # before the view
    lent = "user" in inputs.known and "_acached_user" not in own and "_cached_user" in own
    if lent:  # auser() would read the session again, for the user that the key has
        own["_acached_user"] = own["_cached_user"]
    try:
        with _noted_user(own, inputs), _told(watched, inputs, outer):
            yield inputs
    finally:
        if lent:
            own.pop("_acached_user", None)
        if getattr(session, "accessed", False):
            inputs.used_session = True
            inputs.note("session", is_there=not is_empty_session(session))
        if accessed is not None and (accessed or inputs.used_session):
            session.accessed = True
        _note_messages(own.get("_messages"), inputs)
        if outer is not None:
            outer.note_all_of(inputs)


@contextmanager
def _told(watched: list[tuple[Any, Any]], inputs: Inputs, outer: Inputs | None) -> Iterator[None]:
    """Have objects tell ``inputs`` what is read of them; after it ``outer``, if they did before."""
    kinds = [(each, type(each)) for each, _ in watched]
    for each, observing in watched:
        each.__dict__[INPUTS] = inputs
        if outer is None:
            each.__class__ = observing(type(each))
    try:
        yield
    finally:
        for each, kind in kinds:
            each.__class__ = kind
            each.__dict__.pop(INPUTS, None)
            if outer is not None:  # a cached view has called another one
                each.__dict__[INPUTS] = outer


@contextmanager
def _noted_user(own: dict[str, Any], inputs: Inputs) -> Iterator[None]:
    """Note when the user is read: that a template's context holds it says nothing yet.

    A lazy one stays the same object, whoever else has it: a middleware may keep it for a thread.
    """
    user = own.get("user")
    if user is None:
        yield
        return
    is_lazy = type(user) is SimpleLazyObject
    noted = user if is_lazy else SimpleLazyObject(lambda: None)
    before, was = dict(vars(user)) if is_lazy else {}, user

    def read() -> Any:
        found = was
        if is_lazy:
            found = before["_wrapped"]
            if found is empty:
                found = before["_wrapped"] = before["_setupfunc"]()
        found = unwrapped(found)
        inputs.note_user(found)
        return found

    vars(noted).update(_setupfunc=read, _wrapped=empty)
    own["user"] = noted
    try:
        yield
    finally:
        if is_lazy:
            vars(user).update(before)
        if own.get("user") is noted:
            own["user"] = user


def _note_messages(storage: Any, inputs: Inputs) -> None:
    if storage is None:
        return
    loaded = vars(storage).get("_loaded_data")
    if loaded is not None or storage.used or storage.added_new:
        inputs.note("messages", is_there=bool(loaded or storage.added_new))
