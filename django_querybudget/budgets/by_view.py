"""The budget of a view: its decorator's, else what ``QUERYBUDGET["BUDGETS"]`` says.

A key of ``BUDGETS`` is a view's name (``"jobs:list"``), a route (``"/jobs/<int:pk>/"``), the start
of either with an asterisk (``"jobs:*"``, ``"/api/*"``), or ``"*"`` for every view; a method may
stand before it (``"POST jobs:list"``). The most specific key wins: a whole name before a longer
start, that before a shorter one, and of two equal ones the one with a method.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from weakref import WeakSet

from django.http import HttpRequest

from django_querybudget.conf import InvalidSetting, conf
from django_querybudget.recording.aliases import checked_aliases

from .budget import DIMENSIONS, Budget
from .views import handlers, view_name_of

__all__ = [
    "MARK",
    "BudgetKey",
    "Declared",
    "declared_on_view",
    "decorated",
    "parse_budgets",
    "view_budget",
]

logger = logging.getLogger("django_querybudget")

MARK = "_querybudget_declared"
"""The attribute of a decorated callable that holds its declaration; outer decorators copy it."""

decorated: WeakSet[Callable[..., Any]] = WeakSet()
"""Every callable that a budget was put around, for the system checks."""


class Declared(Protocol):
    """A budget and what happens when it is exceeded: a ``query_budget`` is one."""

    @property
    def budget(self) -> Budget: ...

    @property
    def on_exceed(self) -> str | None: ...


@dataclass(frozen=True, order=True)
class BudgetKey:
    """A key of ``BUDGETS``; the more specific, the greater."""

    whole: bool
    """Whether it names a view or a route in full."""
    length: int
    """How long the name is."""
    method: str
    """The method; empty for all."""
    name: str
    """The name, without the asterisk."""

    @classmethod
    def of(cls, text: str) -> BudgetKey:
        """Return the key that ``text`` stands for."""
        first, _, rest = text.partition(" ")
        method, name = (first, rest.strip()) if rest and first.isalpha() else ("", text)
        start = name.removesuffix("*")
        return cls(whole=start == name, length=len(start), method=method.upper(), name=start)

    def matches(self, method: str, names: tuple[str, ...]) -> bool:
        """Whether it is a key to a view that has these names."""
        if self.method not in ("", "GET" if method == "HEAD" and self.method == "GET" else method):
            return False
        if self.whole:
            return self.name in names
        return any(name.startswith(self.name) for name in names)


@dataclass(frozen=True)
class Configured:
    """A budget of ``BUDGETS``."""

    budget: Budget
    on_exceed: str | None = None


Budgets = tuple[tuple[BudgetKey, Budget | None], ...]
Found = dict[tuple[str | None, str, str | None], Configured | None]

# BUDGETS as it was last, what it says, and what was found in it for views already asked for.
_last: tuple[Mapping[str, Any] | None, Budgets, Found] = (None, (), {})
MOST_FOUND = 4096


def parse_budgets(written: Mapping[str, Any]) -> Iterator[tuple[str, Budget | None]]:
    """Yield the budgets of ``BUDGETS``. Raises :class:`InvalidSetting` at one that is none."""
    for text, value in written.items():
        try:
            budget = None if value is None else Budget.of(value)
            if budget is not None:
                checked_aliases(budget.using)
            yield text, budget
        except (TypeError, ValueError) as error:
            raise InvalidSetting(
                f'QUERYBUDGET["BUDGETS"][{text!r}]',
                f"is {value!r} ({str(error).rstrip('.')})",
                f"It accepts a number of queries, a dict of {', '.join(DIMENSIONS)}, nplusone and "
                "using, or None.",
            ) from error


def view_budget(request: HttpRequest) -> Declared | None:
    """Return the budget of the view that answers ``request``, decorators first; None for none."""
    try:
        return _view_budget(request)
    except Exception:
        # A defect of ours must not become the host's.
        logger.exception("django_querybudget could not find the budget of %r.", request.path)
        return None


def _view_budget(request: HttpRequest) -> Declared | None:
    declared = declared_on_view(request)
    if declared is not None:
        return declared
    match = request.resolver_match
    budgets, found = _configured()
    if match is None or not budgets:
        return None
    view = (view_name_of(request), match.route, request.method)
    if view not in found:
        if len(found) >= MOST_FOUND:  # A client may invent methods.
            found.clear()
        found[view] = _matching(budgets, *view)
    return found[view]


def _matching(
    budgets: Budgets, view_name: str | None, route: str, method: str | None
) -> Configured | None:
    names = tuple(filter(None, (view_name, f"/{route}")))
    for key, budget in budgets:
        if key.matches(method or "", names):
            return None if budget is None else Configured(budget)
    return None


def declared_on_view(request: HttpRequest) -> Declared | None:
    """Return what decorates the view that answers ``request``, the innermost declaration."""
    match = request.resolver_match
    if match is None:
        return None
    for handler in handlers(match, request.method or ""):
        declared: Declared | None = getattr(handler, MARK, None)
        if declared is not None:
            return declared
    return None


def _configured() -> tuple[Budgets, Found]:
    global _last
    written = conf.BUDGETS
    if _last[0] is not written:
        _last = (written, _by_specificity(written), {})
    return _last[1:]


def _by_specificity(written: Mapping[str, Any]) -> Budgets:
    budgets = []
    for text, value in written.items():
        try:
            budgets += [
                (BudgetKey.of(text), budget) for text, budget in parse_budgets({text: value})
            ]
        except InvalidSetting as error:
            logger.error("%s This budget is left out.", error)
    return tuple(sorted(budgets, key=lambda entry: entry[0], reverse=True))
