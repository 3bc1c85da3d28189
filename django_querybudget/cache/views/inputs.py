"""What a view reads of its request, seen while it runs.

An answer is kept under what its key holds of the request. If the view looks at anything else, a
cookie, the session, what a middleware put there, its answer is not another request's. So a view
that is run for the cache gets its request *observed*: the same object, whose class is one that
notes what is read, until the view is done.

What is read and is not there (no ``Authorization`` header, an empty session) is a *condition*: the
answer holds for every request that has not got it either.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.http.request import HttpHeaders
from django.utils.functional import LazyObject, SimpleLazyObject, empty

__all__ = ["Inputs", "is_absent", "observed"]

# In every key, or the same for all that share one: the URL, the method, the server.
_IN_KEY = frozenset(
    {
        "REQUEST_METHOD", "PATH_INFO", "SCRIPT_NAME", "QUERY_STRING", "SERVER_NAME",
        "SERVER_PORT", "SERVER_PROTOCOL", "SERVER_SOFTWARE", "GATEWAY_INTERFACE",
        "REQUEST_SCHEME", "HTTPS", "HTTP_HOST", "CONTENT_TYPE", "CONTENT_LENGTH", "REQUEST_URI",
        "RAW_URI",
    }
)  # fmt: skip

# Attributes of a request that Django makes of what is in the key, or that hold nothing.
_OF_KEY = frozenset(
    {
        "method", "path", "path_info", "scheme", "GET", "resolver_match", "content_type",
        "content_params", "encoding", "urlconf", "LANGUAGE_CODE", "upload_handlers",
        "exception_reporter_filter", "exception_reporter_class", "csrf_processing_done",
        "_dont_enforce_csrf_checks", "accepted_types", "accepted_types_by_precedence",
    }
)  # fmt: skip

# Read through properties of the class below.
_OBSERVED = frozenset(
    {"META", "COOKIES", "headers", "user", "auser", "session", "_messages", "environ", "scope"}
)


class Inputs:
    """What was read of one request, besides what is in every key.

    Names are ``user``, ``session``, ``messages``, ``body``, ``client address``, ``cookie:NAME``,
    ``header:NAME`` (as in HTTP, lower case), and ``request.NAME`` for an attribute that some
    middleware set. ``all headers`` and ``all cookies`` are what cannot be told apart.
    """

    def __init__(self, request: HttpRequest, known: Iterable[str]) -> None:
        self.read: set[str] = set()
        self.absent: set[str] = set()
        self._request = request
        self._known = frozenset(known)
        self._forwarded = _forwarded_headers()

    def note(self, name: str, *, is_there: bool) -> None:
        """Something was read."""
        if name not in self._known:
            (self.read if is_there else self.absent).add(name)

    def note_meta(self, key: Any) -> None:
        """A key of ``META`` was read."""
        if not isinstance(key, str) or key in _IN_KEY or key in self._forwarded:
            return
        there = key in _raw(self._request, "META")
        if key == "REMOTE_ADDR" or key == "REMOTE_HOST" or key == "REMOTE_PORT":
            self.note("client address", is_there=True)
        elif key == "HTTP_COOKIE":
            self.note("all cookies", is_there=there)
        elif key.startswith("HTTP_"):
            self.note(f"header:{key[5:].replace('_', '-').lower()}", is_there=there)
        elif key.startswith("CSRF_COOKIE"):
            pass  # whether a token was used is looked at when the answer is there
        elif not key.startswith(("wsgi.", "asgi.")):
            self.note(f"META[{key}]", is_there=there)

    def note_cookie(self, name: Any) -> None:
        """A cookie was read."""
        if isinstance(name, str) and not _is_csrf_check():
            self.note(f"cookie:{name}", is_there=name in _raw(self._request, "COOKIES"))


def is_absent(request: HttpRequest, name: str) -> bool:
    """Whether ``request`` has not got an input either, which another one had not."""
    kind, _, rest = name.partition(":")
    if kind == "header":
        return f"HTTP_{rest.upper().replace('-', '_')}" not in request.META
    if kind == "cookie":
        return rest not in request.COOKIES
    if name == "all cookies":
        return "HTTP_COOKIE" not in request.META
    if name == "messages":
        return not _has_messages(request)
    if name == "session":
        return _is_empty(getattr(request, "session", None))
    if name == "body":
        return request.META.get("CONTENT_LENGTH") in (None, "", "0")
    if name.startswith("META["):
        return name[5:-1] not in request.META
    if name.startswith("request."):
        return rest not in request.__dict__ and name[8:] not in request.__dict__
    return False


@contextmanager
def observed(request: HttpRequest, known: Iterable[str]) -> Iterator[Inputs]:
    """Note what a block reads of ``request``; ``known`` are the inputs that its key holds."""
    inputs = Inputs(request, known)
    own = request.__dict__
    kind = type(request)
    session = own.get("session")
    accessed = getattr(session, "accessed", None)
    if accessed:
        session.accessed = False  # type: ignore[union-attr]  # the key may have read it
    user = own.get("user")
    own["_querybudget_inputs"] = inputs
    own["_querybudget_outer"] = frozenset(own) - _OF_KEY
    if user is not None:
        own["user"] = _noted_user(user, inputs)
    request.__class__ = _observing(kind)
    try:
        yield inputs
    finally:
        request.__class__ = kind
        own.pop("_querybudget_inputs", None)
        own.pop("_querybudget_outer", None)
        if isinstance(own.get("user"), _NotedUser):
            own["user"] = user
        if getattr(session, "accessed", False):
            inputs.note("session", is_there=not _is_empty(session))
        elif accessed:
            session.accessed = True  # type: ignore[union-attr]
        _note_messages(own.get("_messages"), inputs)


class _NotedUser(SimpleLazyObject):
    """The user, lazily: that a template's context holds it says nothing yet."""


