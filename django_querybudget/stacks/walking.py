"""Walking a live stack: :func:`locate` to the project's line, :func:`trail` on from there."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from types import CodeType, FrameType
from typing import Any, NamedTuple

from django.template.base import Node

from .files import (
    BOUNDARY,
    FRAMEWORK,
    INTERNAL,
    LIBRARY,
    PROJECT,
    RENDER_ANNOTATED,
    SERIALIZERS,
    TEMPLATES,
    TOOL,
    checks_access,
    is_boundary,
    is_project,
    kind_of,
    kinds,
)
from .hosts import RawHost, host_at
from .origins import Origin, RawOrigin, SerializerField, position
from .tasks import MAIN_WRAP, THREAD_HANDLER, gathering_chain, waiting_chain
from .tools import is_tools_own

__all__ = [
    "TOOLS_OWN",
    "Trail",
    "call_path",
    "locate",
    "origins_along",
    "outward",
    "trail",
    "way_along",
    "whole_trail",
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
    beyond: Trail | None = None
    """The frames further out, if the whole way is asked for; no loop is told from another by it."""


# How far up a trail goes from the project's nearest line.
MOST_FRAMES_OF_PATH = 8
MOST_FRAMES_OF_WAY = 200

_new = tuple.__new__  # Of a NamedTuple: its own __new__ is a call in Python more.

TOOLS_OWN = RawOrigin(None, 0)
"""The origin of a query that another tool sent for its own sake, which is not to be counted."""


def locate(frame: FrameType | None) -> tuple[RawOrigin, FrameType | None]:
    """Walk from ``frame`` outwards to the project's nearest line; see the package's notes.

    Return it, and the frame at which the walk ended: the project's, the worker thread's end in
    async code, or None.
    """
    # The usual walk, through Django alone, as cheap as it can be: it is made for every query. There
    # is no shorter way: which line is the nearest stands in every frame between, and nowhere else.
    of_files: Any = kinds
    nearest: Any = frame
    try:
        while not (kind := of_files[(code := nearest.f_code).co_filename]):
            nearest = nearest.f_back
    except (AttributeError, KeyError):  # The stack's end; a file that was not met before.
        return _look_closer(frame, nearest)
    if kind == PROJECT:
        return _new(RawOrigin, (code, nearest.f_lasti, None, None, None)), nearest
    return _look_closer(frame, nearest)


def _look_closer(
    start: FrameType | None, frame: FrameType | None
) -> tuple[RawOrigin, FrameType | None]:
    """Go on with the walk at ``frame``, by frames that say more than whose they are."""
    met = _Met()
    passed_on = ""  # The name of the framework's function that the frame before is.
    while frame is not None:
        code = frame.f_code
        kind = kind_of(code)
        if kind == PROJECT and code.co_name != passed_on:
            return RawOrigin(code, frame.f_lasti, met.node, met.serializer), frame
        passed_on = ""
        if kind in (FRAMEWORK, BOUNDARY):
            if checks_access(code):
                met.host = None
                break
            met.host = met.host or host_at(frame)
            if is_boundary(code):
                break
            passed_on = code.co_name
        elif kind == TOOL:
            if not met.tool and is_tools_own(start):
                return TOOLS_OWN, None
            met.tool = True
        elif code is THREAD_HANDLER:
            awaiting, ends = _innermost(waiting_chain(frame))
            if awaiting is None and not ends:
                awaiting, ends = _innermost(gathering_chain(frame))
            if awaiting is not None:
                return RawOrigin(*awaiting, met.node, met.serializer), frame
            if ends:
                break
        elif kind != INTERNAL:
            met.look_at(frame, kind)
        frame = frame.f_back
    return RawOrigin(*met.library, met.node, met.serializer, met.host), None


class _Met:
    """What a closer look has met on its way, the innermost of each."""

    library: tuple[CodeType | None, int] = (None, 0)
    node: Node | None = None
    serializer: SerializerField | None = None
    host: RawHost | None = None
    tool = False

    def look_at(self, frame: FrameType, kind: int) -> None:
        code = frame.f_code
        if kind in (LIBRARY, SERIALIZERS) and self.library[0] is None:
            self.library = code, frame.f_lasti
        if kind == TEMPLATES and self.node is None and code is RENDER_ANNOTATED:
            node = frame.f_locals["self"]
            self.node = node if node.token and node.origin else None
        elif kind == SERIALIZERS and self.serializer is None and code.co_name == _RENDERS:
            field = frame.f_locals.get("field")
            if field is not None:
                self.serializer = SerializerField(type(frame.f_locals["self"]), field.field_name)


_RENDERS = "to_representation"


def _innermost(chain: list[FrameType]) -> tuple[tuple[CodeType, int] | None, bool]:
    """Return the project's nearest line in a chain, and whether the chain ends the walk."""
    for frame in reversed(chain):
        if is_project(frame.f_code):
            return (frame.f_code, frame.f_lasti), True
        if is_boundary(frame.f_code):
            return None, True
    return None, False


