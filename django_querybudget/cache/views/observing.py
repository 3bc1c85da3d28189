"""Classes of a request and of a session that tell what is read: objects get them for a while."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from .noting import NotedHeaders, reader

if TYPE_CHECKING:
    from django.http import HttpRequest

    from .inputs import Inputs

__all__ = ["INPUTS", "observing_request", "observing_session"]

INPUTS = "_querybudget_inputs"
"""The attribute that holds who is told; where it is missing, nobody is."""

# Whose reads are no view's: the request's own methods, and the session's.
_OF_REQUESTS = frozenset(
    {"django.http.request", "django.core.handlers.wsgi", "django.core.handlers.asgi"}
)
_OF_SESSIONS = ("django.contrib.sessions.", f"{__package__}.absent")

# What tells of a session and does not load it, which is all that its ``accessed`` says.
_KEY_OF_SESSION = frozenset({"session_key", "_session_key", "is_empty"})


@lru_cache(maxsize=64)
def observing_request(kind: type[HttpRequest]) -> type[HttpRequest]:
    """Return the subclass of a request's class that notes what is read."""
    plain = kind.__getattribute__

    def __getattribute__(self: Any, name: str) -> Any:  # noqa: N807  # a method of the class below
        own = object.__getattribute__(self, "__dict__")
        inputs: Inputs | None = own.get(INPUTS)
        if inputs is None or reader(1).f_globals.get("__name__") in _OF_REQUESTS:
            return plain(self, name)
        if name in ("META", "environ"):
            return inputs.noting(name, plain(self, name), inputs.note_meta, "all headers")
        if name == "COOKIES":
            return inputs.noting(name, plain(self, name), inputs.note_cookie, "all cookies")
        if name == "headers":
            return NotedHeaders(
                own["META"], inputs.note_meta, partial(inputs.note, "all headers", is_there=True)
            )
        inputs.note_attribute(name)
        return plain(self, name)

    def __iter__(self: Any) -> Any:  # noqa: N807  # as above; its lines are the body's
        if (inputs := self.__dict__.get(INPUTS)) is not None:
            inputs.note_attribute("body")
        return kind.__iter__(self)

    return _extended(kind, __getattribute__, {"__iter__": __iter__})


@lru_cache(maxsize=64)
def observing_session(kind: type[Any]) -> type[Any]:
    """Return the subclass of a session's class that notes that its key is read."""
    plain: Any = kind.__getattribute__

    def __getattribute__(self: Any, name: str) -> Any:  # noqa: N807  # a method of the class below
        if name in _KEY_OF_SESSION:
            inputs: Inputs | None = object.__getattribute__(self, "__dict__").get(INPUTS)
            module = reader(1).f_globals.get("__name__") or ""
            if inputs is not None and not module.startswith(_OF_SESSIONS):
                inputs.note_session()
        return plain(self, name)

    return _extended(kind, __getattribute__, {})


def _extended(kind: type[Any], getattribute: Any, more: dict[str, Any]) -> type[Any]:
    names = {
        "__module__": kind.__module__,
        "__qualname__": kind.__qualname__,
        "__doc__": kind.__doc__,
        "__getattribute__": getattribute,
        **more,
    }
    return type(kind.__name__, (kind,), names)