def _noted_user(user: Any, inputs: Inputs) -> Any:
    def read() -> Any:
        inputs.note("user", is_there=True)
        if isinstance(user, LazyObject):
            if user._wrapped is empty:  # type: ignore[has-type]
                user._setup()  # type: ignore[no-untyped-call]
            return user._wrapped  # type: ignore[has-type]
        return user

    return _NotedUser(read)


def _raw(request: HttpRequest, name: str) -> Any:
    """Return an attribute as the request's own class has it."""
    own = request.__dict__
    if name in own:
        return own[name]
    kind: Any = next(each for each in type(request).__mro__ if not hasattr(each, "_querybudget"))
    found = vars(kind).get(name) or getattr(kind, name)
    return found.__get__(request, kind)


def _forwarded_headers() -> frozenset[str]:
    """Return the headers from which Django makes the scheme, host and port of the key."""
    names = set()
    if settings.USE_X_FORWARDED_HOST:
        names.add("HTTP_X_FORWARDED_HOST")
    if settings.USE_X_FORWARDED_PORT:
        names.add("HTTP_X_FORWARDED_PORT")
    if settings.SECURE_PROXY_SSL_HEADER:
        names.add(settings.SECURE_PROXY_SSL_HEADER[0])
    return frozenset(names)


def _is_csrf_check() -> bool:
    """Whether Django's CSRF check reads, which Django REST framework runs in its views."""
    frame = sys._getframe(3)
    return bool(frame.f_globals.get("__name__") == "django.middleware.csrf")


def _is_empty(session: Any) -> bool:
    """Whether nothing is in a session. One that does not exist is not made by asking."""
    if session is None:
        return True
    try:
        return bool(session.session_key is None and session.is_empty())
    except AttributeError:  # not one of Django's
        return False


def _has_messages(request: HttpRequest) -> bool:
    """Whether messages wait, wherever Django's storages keep them. Reads none."""
    storage = request.__dict__.get("_messages")
    if storage is None:
        return False
    if getattr(storage, "added_new", False) or "messages" in request.COOKIES:
        return True
    session = request.__dict__.get("session")
    return session is not None and not _is_empty(session) and "_messages" in session


def _note_messages(storage: Any, inputs: Inputs) -> None:
    if storage is None:
        return
    if storage.used or storage.added_new or "_loaded_data" in vars(storage):
        loaded = vars(storage).get("_loaded_data") or ()
        inputs.note("messages", is_there=bool(storage.added_new or loaded))


