"""Walking a live stack: :func:`locate` to the project's line, :func:`trail` on from there."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any, NamedTuple

import asgiref
import django
from django.template.base import Node

from .origins import Origin, RawOrigin, SerializerField, position
from .tasks import THREAD_HANDLER, gathering_chain, waiting_chain

__all__ = [
    "Trail",
    "call_path",
    "is_library",
    "is_project",
    "locate",
    "origins_along",
    "outward",
    "trail",
]


class Trail(NamedTuple):
    """The way to a query as it was met, from the project's nearest frame outwards.

    Nothing is looked up for it, since it is taken of every query.
    """

    codes: list[CodeType]
    """The functions, at most :data:`MOST_FRAMES_OF_PATH`, and more of a waiting coroutine's."""
    places: list[int]
    """Where in each: an offset in bytes (``f_lasti``); for one that renders, which template node or
    serializer field it renders (its ``id()``)."""


_new = tuple.__new__  # Of a NamedTuple: its own __new__ is a call in Python more.

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

_kind_of_file: dict[str, int] = {}
# Code that is made as it runs may have a file name of its own each time.
_MOST_FILES = 10_000


def _classify(filename: str) -> int:
    if filename == _RENDER_ANNOTATED.co_filename:
        kind = _TEMPLATES
    elif filename == THREAD_HANDLER.co_filename:
        kind = _ASGIREF
    elif filename.startswith(_INTERNAL_FOLDERS) or filename.startswith(("<frozen", "<string>")):
        kind = _INTERNAL
    elif filename.endswith(os.path.join("", "rest_framework", "serializers.py")):
        kind = _SERIALIZERS
    elif any(packages in filename for packages in _PACKAGES):
        kind = _LIBRARY
    elif filename.startswith(_STDLIB_FOLDERS):
        kind = _INTERNAL
    else:
        kind = _PROJECT
    if len(_kind_of_file) >= _MOST_FILES:
        _kind_of_file.clear()
    _kind_of_file[filename] = kind
    return kind


def _kind_of(code: CodeType) -> int:
    kind = _kind_of_file.get(code.co_filename)
    return _classify(code.co_filename) if kind is None else kind


def is_project(code: CodeType) -> bool:
    """Whether ``code`` is the project's: no standard library, no package, not Django, not ours."""
    return _kind_of(code) == _PROJECT


def is_library(code: CodeType) -> bool:
    """Whether ``code`` is an installed package's, other than Django and this library."""
    return _kind_of(code) in (_LIBRARY, _SERIALIZERS)


def _innermost(chain: list[FrameType]) -> tuple[CodeType, int] | None:
    for frame in reversed(chain):
        if is_project(frame.f_code):
            return frame.f_code, frame.f_lasti
    return None


def locate(frame: FrameType | None) -> tuple[RawOrigin, FrameType | None]:
    """Walk from ``frame`` outwards to the project's nearest line; see the package's notes.

    Return it, and the frame at which the walk ended: the project's, the worker thread's end in
    async code, or None.
    """
    # The usual walk, through Django alone, as cheap as it can be: it is made for every query. There
    # is no shorter way: which line is the nearest stands in every frame between, and nowhere else.
    kinds: Any = _kind_of_file
    nearest: Any = frame
    try:
        while not (kind := kinds[(code := nearest.f_code).co_filename]):
            nearest = nearest.f_back
    except (AttributeError, KeyError):  # The stack's end; a file that was not met before.
        return _look_closer(nearest)
    if kind == _PROJECT:
        return _new(RawOrigin, (code, nearest.f_lasti, None, None)), nearest
    return _look_closer(nearest)


def _look_closer(frame: FrameType | None) -> tuple[RawOrigin, FrameType | None]:
    """Go on with the walk, by frames that say more than whose they are."""
    library: tuple[CodeType, int] | None = None
    node: Node | None = None
    serializer: SerializerField | None = None
    while frame is not None:
        code = frame.f_code
        kind = _kind_of(code)
        if kind == _PROJECT:
            return RawOrigin(code, frame.f_lasti, node, serializer), frame
        if kind == _LIBRARY:
            library = library or (code, frame.f_lasti)
        elif kind == _TEMPLATES:
            if node is None and code is _RENDER_ANNOTATED:
                rendered = frame.f_locals["self"]
                node = rendered if rendered.token and rendered.origin else None
        elif kind == _SERIALIZERS:
            library = library or (code, frame.f_lasti)
            if serializer is None and code.co_name == "to_representation":
                field = frame.f_locals.get("field")
                if field is not None:
                    serializer = SerializerField(type(frame.f_locals["self"]), field.field_name)
        elif code is THREAD_HANDLER:
            awaiting = _innermost(waiting_chain(frame)) or _innermost(gathering_chain(frame))
            if awaiting is not None:
                return RawOrigin(*awaiting, node, serializer), frame
        frame = frame.f_back
    nearest, instruction = library or (None, 0)
    return RawOrigin(nearest, instruction, node, serializer), None


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
    codes: list[CodeType] = []
    places: list[int] = []
    if frame is None:
        return Trail(codes, places)
    for _ in _STEPS:
        code = frame.f_code
        if code is thread:
            for each in reversed(waiting_chain(frame)):
                codes.append(each.f_code)
                places.append(each.f_lasti)
        else:
            codes.append(code)
            if code is render:
                places.append(id(frame.f_locals["self"]))
            elif code is _to_representation:
                places.append(id(frame.f_locals.get("field")))
            else:
                places.append(frame.f_lasti)
        outer = frame.f_back
        if outer is None:
            break
        frame = outer
    return _new(Trail, (codes, places))


def origins_along(found: Trail) -> list[Origin]:
    """Return the project's lines of a trail, the nearest first."""
    steps = zip(found.codes, found.places, strict=True)
    lines = [Origin.of(RawOrigin(code, place)) for code, place in steps if is_project(code)]
    return [origin for origin in lines if origin is not None]


def call_path(found: Trail | None) -> int:
    """Return a hash of a trail: the way that the project's code came to a query; 0 of none.

    Two runs of a loop's body have the same; two calls of one helper from two places have not. A
    recursion's depth is not in it, and neither is the way through Django or a library.
    """
    path = 0
    if found is None:
        return path
    last: CodeType | None = None
    for code, place in zip(found.codes, found.places, strict=True):
        if code is _RENDER_ANNOTATED or code is _to_representation:
            path = hash((path, place))
        elif is_project(code) and code is not last:
            path = hash((path, id(code), position(code, place)))
            last = code
    return path
