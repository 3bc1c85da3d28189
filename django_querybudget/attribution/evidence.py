"""The per-log counters that decide when the stack is worth reading: :class:`Evidence`.

What it costs
    Every query: a walk over the last few calls of the project, for the call path. A text's first:
    one look at the frame that iterates the queryset. The one that makes a loop of it: the stack is
    read, once.
"""

from __future__ import annotations

from types import FrameType
from typing import TYPE_CHECKING, Any
from weakref import ref

from django.db.models import Model
from django.db.models.query import ModelIterable, RawModelIterable, prefetch_related_objects

from django_querybudget.stacks import call_path, position

from .loads import Load, LoopKey

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

    __slots__ = ("owner", "parent_query", "prefetch_to", "query", "queryset", "record")

    def __init__(self, record: RawRecord, queryset: Any, iterable: FrameType) -> None:
        self.record = record
        self.queryset = ref(queryset)
        self.query = queryset.query
        self.owner: type[Model] | None = None
        self.prefetch_to: str | None = None
        self.parent_query: Any = None
        if queryset._hints:
            instance = queryset._hints.get("instance")
            if instance is not None:
                self.owner = type(instance)
                self._look_for_prefetch(iterable.f_back)

    @property
    def is_refresh(self) -> bool:
        """Whether it loads deferred fields: its instance is made, read and dropped."""
        names, deferred = getattr(self.query, "deferred_loading", (frozenset(), True))
        return self.owner is self.query.model and bool(names) and not deferred

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
        self.records: list[RawRecord] = []
        """All records, in their order."""
        self.sources: dict[str, Source] = {}
        """The queryset that first ran an SQL text."""
        self.loops: dict[LoopKey, int] = {}
        """How often a text ran, by place and call path."""
        self.loads: dict[LoopKey, Load] = {}
        """What the stack said, for each that was repeated often enough."""
        self._seen: set[str] = set()
        self._key_of: dict[int, LoopKey] = {}

    def note(
        self,
        raw: RawRecord,
        frame: FrameType,
        project: FrameType | None,
    ) -> None:
        """Take note of a record.

        Its stack begins at ``frame``; the project's own part of it at ``project``.
        """
        self.records.append(raw)
        sql, origin = raw[0], raw[8]
        if sql not in self._seen:
            self._seen.add(sql)
            self._note_source(raw, frame)
        if origin is None:
            return
        code, instruction, node, serializer = origin
        # place_key() and the path, without a call: this runs for every query.
        where = -1 if code is None else position(code, instruction)
        key = (sql, id(code), where, id(node), serializer, call_path(project))
        self._key_of[id(raw)] = key
        repeats = self.loops.get(key, 0) + 1
        self.loops[key] = repeats
        if repeats == self.threshold:
            from .reading import read_load  # noqa: PLC0415 - first needed when a loop is found

            self.loads[key] = read_load(self, raw, self.records, frame)

    def key_of(self, raw: RawRecord) -> LoopKey | None:
        """Return text, place and call path of a record; None if it has no origin."""
        return self._key_of.get(id(raw))

    def _note_source(self, raw: RawRecord, frame: FrameType | None) -> None:
        for _ in range(_MOST_FRAMES_TO_ITERABLE):
            if frame is None:
                return
            if frame.f_code in _MODEL_ITERABLES:
                self.sources[raw[0]] = Source(raw, frame.f_locals["self"].queryset, frame)
                return
            frame = frame.f_back