def outward(frame: FrameType | None) -> Iterator[FrameType]:
    """Yield the frames from ``frame`` outwards, a waiting coroutine's among them.

    They end where the framework answers a request: what is outside of that only passes it on. They
    also end at a task of which it is not known who started it: that is where its loop would be.
    """
    while frame is not None:
        if is_boundary(frame.f_code):
            return
        started: list[FrameType] = []
        if frame.f_code is THREAD_HANDLER:
            started = [*gathering_chain(frame), *waiting_chain(frame)]
            for each in reversed(started):
                if is_boundary(each.f_code):
                    return
                yield each
        yield frame
        if started and started[0].f_code is not MAIN_WRAP:
            return
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
    frame: FrameType | None, render: CodeType = RENDER_ANNOTATED, thread: CodeType = THREAD_HANDLER
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
    return _new(Trail, (codes, places, None))


def whole_trail(frame: FrameType | None) -> Trail:
    """Return what :func:`trail` does, and the frames beyond, up to the answer to the request."""
    near = trail(frame)
    within = (each for each in outward(frame) if each.f_code is not THREAD_HANDLER)
    frames = list(islice(within, MOST_FRAMES_OF_WAY))[len(near.codes) :]
    beyond = Trail([each.f_code for each in frames], [each.f_lasti for each in frames])
    return near._replace(beyond=beyond)


def _within(found: Trail) -> Iterator[tuple[CodeType, int]]:
    """Yield the steps of a trail up to where the framework answers a request."""
    for code, place in zip(found.codes, found.places, strict=True):
        if is_boundary(code):
            return
        yield code, place


def origins_along(found: Trail) -> list[Origin]:
    """Return the project's lines of a trail, the nearest first."""
    lines = [
        Origin.of(RawOrigin(code, place)) for code, place in _within(found) if is_project(code)
    ]
    return [origin for origin in lines if origin is not None]


def way_along(found: Trail) -> list[Origin]:
    """Return the project's lines that led to a query, the outermost first, its own the last."""
    lines = origins_along(found)
    ended = any(is_boundary(code) for code in found.codes)
    if found.beyond is not None and not ended:
        lines += origins_along(found.beyond)
    return lines[::-1]


def call_path(found: Trail | None) -> int:
    """Return a hash of a trail: the way that the project's code came to a query; 0 of none.

    Two runs of a loop's body have the same; two calls of one helper from two places have not. A
    recursion's depth is not in it, and neither is the way through Django or a library.
    """
    path = 0
    if found is None:
        return path
    last: CodeType | None = None
    for code, place in _within(found):
        if code is RENDER_ANNOTATED or code is _to_representation:
            path = hash((path, place))
        elif is_project(code) and code is not last:
            path = hash((path, id(code), position(code, place)))
            last = code
    return path
