"""The per-log counters that decide when the stack is worth reading: :class:`Evidence`.

What it costs
    A shape's first query: one look at the frame that iterates the queryset. A repeat: a count, and
    a walk over the call path until the loop is certain. From then on a lookup in a dict.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any
from weakref import ref

from django.db.models import Model
from django.db.models.query import (
    ModelIterable,
    RawModelIterable,
    prefetch_related_objects,
)

from ..stacks import RawOrigin, call_path
from .loads import Load, LoopKey
from .reading import read_load

if TYPE_CHECKING:
    from ..records import RawRecord

__all__ = ["Evidence", "LoopKey", "Source"]

_MODEL_ITERABLES = (ModelIterable.__iter__.__code__, RawModelIterable.__iter__.__code__)
_PREFETCH = prefetch_related_objects.__code__
# From the recorder to the iterable: the hook, Django's wrappers, a debug or a tracing wrapper.
_MOST_FRAMES_TO_ITERABLE = 14
_MOST_FRAMES_TO_PREFETCH = 8


class Source:
    """The queryset that a shape's first query came from, held weakly: its rows are the host's."""

    __slots__ = ("hint", "lookups", "parent_query", "prefetch_to", "query", "queryset")

    def __init__(self, queryset: Any, iterable: FrameType) -> None:
        self.queryset = ref(queryset)
        self.query = queryset.query
        self.lookups: tuple[Any, ...] = queryset._prefetch_related_lookups
        instance = queryset._hints.get("instance")
        self.hint: ref[Model] | None = None if instance is None else ref(instance)
        self.prefetch_to: str | None = None
        self.parent_query: Any = None
        if instance is not None:
            self._look_for_prefetch(iterable)

    def _look_for_prefetch(self, iterable: FrameType) -> None:
        frame = iterable.f_back
        for _ in range(_MOST_FRAMES_TO_PREFETCH):
            if frame is None:
                return
            if frame.f_code is _PREFETCH:
                self.prefetch_to = frame.f_locals.get("prefetch_to")
                caller = frame.f_back
                parent = caller.f_locals.get("self") if caller is not None else None
                self.parent_query = getattr(parent, "query", None)
                return
            frame = frame.f_back


class Evidence:
    """What a recording saw on the stacks of its queries.

    ``threshold`` is the number of repeats at which the stack is read.
    """

    def __init__(self, threshold: int) -> None:
        self.threshold = threshold
        self.sources: dict[str, Source] = {}
        """The queryset that first ran an SQL text."""
        self.loads: dict[LoopKey, Load] = {}
        """What was read at the threshold, for each loop that reached it."""
        self._seen: dict[str, int] = {}
        self._paths: dict[tuple[LoopKey, int], int] = {}

    def __call__(self, records: Sequence[RawRecord], frame: FrameType) -> None:
        """Take note of the last of ``records``, whose stack begins at ``frame``."""
        raw = records[-1]
        sql = raw.sql
        seen = self._seen.get(sql, 0) + 1
        self._seen[sql] = seen
        if seen == 1:
            self._note_source(sql, frame)
            if self.threshold > 2:
                return
        origin = raw.origin
        if origin is None or origin.code is None:
            return
        key = (sql, id(origin.code), origin.line)
        if key in self.loads:
            return
        # The first query's path was not walked: above a threshold of 2 it is taken for granted.
        path = (key, call_path(frame, origin))
        repeats = self._paths.get(path, 0) + 1
        self._paths[path] = repeats
        if repeats >= (self.threshold if self.threshold <= 2 else self.threshold - 1):
            self.loads[key] = read_load(self, records, frame)

    def is_loop(self, sql: str, origin: RawOrigin) -> bool:
        """Whether one call path ran ``sql`` at ``origin`` often enough."""
        return (sql, id(origin.code), origin.line) in self.loads

    def seen(self, sql: str) -> int:
        """Return how often ``sql`` ran."""
        return self._seen.get(sql, 0)

    def _note_source(self, sql: str, frame: FrameType | None) -> None:
        for _ in range(_MOST_FRAMES_TO_ITERABLE):
            if frame is None:
                return
            if frame.f_code in _MODEL_ITERABLES:
                names = frame.f_locals
                queryset = names.get("queryset") or names["self"].queryset
                self.sources[sql] = Source(queryset, frame)
                return
            frame = frame.f_back
