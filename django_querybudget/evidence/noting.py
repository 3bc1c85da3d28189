"""The per-log notes that decide when the stack is worth reading: :class:`Evidence`.

What it costs
    Every query: its trail, the last few calls of the project as they were met. A text's first: one
    look at the frame that iterates the queryset, and at the other texts of its place. A text's
    repeats, from the threshold on: one comparison with the trail of the loop that is known already.
    The one that makes a loop of it: the stack is read, and again each time that it has run twice as
    often.
"""

from __future__ import annotations

from types import FrameType
from typing import TYPE_CHECKING, Any

from django.db.models.query import ModelIterable, RawModelIterable
from django.db.models.sql.compiler import SQLCompiler

from django_querybudget.sql.fingerprints import fingerprint
from django_querybudget.stacks import call_path, is_djangos

from .inside import look_inside, prepare
from .loads import Load, LoadKind, LoopKey, PlaceKey, place_key
from .sources import MOST_FRAMES_TO_ITERABLE, Source

if TYPE_CHECKING:
    from django_querybudget.recording.raw import RawRecord

__all__ = ["Evidence"]

_ITERATE = ModelIterable.__iter__.__code__
_ITERATE_RAW = RawModelIterable.__iter__.__code__
_EXECUTE = SQLCompiler.execute_sql.__code__
# Enough to tell most queries of one line apart, by what they select from.
_START_OF_TEXT = 40
_OF_ROWS = (LoadKind.TO_ONE, LoadKind.TO_MANY, LoadKind.GENERIC, LoadKind.DEFERRED)
# Querysets whose rows are to be counted; most are gone by the next query.
_MOST_UNCOUNTED = 100
# How many texts of one place are compared by shape.
_MOST_TEXTS = 8


def _is_next(latest: RawRecord, raw: RawRecord) -> bool:
    same = latest.trail == raw.trail and latest.origin == raw.origin
    return same and latest.inside == raw.inside


class Evidence:
    """What a recording saw on the stacks of its queries.

    ``threshold`` is the number of repeats at which the stack is read; ``records`` are the log's.
    """

    def __init__(self, threshold: int, records: list[RawRecord]) -> None:
        self.threshold = threshold
        self.records = records
        self.texts: dict[str, list[RawRecord]] = {}
        """The records by their SQL text."""
        self.sources: dict[str, Source] = {}
        """The queryset that first ran an SQL text."""
        self.loads: dict[LoopKey, Load] = {}
        """What the stack said, for each that was repeated often enough."""
        self.others: dict[LoopKey, list[Load]] = {}
        """What it said later, where the rows came another way."""
        self.look_inside = look_inside
        self._counts: dict[LoopKey, int] = {}
        self._counted: set[str] = set()
        self._latest: dict[str, tuple[RawRecord, LoopKey]] = {}
        self._firsts: dict[PlaceKey, list[str]] = {}
        self._shapes: set[Any] = set()
        self._uncounted: list[Source] = []
        prepare()

    def note_first(self, raw: RawRecord, frame: FrameType) -> None:
        """Take note of a text's first record, sent from ``frame``."""
        self.count_rows()
        self._note_source(raw, frame)
        origin = raw.origin
        if origin is not None:
            # Lists of another length each time are texts of their own: a place repeats, no text.
            start = place_key(raw.sql[:_START_OF_TEXT], origin)
            texts = self._firsts.setdefault(start, [])
            if len(texts) < _MOST_TEXTS:
                texts.append(raw.sql)
                if len(texts) > 1:
                    self._note_shape(raw, texts, frame)

    def count_rows(self) -> None:
        """Note how many rows the querysets have that are still alive: none is kept for it."""
        self._uncounted = [each for each in self._uncounted if not each.count_rows()]

    def _add_source(self, raw: RawRecord, iterable: FrameType) -> None:
        found = Source(raw, iterable.f_locals["self"].queryset, iterable)
        self.sources[raw.sql] = found
        if found.is_list and len(self._uncounted) < _MOST_UNCOUNTED:
            self._uncounted.append(found)

    def _note_shape(self, raw: RawRecord, texts: list[str], frame: FrameType) -> None:
        """Read the stack if the shape repeats in ``texts``, which are of one place.

        One too early: the next may be one of these, which then have not come often enough.
        """
        shape = fingerprint(raw.sql)
        same = [each for each in texts if fingerprint(each) == shape]
        key = self.key_of(raw)
        if key is None or sum(len(self.texts[each]) for each in same) < self.threshold - 1:
            return
        place = key._replace(place=key.place._replace(sql=shape))
        if len(same) > 1 and place not in self._shapes:
            from .reading import read_load  # first needed when a shape repeats

            self._shapes.add(place)
            self.loads[key] = read_load(self, raw, self.records, frame)

    def _note_source(self, raw: RawRecord, frame: FrameType) -> None:
        outer: FrameType | None = frame.f_back
        if frame.f_code is _EXECUTE and outer is not None:  # The usual read, without a walk.
            if outer.f_code is _ITERATE:
                self._add_source(raw, outer)
            if is_djangos(outer.f_code):  # django-silk wraps the compiler's method.
                return
        for _ in range(MOST_FRAMES_TO_ITERABLE):
            if outer is None:
                return
            code = outer.f_code
            if code is _ITERATE or code is _ITERATE_RAW:
                self._add_source(raw, outer)
                return
            outer = outer.f_back

    def note_repeat(self, raw: RawRecord, same: list[RawRecord], frame: FrameType) -> None:
        """Take note of a record whose text has run often enough; its stack begins at ``frame``.

        ``same`` are all records of its text.
        """
        sql = raw.sql
        latest = self._latest.get(sql)
        if latest is not None and _is_next(latest[0], raw):
            key = latest[1]  # The next run of a loop that is known.
            self._counts[key] += 1
        else:
            found = self.key_of(raw)
            if found is None:
                return
            key = found
            self._count([raw] if sql in self._counted else same)
            self._counted.add(sql)
        count = self._counts[key]
        if count < self.threshold:
            return
        if key not in self.loads or count & (count - 1) == 0:
            self._read(key, raw, frame)
        self._latest[sql] = raw, key

    def _count(self, records: list[RawRecord]) -> None:
        for each in records:
            key = self.key_of(each)
            if key is not None:
                self._counts[key] = self._counts.get(key, 0) + 1

    def _read(self, key: LoopKey, raw: RawRecord, frame: FrameType) -> None:
        """Read the stack: first when it is a loop, then each time that it has run twice as often.

        Its rows may come from a second queryset, or from another relation to the same model.
        """
        from .reading import read_load  # first needed when a loop is found

        first = self.loads.get(key)
        if first is not None and first.kind not in _OF_ROWS:
            return
        load = read_load(self, raw, self.records, frame)
        if first is None:
            self.loads[key] = load
            return
        known = [first, *self.others.get(key, ())]
        if load.provenance is not None and all(
            each.provenance != load.provenance for each in known
        ):
            self.others.setdefault(key, []).append(load)

    def key_of(self, raw: RawRecord) -> LoopKey | None:
        """Return text, place and way of a record; None if it has no origin."""
        origin = raw.origin
        if origin is None:
            return None
        return LoopKey(place_key(raw.sql, origin), call_path(raw.trail), raw.inside)
