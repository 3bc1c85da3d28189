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
from django.db.models.query import ModelIterable, RawModelIterable, prefetch_related_objects

from django_querybudget.stacks import RawOrigin, call_path

from .loads import Load, LoopKey, loop_key

if TYPE_CHECKING:
    from django_querybudget.records import RawRecord

__all__ = ["Evidence", "Source"]

_MODEL_ITERABLES = (ModelIterable.__iter__.__code__, RawModelIterable.__iter__.__code__)
_PREFETCH = prefetch_related_objects.__code__
# From the recorder to the iterable: Django's wrappers, a debug or a tracing wrapper.
_MOST_FRAMES_TO_ITERABLE = 12
_MOST_FRAMES_TO_PREFETCH = 8


class Source:
    """The queryset that a text's first query came from, held weakly: its rows are the host's."""

    __slots__ = ("lookups", "owner", "parent_query", "prefetch_to", "query", "queryset", "record")

    def __init__(self, record: RawRecord, queryset: Any, iterable: FrameType) -> None:
        self.record = record
        self.queryset = ref(queryset)
        self.query = queryset.query
        self.lookups: tuple[Any, ...] = queryset._prefetch_related_lookups
        instance = queryset._hints.get("instance")
        self.owner: type[Model] | None = None if instance is None else type(instance)
        self.prefetch_to: str | None = None
        self.parent_query: Any = None
        if instance is not None:
            self._look_for_prefetch(iterable.f_back)

    def _look_for_prefetch(self, frame: FrameType | None) -> None:
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

    ``threshold`` is the number of repeats at which the stack is read; ``read`` reads it.
    """

    def __init__(self, threshold: int) -> None:
        self.threshold = threshold
        self.sources: dict[str, Source] = {}
        """The queryset that first ran an SQL text."""
        self.loads: dict[LoopKey, Load] = {}
        """What was read at the threshold, for each loop that reached it."""
        self._seen: dict[str, int] = {}
        self._paths: dict[tuple[LoopKey, int], int] = {}

    def note(self, raw: RawRecord, records: Sequence[RawRecord], frame: FrameType) -> None:
        """Take note of ``raw``, the latest of ``records``, whose stack begins at ``frame``."""
        sql = raw[0]
        seen = self._seen.get(sql, 0) + 1
        self._seen[sql] = seen
        needed = self.threshold
        if seen == 1:
            self._note_source(raw, frame)
            if needed > 2:
                return
        origin = raw[8]
        if origin is None:
            return
        key = loop_key(sql, origin)
        if key in self.loads:
            return
        # The first query's path is not walked, unless every query counts: it is taken for granted.
        if needed > 2:
            needed -= 1
        path = (key, call_path(frame))
        repeats = self._paths.get(path, 0) + 1
        self._paths[path] = repeats
        if repeats >= needed:
            from .reading import read_load  # noqa: PLC0415 - first needed when a loop is found

            self.loads[key] = read_load(self, raw, records, frame)

    def seen(self, sql: str) -> int:
        """Return how often the text ran."""
        return self._seen.get(sql, 0)

    def load_at(self, sql: str, origin: RawOrigin | None) -> Load | None:
        """Return what the loop over ``sql`` at ``origin`` loads; None if there was no loop."""
        return None if origin is None else self.loads.get(loop_key(sql, origin))

    def _note_source(self, raw: RawRecord, frame: FrameType | None) -> None:
        for _ in range(_MOST_FRAMES_TO_ITERABLE):
            if frame is None:
                return
            if frame.f_code in _MODEL_ITERABLES:
                self.sources[raw[0]] = Source(raw, frame.f_locals["self"].queryset, frame)
                return
            frame = frame.f_back
