"""Walking a live stack: :func:`find_origin` to the project's line, :func:`trail` on from there."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any, TypeAlias

import asgiref
import django
from django.template.base import Node

from django_querybudget.sql.memory import Memo

from .origins import Origin, RawOrigin, position
from .tasks import THREAD_HANDLER, gathering_chain, waiting_chain

__all__ = [
    "Trail",
    "call_path",
    "find_origin",
    "is_library",
    "is_project",
    "locate",
    "locate_text",
    "origins_along",
    "outward",
    "shortcuts",
    "trail",
]

Trail: TypeAlias = list[Any]
"""Codes and where in them, by turns, from the project's nearest frame outwards: the way to a query
as it was met. Nothing is looked up for it, since it is taken of every query."""

# How far up a trail goes from the project's nearest line.
MOST_FRAMES_OF_PATH = 8

# What a frame's file says about it.
_INTERNAL, _LIBRARY, _PROJECT, _TEMPLATES, _SERIALIZERS, _ASGIREF = range(6)

_INTERNAL_FOLDERS = tuple(
    os.path.join(path, "")
    for path in {
        os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
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

_kind_of_file: dict[str, int] = {
    _RENDER_ANNOTATED.co_filename: _TEMPLATES,
    THREAD_HANDLER.co_filename: _ASGIREF,
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


def is_project(code: CodeType) -> bool:
    """Whether ``code`` is the project's: no standard library, no package, not Django, not ours."""
    kind = _kind_of_file.get(code.co_filename)
    return (_classify(code.co_filename) if kind is None else kind) == _PROJECT


def is_library(code: CodeType) -> bool:
    """Whether ``code`` is an installed package's, other than Django and this library."""
    kind = _kind_of_file.get(code.co_filename)
    return (_classify(code.co_filename) if kind is None else kind) in (_LIBRARY, _SERIALIZERS)


def _innermost(chain: list[FrameType]) -> tuple[CodeType, int] | None:
    for frame in reversed(chain):
        if is_project(frame.f_code):
            return frame.f_code, frame.f_lasti
    return None


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
            elif code is THREAD_HANDLER:
                awaiting = _innermost(waiting_chain(frame)) or _innermost(gathering_chain(frame))
                if awaiting is not None:
                    return (*awaiting, template_node, serializer), frame
        frame = frame.f_back
    nearest = library or (None, 0)
    return (nearest[0], nearest[1], template_node, serializer), None


shortcuts: Memo[str, tuple[int, CodeType, CodeType]] = Memo()
"""How deep the project's nearest frame was when a text was last sent, with the codes of the frame
inside of it and of its own. A jump there, made in C, replaces the walk where both are the same: one
text comes to the database through one way of Django's, which the inner code stands for."""


def locate_text(sql: str, frame: FrameType, depth: int) -> tuple[RawOrigin, FrameType | None]:
    """Return what :func:`locate` does, and note the shortcut.

    ``depth`` is how far ``frame`` is from the one that will ask for the shortcut.
    """
    origin, project = locate(frame)
    code, _, template_node, serializer = origin
    if (
        project is not None
        and project.f_code is code
        and project is not frame
        and template_node is None
        and serializer is None
    ):
        inner = frame
        while (outer := inner.f_back) is not None and outer is not project:
            if outer.f_code is THREAD_HANDLER:
                return origin, project  # Only the loop's runner: another task's is elsewhere.
            inner = outer
            depth += 1
        shortcuts.remember(sql, (depth, inner.f_code, project.f_code))
    return origin, project


def outward(frame: FrameType | None) -> Iterator[FrameType]:
    """Yield the frames from ``frame`` outwards, a waiting coroutine's among them."""
    while frame is not None:
        if frame.f_code is THREAD_HANDLER:
            yield from reversed(waiting_chain(frame))
        yield frame
        frame = frame.f_back


_STEPS = range(MOST_FRAMES_OF_PATH)
_to_representation: CodeType | None = None


def find_serializers() -> None:
    """Let trails know REST framework's serializers, once the project has imported them."""
    global _to_representation
    module: Any = sys.modules.get("rest_framework.serializers")
    if module is not None and _to_representation is None:
        _to_representation = module.Serializer.to_representation.__code__


def trail(
    frame: FrameType | None, render: CodeType = _RENDER_ANNOTATED, thread: CodeType = THREAD_HANDLER
) -> Trail:
    """Return the way that led to ``frame``, which is what :func:`locate` ended at.

    Of a template's node and a serializer's field it is which one it is that counts, not the
    instruction.
    """
    found: Trail = []
    if frame is None:
        return found
    for _ in _STEPS:
        code = frame.f_code
        if code is render:
            found += (code, id(frame.f_locals["self"]))
        elif code is _to_representation:
            found += (code, id(frame.f_locals.get("field")))
        elif code is thread:
            for each in reversed(waiting_chain(frame)):
                found += (each.f_code, each.f_lasti)
        else:
            found += (code, frame.f_lasti)
        outer = frame.f_back
        if outer is None:
            break
        frame = outer
    return found


def origins_along(found: Trail) -> list[Origin]:
    """Return the project's lines of a trail, the nearest first."""
    pairs = zip(found[::2], found[1::2], strict=True)
    lines = [Origin.of((code, where, None, None)) for code, where in pairs if is_project(code)]
    return [origin for origin in lines if origin is not None]


def call_path(found: Trail) -> int:
    """Return a hash of a trail: the way that the project's code came to a query.

    Two runs of a loop's body have the same; two calls of one helper from two places have not. A
    recursion's depth is not in it, and neither is the way through Django or a library.
    """
    path = 0
    last: CodeType | None = None
    for code, where in zip(found[::2], found[1::2], strict=True):
        if code is _RENDER_ANNOTATED or code is _to_representation:
            path = hash((path, where))
        elif is_project(code) and code is not last:
            path = hash((path, id(code), position(code, where)))
            last = code
    return path
