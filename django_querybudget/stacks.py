"""Where a query comes from: the line of the project's code, sync or async, template or serializer.

A stack is walked, never formatted: :func:`find_origin` runs for every recorded query and returns a
tuple of what it met (about 1 µs); :class:`Origin` is made of it when somebody looks.

Whose line it is
    The nearest frame of the project: no standard library, no site-packages, no Django, not this
    library. With none on the stack (the admin, a project installed as a package) the nearest
    third-party frame that is not Django's.

Async code
    The ORM's async methods run on a worker thread, whose stack ends in asgiref's
    ``thread_handler``; the coroutine that awaits is a frame of no running stack. It is found from
    its task: the coroutines that a task awaits are a chain (``cr_await``), and the task that waits
    for this thread holds the very ``task_context`` list that ``thread_handler`` was given. The
    task that opened the capture is tried first; a child of ``gather`` is looked up among the tasks
    of its loop, up to a limit.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sysconfig
from contextvars import ContextVar
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any, TypeAlias

import asgiref
import django
from asgiref.sync import SyncToAsync
from django.template.base import Node

__all__ = ["Origin", "RawOrigin", "current_task", "find_origin"]


RawOrigin: TypeAlias = tuple[CodeType | None, int, Node | None, tuple[type, str] | None]
"""What a walk met: code and offset of its instruction (``f_lasti``), template node, serializer and
field. No text is made of it, and no line number, which is a search in the code's line table."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """The place in the project that a query comes from."""

    filename: str
    """Absolute path of the source file, as the code object has it."""
    line: int
    """Line number, from 1."""
    function: str
    """Qualified name of the function."""
    template: str | None = None
    """``name:line`` of the template node that was being rendered, if one was nearer."""
    serializer_field: str | None = None
    """``Serializer.field`` of the REST framework field being rendered, if one was nearer."""

    def __str__(self) -> str:
        try:
            path = os.path.relpath(self.filename) if os.path.isabs(self.filename) else self.filename
        except (OSError, ValueError):  # The working directory is gone, or on another drive.
            path = self.filename
        place = f"{self.filename if path.startswith('..') else path}:{self.line}"
        near = self.template or self.serializer_field
        return f"{near} ({place} in {self.function})" if near else f"{place} in {self.function}"

    @classmethod
    def of(cls, raw: RawOrigin) -> Origin | None:
        """Return what ``raw`` stands for; None if there was no frame to blame."""
        code, instruction, template_node, serializer = raw
        if code is None:
            return None
        template = None
        if template_node is not None:
            node: Any = template_node
            template = f"{node.origin.template_name or node.origin.name}:{node.token.lineno}"
        return cls(
            filename=code.co_filename,
            line=_line_of(code, instruction),
            function=code.co_qualname,
            template=template,
            serializer_field=(f"{serializer[0].__name__}.{serializer[1]}" if serializer else None),
        )


current_task: ContextVar[asyncio.Task[Any] | None] = ContextVar("querybudget_task", default=None)
"""The task that opened the capture: set by it, read on the worker threads it queries from."""

# How many tasks of a loop are searched for the one that waits; past it the opening task stands in.
MOST_TASKS_SEARCHED = 256

# What a frame's file says about it.
_INTERNAL, _LIBRARY, _PROJECT, _TEMPLATES, _SERIALIZERS, _ASGIREF = range(6)

