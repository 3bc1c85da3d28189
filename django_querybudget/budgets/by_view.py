"""The budget of a view: its decorator's, else what ``QUERYBUDGET["BUDGETS"]`` says.

That of a task, a command or a message, too: :func:`work_budget`.

The keys of ``BUDGETS`` are those of :mod:`~django_querybudget.routing.names`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

from django.http import HttpRequest

from django_querybudget.conf import InvalidSetting, conf
from django_querybudget.recording.aliases import checked_aliases
from django_querybudget.routing.names import ByView
from django_querybudget.routing.views import handlers

from .budget import DIMENSIONS, Budget

__all__ = [
    "MARK",
    "Declared",
    "declared_on_view",
    "measured_request",
    "parse_budgets",
    "view_budget",
    "work_budget",
]

logger = logging.getLogger("django_querybudget")

MARK = "_querybudget_declared"
"""The attribute of a decorated callable that holds its declaration; outer decorators copy it."""

measured_request: ContextVar[HttpRequest | None] = ContextVar("querybudget_request", default=None)
"""The request that the middleware measures in this context."""


class Declared(Protocol):
    """A budget and what happens when it is exceeded: a ``query_budget`` is one."""

    @property
    def budget(self) -> Budget: ...

    @property
    def on_exceed(self) -> str | None: ...


@dataclass(frozen=True)
class Configured:
    """A budget of ``BUDGETS``."""

    budget: Budget
    on_exceed: str | None = None


# BUDGETS as it was last, and what it says.
_last: tuple[Mapping[str, Any] | None, ByView[Configured | None]] = (None, ByView(()))


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


def work_budget(kind: str, name: str) -> Configured | None:
    """Return what ``BUDGETS`` says of a task, a command or a message; None for nothing."""
    try:
        return _configured().of_work(kind, name)
    except Exception:
        # As above.
        logger.exception("django_querybudget could not find the budget of %s %r.", kind, name)
        return None


def _view_budget(request: HttpRequest) -> Declared | None:
    declared = declared_on_view(request)
    if declared is not None:
        return declared
    return _configured().of(request)


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


def _configured() -> ByView[Configured | None]:
    global _last
    written = conf.BUDGETS
    if _last[0] is not written:
        _last = (written, ByView(_readable(written)))
    return _last[1]


def _readable(written: Mapping[str, Any]) -> Iterator[tuple[str, Configured | None]]:
    for text, value in written.items():
        try:
            for key, budget in parse_budgets({text: value}):
                yield key, None if budget is None else Configured(budget)
        except InvalidSetting as error:
            logger.error("%s This budget is left out.", error)
