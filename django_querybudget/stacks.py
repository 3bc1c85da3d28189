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
import sys
import sysconfig
from contextvars import ContextVar
from dataclasses import dataclass
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE
from types import CodeType, FrameType
from typing import Any, TypeAlias

import asgiref
import django
from asgiref.sync import SyncToAsync
from django.template.base import Node

__all__ = [
    "Origin",
    "RawOrigin",
    "call_path",
    "current_task",
    "find_origin",
    "is_project",
    "locate",
    "position",
]


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

# How far up a call path goes from the project's nearest line: it is walked for every repeat.
MOST_FRAMES_OF_PATH = 8

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
    # The usual walk, through Django alone, as cheap as it can be: it is made for every query.
    kinds = _kind_of_file
    nearest = frame
    while nearest is not None:
        code = nearest.f_code
        kind = kinds.get(code.co_filename)
        if kind == _PROJECT:
            return code, nearest.f_lasti, None, None
        if kind != _INTERNAL:
            break
        nearest = nearest.f_back
    return locate(frame)[0]


def locate(frame: FrameType | None) -> tuple[RawOrigin, FrameType | None]:
    """Return what :func:`find_origin` does, and the frame at which the walk ended.

    That is the project's frame, the worker thread's end in async code, or None.
    """
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
            return (code, frame.f_lasti, template_node, serializer), frame
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
                    return (*awaiting, template_node, serializer), frame
        frame = frame.f_back
    nearest = library or (None, 0)
    return (nearest[0], nearest[1], template_node, serializer), None


STABLE_POSITIONS = sys.version_info >= (3, 13)

if sys.version_info >= (3, 13):

    def position(code: CodeType, instruction: int) -> int:
        """Return a number for the place of an instruction, the same in every run of a loop."""
        del code
        return instruction

else:
    # A specialised instruction's f_lasti points into its inline cache: it changes as code warms up.
    _positions: dict[tuple[int, int], tuple[CodeType, int]] = {}
    _MOST_POSITIONS = 10_000

    def position(code: CodeType, instruction: int) -> int:
        """Return a number for the place of an instruction, the same in every run of a loop."""
        key = (id(code), instruction)
        found = _positions.get(key)
        if found is None or found[0] is not code:
            if len(_positions) >= _MOST_POSITIONS:
                _positions.clear()
            found = _positions[key] = (code, _line_of(code, instruction))
        return found[1]


def is_project(code: CodeType) -> bool:
    """Whether ``code`` is the project's: no standard library, no package, not Django, not ours."""
    kind = _kind_of_file.get(code.co_filename)
    return (_classify(code.co_filename) if kind is None else kind) == _PROJECT


def call_path(frame: FrameType | None) -> int:
    """Return a hash of the way that the project's code came to ``frame``, by the last few calls.

    ``frame`` is what :func:`locate` ended at.
    Two runs of a loop's body have the same; two calls of one helper from two places have not. A
    recursion's depth is not in it, and neither is the way through Django or a library.
    """
    path = 0
    last: CodeType | None = None
    kinds = _kind_of_file
    for _ in range(MOST_FRAMES_OF_PATH):
        if frame is None:
            break
        code = frame.f_code
        filename = code.co_filename
        kind = kinds.get(filename)
        if kind is None:
            kind = _classify(filename)
        if kind == _PROJECT:
            if code is not last:
                where = frame.f_lasti if STABLE_POSITIONS else position(code, frame.f_lasti)
                path = hash((path, id(code), where))
                last = code
        elif kind == _TEMPLATES:
            if code is _RENDER_ANNOTATED:
                path = hash((path, id(frame.f_locals["self"])))
        elif kind == _SERIALIZERS:
            if code.co_name == "to_representation":
                path = hash((path, id(frame.f_locals.get("field"))))
        elif code is _THREAD_HANDLER:
            for each in _waiting_chain(frame):
                path = hash((path, id(each.f_code), position(each.f_code, each.f_lasti)))
        frame = frame.f_back
    return path


def _find_in_tasks(thread_handler: FrameType) -> tuple[CodeType, int] | None:
    """Return the project's innermost line in the task that waits for this worker thread."""
    return _innermost(_waiting_chain(thread_handler))


def _waiting_chain(thread_handler: FrameType) -> list[FrameType]:
    """Return the frames of the task that waits for this worker thread, outermost first."""
    names = thread_handler.f_locals
    waits_with = names.get("task_context")
    own = current_task.get()
    opening = _chain(own) if own is not None else []
    if waits_with is None or _waits(opening, waits_with):
        return opening
    tasks = asyncio.all_tasks(names["loop"])
    if len(tasks) <= MOST_TASKS_SEARCHED:
        for task in tasks:
            chain = _chain(task)
            if _waits(chain, waits_with):
                return chain
    # A task that has not come to wait yet stands on the stack of its loop's thread; and it may
    # have come to wait by the time that has been looked at.
    return _running_chain(waits_with) or (_chain(own) if own is not None else [])


def _running_chain(task_context: object) -> list[FrameType]:
    """Return the frames of the coroutine that runs, and is about to wait with ``task_context``."""
    for top in sys._current_frames().values():
        frame: FrameType | None = top
        chain: list[FrameType] = []
        while frame is not None:
            if frame.f_code.co_flags & (CO_COROUTINE | CO_ASYNC_GENERATOR):
                chain.append(frame)
            frame = frame.f_back
        chain.reverse()
        if _waits(chain, task_context):
            return chain
    return []


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
        if is_project(frame.f_code):
            return frame.f_code, frame.f_lasti
    return None
