"""Views by name: the keys of the settings that say something of each view.

A key is a view's name (``"jobs:list"``), a route (``"/jobs/<int:pk>/"``), the start of either with
an asterisk (``"jobs:*"``, ``"/api/*"``), or ``"*"`` for every view; a method may stand before it
(``"POST jobs:list"``). The most specific key wins: a whole name before a longer start, that before
a shorter one, and of two equal ones the one with a method.

Of budgets a key may name what is no view: a kind of :data:`WORK_KINDS`, a blank and a name, as
reports do (``"task shop.tasks.send"``, ``"command clearsessions"``, ``"message chat.*"``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from django.conf import settings
from django.http import HttpRequest

from .views import urlpatterns, view_name_of

__all__ = ["WORK_KINDS", "ByView", "ViewKey", "names_of_views", "unmatched"]

T = TypeVar("T")

WORK_KINDS = ("task", "command", "message")
"""What is measured besides views."""

MOST_FOUND = 4096
"""How many views a :class:`ByView` remembers."""


@dataclass(frozen=True, order=True)
class ViewKey:
    """A key; the more specific, the greater."""

    whole: bool
    """Whether it names a view or a route in full."""
    length: int
    """How long the name is."""
    method: str
    """The method; empty for all."""
    name: str
    """The name, without the asterisk."""

    @classmethod
    def of(cls, text: str) -> ViewKey:
        """Return the key that ``text`` stands for."""
        first, _, rest = text.partition(" ")
        method, name = (first, rest.strip()) if rest and first.isalpha() else ("", text)
        start = name.removesuffix("*")
        return cls(whole=start == name, length=len(start), method=method.upper(), name=start)

    @property
    def is_of_work(self) -> bool:
        """Whether it names a task, a command or a message, and no view."""
        return self.method.lower() in WORK_KINDS

    def matches(self, method: str, names: tuple[str, ...]) -> bool:
        """Whether it is a key to a view that has these names."""
        if self.method not in ("", "GET" if method == "HEAD" and self.method == "GET" else method):
            return False
        if self.whole:
            return self.name in names
        return any(name.startswith(self.name) for name in names)


class ByView(Generic[T]):
    """What a setting says of the views that its keys name."""

    def __init__(self, entries: Iterable[tuple[str, T]]) -> None:
        keyed = ((ViewKey.of(text), value) for text, value in entries)
        self._entries = sorted(keyed, key=lambda entry: entry[0], reverse=True)
        self._found: dict[tuple[str | None, str, str | None], T | None] = {}

    def of(self, request: HttpRequest) -> T | None:
        """Return what is said of the view that answers ``request``; None for nothing."""
        match = request.resolver_match
        if match is None or not self._entries:
            return None
        view = (view_name_of(request), match.route, request.method)
        if view not in self._found:
            if len(self._found) >= MOST_FOUND:  # a client may invent methods
                self._found.clear()
            self._found[view] = self._matching(*view)
        return self._found[view]

    def of_work(self, kind: str, name: str) -> T | None:
        """Return what is said of a task, a command or a message; None for nothing."""
        if not self._entries:
            return None
        work = (name, "", kind)  # a request's method is never written small
        if work not in self._found:
            if len(self._found) >= MOST_FOUND:
                self._found.clear()
            wanted = kind.upper()
            self._found[work] = next(
                (
                    value
                    for key, value in self._entries
                    if key.method == wanted and key.matches(wanted, (name,))
                ),
                None,
            )
        return self._found[work]

    def _matching(self, view_name: str | None, route: str, method: str | None) -> T | None:
        names = tuple(filter(None, (view_name, f"/{route}")))
        return next(
            (value for key, value in self._entries if key.matches(method or "", names)), None
        )


def names_of_views() -> list[tuple[str, ...]]:
    """Return the names of each view of the URLconf, its route among them; none without one."""
    return list(_names()) if hasattr(settings, "ROOT_URLCONF") else []


def _names() -> Iterator[tuple[str, ...]]:
    for name, route, _ in urlpatterns():
        yield (name, route) if name else (route,)


def unmatched(key: ViewKey, names: list[tuple[str, ...]]) -> str | None:
    """Return a hint if ``key`` matches none of the views with these names, None if it does."""
    if not names or any(key.matches(key.method, of_view) for of_view in names):
        return None
    from difflib import get_close_matches  # for a message alone

    known = sorted({name for of_view in names for name in of_view})
    near = get_close_matches(key.name, known, n=3, cutoff=0.4)
    wanted = f"Did you mean {', '.join(map(repr, near))}? " if near else ""
    return f"{wanted}A key is a view's name, a route that starts with /, or the start of one and *."
