"""The middleware of ``--rows``: a list of few rows is answered once more, with copies of them.

It stands above all others in the second run, and in no other. The answer with copies is thrown
away, and so is what was written meanwhile; then the request is answered as ever, for the test.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

from django.apps import apps
from django.db import router, transaction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import Resolver404, resolve

from django_querybudget.routing.views import view_name_of

from .copying import CannotCopy, copy_rows
from .launching import FOLDER_VARIABLE, ROWS_VARIABLE
from .notes import write
from .trial import Grown, View, read_few

__all__ = ["GrowingMiddleware", "Growth", "growth_of"]

_ON_REQUEST = "_querybudget_growth"
MOST_TIMES = 5
"""So often a process answers one view with copies: a test may have no right to see its rows."""


@dataclass
class Growth:
    """One request that is answered with copies."""

    rows: int
    """How many of each row."""
    view: str
    seen: View | None = field(default=None, init=False)

    def note(self, view: View) -> None:
        """Take note of what the request executed."""
        self.seen = view


def growth_of(request: HttpRequest) -> Growth | None:
    """Return the growth that a request is answered for; None for any other request."""
    found: Growth | None = request.__dict__.get(_ON_REQUEST)
    return found


class GrowingMiddleware:
    """Stands above all others in the second run of ``try --rows``."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response
        self.rows = int(os.environ[ROWS_VARIABLE])
        self.few = read_few(Path(os.environ[FOLDER_VARIABLE]))
        self.times: dict[str, int] = {}

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        name = f"{request.method} {_view_name(request)}"
        if name in self.few and self.times.get(name, 0) < MOST_TIMES:
            self.times[name] = self.times.get(name, 0) + 1
            self._answer_with_copies(name, request)
        return self.get_response(request)

    def _answer_with_copies(self, name: str, request: HttpRequest) -> None:
        grown = Grown(name=name)
        try:
            models = [apps.get_model(label) for label in self.few[name]]
            with ExitStack() as rolled_back:
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
                if grown.copied:
                    self._measure(grown, request)
        except Exception as error:  # the project's view, its database or its router
            grown.problems[""] = f"{type(error).__name__}: {error}"
        write("grown", asdict(grown))

    def _measure(self, grown: Grown, request: HttpRequest) -> None:
        again = copy.copy(request)
        growth = again.__dict__[_ON_REQUEST] = Growth(self.rows, grown.name)
        response = self.get_response(again)
        if growth.seen is None:
            grown.problems[""] = "its answer was not measured: it is streamed, say"
        elif response.status_code >= 400:
            grown.problems[""] = f"it answered {response.status_code} with the copies"
        else:
            seen = growth.seen
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
