"""The ORM queries of a test run: recorded by the database hook, told apart by their shape.

The hook calls a watcher on the stack of the code that queries, and there ``SQLCompiler`` is still
at work: its frame has the ``Query``. So nothing of the ORM is patched. To look at frames is too
slow for production: for a statement's ``Query`` it is done once, for its line and view each time.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING, Any

from django.core.handlers.base import BaseHandler
from django.db.models.sql.compiler import SQLCompiler

from django_querybudget.recording import hook
from django_querybudget.stacks import Origin, locate

from .shapes import QueryShape
from .walk import shapes_of

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper


@dataclass(kw_only=True)
class Sample:
    """All statements of one shape on one database, by the first that was seen."""

    using: str
    sql: str
    params: tuple[Any, ...]
    shapes: tuple[QueryShape, ...]
    count: int = 0
    tests: dict[str, None] = field(default_factory=dict)
    views: dict[str, None] = field(default_factory=dict)
    lines: dict[str, None] = field(default_factory=dict)
    """Whose line it is, as :mod:`django_querybudget.stacks` says: ``payment/views.py:31``."""


class Workload:
    """What a test run asked of its databases. A watcher of the database hook.

    Set ``test`` to the name of the test that runs; statements between tests are not recorded.
    """

    def __init__(self) -> None:
        self.test: str | None = None
        self._samples: dict[tuple[str, tuple[QueryShape, ...]], Sample] = {}
        self._by_sql: dict[tuple[str, str], Sample | None] = {}

    @property
    def samples(self) -> list[Sample]:
        """The shapes seen, in the order of their first statement."""
        return list(self._samples.values())

    def before(
        self, sql: object, params: object, many: bool, connection: BaseDatabaseWrapper
    ) -> None:
        """Take note of a statement that is about to be sent."""
        if self.test is None or many or not isinstance(sql, str):
            return
        key = (connection.alias, sql)
        if key not in self._by_sql:
            self._by_sql[key] = self._sample(sql, params, connection.alias)
        sample = self._by_sql[key]
        if sample is not None:
            sample.count += 1
            sample.tests[self.test] = None
            line = _line()
            if view := _view():
                sample.views[view] = None
            if line:
                sample.lines[line] = None

    def after(self, *_: object, **__: object) -> None:
        """Nothing is to be known afterwards."""

    def _sample(self, sql: str, params: Any, using: str) -> Sample | None:
        compiler = _compiler()
        if compiler is None:
            return None
        shapes = tuple(shapes_of(compiler.query, using))
        if not shapes:
            return None
        key = (using, shapes)
        if key not in self._samples:
            self._samples[key] = Sample(
                using=using, sql=sql, params=tuple(params or ()), shapes=shapes
            )
        return self._samples[key]

    @contextmanager
    def recording(self) -> Iterator[Workload]:
        """Listen to the database hook until the end of the block."""
        hook.install_everywhere()
        hook.add_watcher(self)
        try:
            yield self
        finally:
            hook.remove_watcher(self)


def _frames() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        yield frame
        frame = frame.f_back


def _compiler() -> SQLCompiler | None:
    for frame in _frames():
        if frame.f_code.co_name == "execute_sql":
            found = frame.f_locals.get("self")
            if isinstance(found, SQLCompiler):
                return found
    return None


def _line() -> str:
    """Return the line whose query this is, or ""."""
    origin = Origin.of(locate(sys._getframe(2))[0])
    return "" if origin is None else origin.nearest_place


def _view() -> str:
    """Return the name of the view that is being answered, or ""."""
    for frame in _frames():
        if frame.f_code.co_name == "_get_response":
            handler, request = frame.f_locals.get("self"), frame.f_locals.get("request")
            match = getattr(request, "resolver_match", None)
            if isinstance(handler, BaseHandler) and match is not None:
                return str(match.view_name or match.route)
    return ""
