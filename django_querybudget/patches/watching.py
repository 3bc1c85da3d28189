"""What a rehearsal's process loads eagerly and what it reads of it, written down: :class:`Watch`.

One process alone cannot say that nobody reads a relation: another one runs other tests. So each
writes down what it saw as it comes, and :mod:`.unread` puts it together.
"""

from __future__ import annotations

import ast
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from pathlib import Path
from types import FrameType
from typing import Any

from django.db.models import Model

from django_querybudget.nplusone.eager import EagerLoad, EagerLoads

from .loops import statement_around
from .source_text import SourceText
from .unwritable import Unwritable
from .writing import source_below

__all__ = ["Watch", "lookup_of"]

logger = logging.getLogger("django_querybudget")

_MOST_LOADS = 20_000
"""Places that load a relation, by the calls that led there, that a process takes note of."""


class Watch(EagerLoads):
    """Writes a ``load`` for each relation that a line loads eagerly, a ``read`` when it is read."""

    def __init__(self, root: Path, write: Callable[[dict[str, Any]], None]) -> None:
        super().__init__()
        self._root = root
        self._write = write
        self._ids: dict[EagerLoad, str] = {}
        self._told: set[str] = set()
        self._told_reads: set[str] = set()
        self._lock = threading.Lock()
        # What the threads and coroutines of a request have in common.
        self._counts: ContextVar[Counter[str] | None] = ContextVar("counts", default=None)
        self._is_broken = False

    def begin(self) -> None:
        """A request begins in this context."""
        self._counts.set(Counter())

    def end(self) -> dict[str, int]:
        """Return how often each load ran in this context since :meth:`begin`, by its id."""
        return dict(self._counts.get() or {})

    def note(self, frame: FrameType) -> None:
        """Take note of one call of a watched function. Nothing is raised into the host."""
        if self._is_broken:
            return
        try:
            super().note(frame)
        except Exception:  # Whatever a host's rows hold, its tests are not ours to fail.
            self._is_broken = True
            logger.exception("django_querybudget looks for unread eager loads no more.")
            self._write(
                {"kind": "note", "text": "Unread eager loads were not looked for to the end."}
            )

    def _note(self, load: EagerLoad, attribute: str, instances: Iterable[Model]) -> None:
        if load not in self._ids and len(self._ids) >= _MOST_LOADS:
            return
        super()._note(load, attribute, instances)
        with self._lock:
            name = self._id(load)
        counts = self._counts.get()
        if counts is not None:
            counts[name] += 1

    def _note_read(self, instance: Model, attribute: str) -> None:
        before = len(self._read)
        super()._note_read(instance, attribute)
        if len(self._read) == before:
            return
        with self._lock:
            read = {self._id(load) for load in tuple(self._read)} - self._told_reads
            self._told_reads |= read
        for name in sorted(read):
            self._write({"kind": "read", "id": name})

    def _id(self, load: EagerLoad) -> str:
        """Return what the load is called in every process, and tell of it once."""
        known = self._ids.get(load)
        if known is not None:
            return known
        built = load.built
        place = load.origin if built is None else built.origin
        root = "" if load.root is None else load.root._meta.label
        file, line = ("", 0) if place is None else (place.filename, place.line)
        name = f"{load.operation} {root} {'__'.join(load.path)} {file}:{line}"
        self._ids[load] = name
        if name not in self._told:
            self._told.add(name)
            self._write({"kind": "load", "id": name, **self._told_of(load, file, line)})
        return name

    def _told_of(self, load: EagerLoad, file: str, line: int) -> dict[str, Any]:
        told: dict[str, Any] = {
            "relation": ".".join(load.relation),
            "origin": str(load.origin or "an unknown line"),
            "operation": load.operation,
            "lookup": load.path,
            "call": None,
            "reason": "",
        }
        try:
            source, path = source_below(self._root, file)
            call = _call_of(source, load, line)
            told["call"] = [path, source.start_of(call), source.end_of(call)]
        except Unwritable as reason:
            told["reason"] = str(reason)
        return told


def lookup_of(node: ast.expr) -> tuple[str, ...] | None:
    """Return the hops of an argument: of ``"job__client"``, or of a ``Prefetch("books", …)``."""
    match node:
        case ast.Constant(value=str(text)):
            return tuple(text.split("__"))
        case ast.Call(args=[ast.Constant(value=str(text)), *_]) if all(
            each.arg != "to_attr" for each in node.keywords
        ):
            return tuple(text.split("__"))
    return None


def _call_of(source: SourceText, load: EagerLoad, line: int) -> ast.Call:
    """Return the ``select_related(…)`` that names what was loaded. Raises :class:`Unwritable`."""
    found = [
        node
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == load.operation
        and any(
            hops is not None and hops[: len(load.path)] == load.path
            for hops in map(lookup_of, node.args)
        )
    ]
    near = [node for node in found if _is_of(source, node, line)]
    if len(near) != 1:
        how_many = "no call" if not near else f"{len(near)} calls"
        raise Unwritable(f"{how_many} of {load.operation}() there may be what loads it")
    return near[0]


def _is_of(source: SourceText, node: ast.Call, line: int) -> bool:
    """Whether a call stands in the statement of ``line``, or in the function that it is of."""
    statement = statement_around(source, line)
    if statement is not None and any(each is node for each in ast.walk(statement)):
        return True
    function = source.scope_of(node)
    if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    return function.lineno <= line <= (function.end_lineno or 0)
