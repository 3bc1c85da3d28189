"""The per-log notes that decide when the stack is worth reading: :class:`Evidence`.

What it costs
    Every query: its trail, the last few calls of the project as they were met. A text's first: one
    look at the frame that iterates the queryset, and at the other texts of its place. A text's
    repeats, from the threshold on: one comparison with the trail of the loop that is known already.
    The one that makes a loop of it: the stack is read, once.
"""

from __future__ import annotations

from types import FrameType
from typing import TYPE_CHECKING, Any
from weakref import ref

from django.db.models import Model, QuerySet
from django.db.models.query import (
    MAX_GET_RESULTS,
    ModelIterable,
    RawModelIterable,
    prefetch_related_objects,
)
from django.db.models.sql.compiler import SQLCompiler
from django.forms.models import ModelChoiceIterator
from django.template.defaulttags import ForNode

from django_querybudget.sql.fingerprints import fingerprint
from django_querybudget.stacks import call_path, is_djangos, is_library, is_project

from .inside import look_inside, prepare
from .instances import attributes_of
from .loads import Load, LoadKind, LoopKey, PlaceKey, place_key

if TYPE_CHECKING:
    from django_querybudget.recording.raw import RawRecord

__all__ = ["CHUNK_SIZE", "Evidence", "Source"]

_ITERATE = ModelIterable.__iter__.__code__
_ITERATE_RAW = RawModelIterable.__iter__.__code__
_ITERATOR = QuerySet._iterator.__code__  # type: ignore[attr-defined]
_CHOICES = ModelChoiceIterator.__iter__.__code__
_FOR = ForNode.render.__code__
_EXECUTE = SQLCompiler.execute_sql.__code__
_PREFETCH = prefetch_related_objects.__code__
# What is suggested where iterator() is given none: Django's own without a prefetch.
CHUNK_SIZE = 2000
# From the recorder to the iterable: Django's wrappers, a debug or a tracing wrapper.
_MOST_FRAMES_TO_ITERABLE = 12
_MOST_FRAMES_TO_PREFETCH = 8
# Enough to tell most queries of one line apart, by what they select from.
_START_OF_TEXT = 40
_OF_ROWS = (LoadKind.TO_ONE, LoadKind.TO_MANY, LoadKind.GENERIC, LoadKind.DEFERRED)
# Querysets whose rows are to be counted; most are gone by the next query.
_MOST_UNCOUNTED = 100
# How many texts of one place are compared by shape.
_MOST_TEXTS = 8


class Source:
    """The queryset that a text's first query came from, held weakly: its rows are the host's."""

    owner: type[Model] | None = None
    prefetch_to: str | None = None
    parent_query: Any = None
    has_own_place: bool = False
    """Whether it is a prefetch's whose queryset the project wrote: ``Prefetch(queryset=...)``."""
    lookups: tuple[Any, ...] = ()
    """What it prefetches."""
    chunk_size: int | None = None
    """How many rows ``iterator()`` takes at a time, if that evaluates it."""
    lacks_chunk_size = False
    """Whether ``iterator()`` evaluates it without one, and Django then refuses to prefetch."""
    rows: int | None = None
    """How many rows it had; None if it was gone before anybody asked."""
    is_of_package = False
    """Whether a queryset of an installed package asks by it for its own rows, in another way."""
    is_choices = False
    """Whether a form's field offers its rows as choices."""
    given_by: tuple[type, str] | None = None
    """The class and the name of the method that a template's loop called for it."""

    def __init__(self, record: RawRecord, queryset: Any, iterable: FrameType) -> None:
        self.record = record
        self.queryset = ref(queryset)
        self.query = queryset.query
        self.model: type[Model] = queryset.model  # A RawQuery has none.
        if queryset._prefetch_related_lookups:
            self.lookups = queryset._prefetch_related_lookups
        self._look_at_who_asks(iterable.f_back, queryset)
        caller = iterable.f_back
        if caller is not None and caller.f_code is _ITERATOR:
            given = caller.f_locals.get("chunk_size")
            self.lacks_chunk_size = given is None
            self.chunk_size = given or CHUNK_SIZE
        if queryset._hints:
            instance = queryset._hints.get("instance")
            if instance is not None:
                self.owner = type(instance)
                self._look_for_prefetch(iterable.f_back)

    @property
    def is_list(self) -> bool:
        """Whether it may have any number of rows: no ``get()``, no ``first()``, no prefetch."""
        limit = getattr(self.query, "high_mark", None)
        return self.prefetch_to is None and limit not in (1, MAX_GET_RESULTS)

    def count_rows(self) -> bool:
        """Note how many rows it has; whether there is nothing more to be known of it."""
        queryset = self.queryset()
        found = None if queryset is None else queryset._result_cache
        if found is not None:
            self.rows = len(found)
        return queryset is None or found is not None

    @property
    def is_refresh(self) -> bool:
        """Whether it loads deferred fields: its instance is made, read and dropped."""
        names, deferred = getattr(self.query, "deferred_loading", (frozenset(), True))
        return self.owner is self.model and bool(names) and not deferred

    def _look_at_who_asks(self, frame: FrameType | None, queryset: Any) -> None:
        """Note whether a form's choices ask, or a package's queryset for rows of its own.

        django-polymorphic asks so for the rows of each class: the project has never seen that one.
        """
        for _ in range(_MOST_FRAMES_TO_ITERABLE):
            if frame is None or is_project(frame.f_code):
                return
            if frame.f_code is _CHOICES:
                self.is_choices = True
            elif frame.f_code is _FOR:
                self.given_by = _method_called(frame)
            elif is_library(frame.f_code):
                asking = frame.f_locals.get("self")
                self.is_of_package = issubclass(type(asking), QuerySet) and asking is not queryset
                return
            frame = frame.f_back

    def _look_for_prefetch(self, frame: FrameType | None) -> None:
        for _ in range(_MOST_FRAMES_TO_PREFETCH):
            if frame is None:
                return
            if frame.f_code is _PREFETCH:
                names = frame.f_locals
                self.prefetch_to = names.get("prefetch_to")
                lookup = names.get("lookup")
                self.has_own_place = (
                    getattr(lookup, "queryset", None) is not None
                    and getattr(lookup, "prefetch_to", None) == self.prefetch_to
                )
                caller = frame.f_back
                parent = caller.f_locals.get("self") if caller is not None else None
                self.parent_query = getattr(parent, "query", None)
                return
            frame = frame.f_back


def _method_called(for_loop: FrameType) -> tuple[type, str] | None:
    """Return what ``{% for row in thing.method %}`` reads, if a name of the context has it."""
    names = for_loop.f_locals
    lookups = getattr(getattr(names["self"].sequence, "var", None), "lookups", None)
    if lookups is None or len(lookups) != 2:
        return None
    for each in reversed(attributes_of(names["context"]).get("dicts", ())):
        if isinstance(each, dict) and lookups[0] in each:
            return type(each[lookups[0]]), lookups[1]
    return None


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
        place = shape, *key[1:]
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
        for _ in range(_MOST_FRAMES_TO_ITERABLE):
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
        return (*place_key(raw.sql, origin), call_path(raw.trail), raw.inside)