class _Noting(dict):  # type: ignore[type-arg]
    """A dict of the request's; ``_note`` is called with each key that is read."""

    _note: Any
    _note_all: Any

    def __getitem__(self, key: Any) -> Any:
        self._note(key)
        return super().__getitem__(key)

    def __contains__(self, key: Any) -> bool:
        self._note(key)
        return super().__contains__(key)

    def get(self, key: Any, default: Any = None) -> Any:
        self._note(key)
        return super().get(key, default)

    def _all(self, name: str) -> Any:
        self._note_all()
        return getattr(super(), name)()

    def __iter__(self) -> Any:
        return self._all("__iter__")

    def __len__(self) -> int:
        return int(self._all("__len__"))

    def __eq__(self, other: object) -> bool:
        self._note_all()
        return super().__eq__(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None  # type: ignore[assignment]

    def keys(self) -> Any:
        return self._all("keys")

    def values(self) -> Any:
        return self._all("values")

    def items(self) -> Any:
        return self._all("items")

    def copy(self) -> Any:
        return self._all("copy")


class _Headers(HttpHeaders):
    """The headers, by which ``META`` notes what is read."""

    def __init__(self, request: HttpRequest, inputs: Inputs) -> None:
        super().__init__(_raw(request, "META"))
        self._inputs = inputs
        self._of = request

    def __getitem__(self, key: str) -> str:
        self._inputs.note_meta(f"HTTP_{key.upper().replace('-', '_')}")
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self._inputs.note_meta(f"HTTP_{str(key).upper().replace('-', '_')}")
        return super().__contains__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self._inputs.note_meta(f"HTTP_{key.upper().replace('-', '_')}")
        try:
            return super().__getitem__(key)
        except KeyError:
            return default

    def __iter__(self) -> Iterator[str]:
        self._inputs.note("all headers", is_there=True)
        return super().__iter__()


@lru_cache(maxsize=64)
def _observing(kind: type[HttpRequest]) -> type[HttpRequest]:
    """Return the subclass of a request's class that notes what is read."""

    def __getattribute__(self: Any, name: str) -> Any:  # noqa: N807
        own = object.__getattribute__(self, "__dict__")
        inputs = own.get("_querybudget_inputs")
        if inputs is None or name in _QUIET:
            return kind.__getattribute__(self, name)
        if name in _OBSERVED or name in _BODY:
            return _read(self, own, inputs, name)
        if name in own["_querybudget_outer"] and name not in _PRIVATE:
            inputs.note(f"request.{name}", is_there=True)
        return kind.__getattribute__(self, name)

    return type(
        kind.__name__,
        (kind,),
        {
            "__module__": kind.__module__,
            "__qualname__": kind.__qualname__,
            "_querybudget": True,
            "__getattribute__": __getattribute__,
        },
    )


_QUIET = frozenset({"__dict__", "__class__"})
# What Django itself keeps on a request for later, of its body and of what was read already.
_PRIVATE = frozenset(
    {
        "_querybudget_inputs", "_querybudget_outer", "_read_started", "_stream", "_encoding",
        "_upload_handlers", "_post", "_files", "_cached_user", "_acached_user", "_body",
        "_post_parse_error", "is_async_user",
    }
)  # fmt: skip
_BODY = frozenset({"body", "POST", "FILES", "read", "readline", "readlines", "__iter__"})


def _read(request: Any, own: Mapping[str, Any], inputs: Inputs, name: str) -> Any:
    """Return an attribute that is an input, noted or in a form that notes."""
    if name in ("META", "environ"):
        return _noting(_raw(request, name), inputs.note_meta, inputs, "all headers")
    if name == "COOKIES":
        return _noting(_raw(request, name), inputs.note_cookie, inputs, "all cookies")
    if name == "headers":
        return _Headers(request, inputs)
    if name == "scope":
        inputs.note("all headers", is_there=True)
    elif name == "auser":
        inputs.note("user", is_there=True)
    elif name in _BODY:
        inputs.note("body", is_there=not is_absent_body(own))
    elif name == "session" and not hasattr(own.get("session"), "accessed"):
        inputs.note("session", is_there=own.get("session") is not None)
    return object.__getattribute__(request, name)


def is_absent_body(own: Mapping[str, Any]) -> bool:
    """Whether a request has no body, by its own ``__dict__``."""
    return own["META"].get("CONTENT_LENGTH") in (None, "", "0")


def _noting(raw: Any, note: Any, inputs: Inputs, everything: str) -> Any:
    """Return a dict that notes its reads, and what is written into it goes to ``raw`` as well."""

    class Noting(_Noting):
        _note = staticmethod(note)

        @staticmethod
        def _note_all() -> None:
            inputs.note(everything, is_there=True)

        def __setitem__(self, key: Any, value: Any) -> None:
            raw[key] = value
            super().__setitem__(key, value)

        def __delitem__(self, key: Any) -> None:
            del raw[key]
            super().__delitem__(key)

        def setdefault(self, key: Any, default: Any = None) -> Any:
            if key not in raw:
                self[key] = default
            return self[key]

        def pop(self, key: Any, *default: Any) -> Any:
            self._note(key)
            raw.pop(key, None)
            return super().pop(key, *default)

        def update(self, *args: Any, **kwargs: Any) -> None:
            for key, value in dict(*args, **kwargs).items():
                self[key] = value

    return Noting(raw)