_INTERNAL_FOLDERS = tuple(
    os.path.join(path, "")
    for path in {
        os.path.dirname(os.path.abspath(__file__)),
        os.path.dirname(django.__file__),
        os.path.dirname(asgiref.__file__),
    }
)
_STDLIB_FOLDERS = tuple(
    os.path.join(path, "")
    for path in {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
)
_PACKAGES = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")

_RENDER_ANNOTATED = Node.render_annotated.__code__
_THREAD_HANDLER = SyncToAsync.thread_handler.__code__
_AWAIT_THREAD = SyncToAsync.__call__.__code__

_kind_of_file: dict[str, int] = {
    _RENDER_ANNOTATED.co_filename: _TEMPLATES,
    _THREAD_HANDLER.co_filename: _ASGIREF,
}


def _classify(filename: str) -> int:
    if filename.startswith(_INTERNAL_FOLDERS) or filename.startswith(("<frozen", "<string>")):
        kind = _INTERNAL
    elif filename.endswith(os.path.join("", "rest_framework", "serializers.py")):
        kind = _SERIALIZERS
    elif any(packages in filename for packages in _PACKAGES):
        kind = _LIBRARY
    elif filename.startswith(_STDLIB_FOLDERS):
        kind = _INTERNAL
    else:
        kind = _PROJECT
    _kind_of_file[filename] = kind
    return kind


def _line_of(code: CodeType, instruction: int) -> int:
    """Return the line of the instruction at a byte offset; the function's own if it has none."""
    for start, end, line in code.co_lines():
        if start <= instruction < end and line is not None:
            return line
    return code.co_firstlineno


def find_origin(frame: FrameType | None) -> RawOrigin:
    """Walk from ``frame`` outwards to the project's nearest line; see the notes above."""
    library: tuple[CodeType, int] | None = None
    template_node: Node | None = None
    serializer: tuple[type, str] | None = None
    kinds = _kind_of_file
    while frame is not None:
        code = frame.f_code
        filename = code.co_filename
        kind = kinds.get(filename)
        if kind is None:
            kind = _classify(filename)
        if kind == _PROJECT:
            return code, frame.f_lasti, template_node, serializer
        if kind != _INTERNAL:
            if kind == _LIBRARY:
                library = library or (code, frame.f_lasti)
            elif kind == _TEMPLATES:
                if template_node is None and code is _RENDER_ANNOTATED:
                    node = frame.f_locals["self"]
                    template_node = node if node.token and node.origin else None
            elif kind == _SERIALIZERS:
                library = library or (code, frame.f_lasti)
                if serializer is None and code.co_name == "to_representation":
                    field = frame.f_locals.get("field")
                    if field is not None:
                        serializer = (type(frame.f_locals["self"]), field.field_name)
            elif code is _THREAD_HANDLER:
                awaiting = _find_in_tasks(frame)
                if awaiting is not None:
                    return *awaiting, template_node, serializer
        frame = frame.f_back
    nearest = library or (None, 0)
    return nearest[0], nearest[1], template_node, serializer


def _find_in_tasks(thread_handler: FrameType) -> tuple[CodeType, int] | None:
    """Return the project's innermost line in the task that waits for this worker thread."""
    names = thread_handler.f_locals
    waits_with = names.get("task_context")
    own = current_task.get()
    opening = _chain(own) if own is not None else []
    if waits_with is None or _waits(opening, waits_with):
        return _innermost(opening)
    tasks = asyncio.all_tasks(names["loop"])
    if len(tasks) <= MOST_TASKS_SEARCHED:
        for task in tasks:
            chain = _chain(task)
            if _waits(chain, waits_with):
                return _innermost(chain)
    return _innermost(opening)


def _chain(task: asyncio.Task[Any]) -> list[FrameType]:
    """Return the frames that ``task`` is suspended in, outermost first."""
    frames = []
    awaited: Any = task.get_coro()
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "ag_frame", None)
        if frame is not None:
            frames.append(frame)
            awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "ag_await", None)
        elif type(awaited).__name__.startswith("async_generator_"):
            # `async for` and anext() await an object that keeps its generator to itself.
            awaited = next(
                (found for found in gc.get_referents(awaited) if hasattr(found, "ag_frame")), None
            )
        else:
            break
    return frames


def _waits(chain: list[FrameType], task_context: object) -> bool:
    return any(
        frame.f_code is _AWAIT_THREAD and frame.f_locals.get("task_context") is task_context
        for frame in reversed(chain)
    )


def _innermost(chain: list[FrameType]) -> tuple[CodeType, int] | None:
    for frame in reversed(chain):
        filename = frame.f_code.co_filename
        kind = _kind_of_file.get(filename)
        if (_classify(filename) if kind is None else kind) == _PROJECT:
            return frame.f_code, frame.f_lasti
    return None
