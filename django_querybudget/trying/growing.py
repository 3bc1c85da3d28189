"""The middleware of ``--rows``: a list of few rows is answered once more, with copies of them.

It stands above all others in the second run, and in no other. The answer with copies is thrown
away, and so is what was written meanwhile; then the request is answered as ever, for the test.
Under an async client all of it is awaited: a view runs in the task that it always runs in.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.apps import apps
from django.db import router, transaction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import Resolver404, resolve

from django_querybudget.routing.views import view_name_of

from .copying import CannotCopy, copy_rows
from .launching import FOLDER_VARIABLE, ROWS_VARIABLE
from .notes import write
from .trial import Grown, ViewCount, read_few

__all__ = ["GrowingMiddleware", "Growth", "before_of", "growth_of"]

_ON_REQUEST = "_querybudget_growth"
_BEFORE = "_querybudget_before"
MOST_TIMES = 5
"""So often a process answers one view with copies: a test may have no right to see its rows."""


@dataclass
class Growth:
    """One request that is answered with copies."""

    rows: int
    """How many of each row."""
    view: str
    seen: ViewCount | None = field(default=None, init=False)

    def note(self, view: ViewCount) -> None:
        """Take note of what the request executed."""
        self.seen = view


def growth_of(request: HttpRequest) -> Growth | None:
    """Return the growth that a request is answered for; None for any other request."""
    found: Growth | None = request.__dict__.get(_ON_REQUEST)
    return found


def before_of(request: HttpRequest) -> Growth | None:
    """Return what is to know the same of a request without copies; None for any other request."""
    found: Growth | None = request.__dict__.get(_BEFORE)
    return found


class GrowingMiddleware:
    """Stands above all others in the second run of ``try --rows``."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self.rows = int(os.environ[ROWS_VARIABLE])
        self.few = read_few(Path(os.environ[FOLDER_VARIABLE]))
        self.times: dict[str, int] = {}
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        if self.is_async:
            return self._answer(request)
        if (grown := self._due(request)) is None:
            return self.get_response(request)
        with _noted(grown), ExitStack() as rolled_back:
            self._copy(grown, rolled_back)
            if grown.copied:
                again, growth = self._again(grown, request)
                _note(grown, growth, self.get_response(again))
        with _written(grown, request):
            return self.get_response(request)

    async def _answer(self, request: HttpRequest) -> Any:
        if (grown := self._due(request)) is None:
            return await self.get_response(request)
        with _noted(grown):
            rolled_back = ExitStack()
            # On the thread that the view's own queries are sent from.
            try:
                await sync_to_async(self._copy)(grown, rolled_back)
                if grown.copied:
                    again, growth = self._again(grown, request)
                    _note(grown, growth, await self.get_response(again))
            finally:
                await sync_to_async(rolled_back.close)()
        with _written(grown, request):
            return await self.get_response(request)

    def _due(self, request: HttpRequest) -> Grown | None:
        """Return what is to be known of a request's view, if it is one that listed few rows."""
        name = f"{request.method} {_view_name(request)}"
        if name not in self.few or self.times.get(name, 0) >= MOST_TIMES:
            return None
        self.times[name] = self.times.get(name, 0) + 1
        return Grown(name=name)

    def _copy(self, grown: Grown, rolled_back: ExitStack) -> None:
        """Copy the rows of the models that the view lists, until ``rolled_back`` ends."""
        models = [apps.get_model(label) for label in self.few[grown.name]]
        for alias in dict.fromkeys(map(router.db_for_write, models)):
            rolled_back.enter_context(transaction.atomic(using=alias))
            rolled_back.callback(transaction.set_rollback, True, using=alias)
        for model in models:
            try:
                copy_rows(model, self.rows, router.db_for_write(model))
            except CannotCopy as error:
                grown.problems[model._meta.label] = str(error)
            else:
                grown.copied.append(model._meta.label)

    def _again(self, grown: Grown, request: HttpRequest) -> tuple[HttpRequest, Growth]:
        """Return the request once more, and what will be known of it."""
        again = copy.copy(request)
        growth = again.__dict__[_ON_REQUEST] = Growth(self.rows, grown.name)
        return again, growth


@contextmanager
def _noted(grown: Grown) -> Iterator[None]:
    """Take note of what the block finds out, however it ends."""
    try:
        yield
    except Exception as error:  # the project's view, its database or its router
        grown.problems[""] = f"{type(error).__name__}: {error}"


@contextmanager
def _written(grown: Grown, request: HttpRequest) -> Iterator[None]:
    """Write down what was found out, with what the request by itself executes in the block."""
    by_itself = request.__dict__[_BEFORE] = Growth(0, grown.name)
    try:
        yield
    finally:
        if by_itself.seen is not None:
            grown.before = by_itself.seen.queries
        write("grown", asdict(grown))


def _note(grown: Grown, growth: Growth, response: HttpResponseBase) -> None:
    seen = growth.seen
    if seen is None:
        grown.problems[""] = "its answer was not measured: it is streamed, say"
    elif response.status_code >= 400:
        grown.problems[""] = f"it answered {response.status_code} with the copies"
    else:
        grown.queries = seen.queries
        # A filter of the view, a page: what is known to be short has not become longer.
        grown.not_listed = [
            model
            for model in grown.copied
            if model not in seen.unknown and seen.lists.get(model, 0) <= 2
        ]


def _view_name(request: HttpRequest) -> str:
    try:
        return view_name_of(request, resolve(request.path_info)) or ""
    except Resolver404:
        return ""
