"""Eager loading that no one read: :func:`watch_eager_loads`, for a test or a measurement.

``select_related()`` and ``prefetch_related()`` of relations that nobody reads are a net loss. Who
reads one calls its descriptor; so the interpreter is asked to tell of calls of these functions, and
of the two that load eagerly (``sys.monitoring``, PEP 669; ``sys.setprofile()`` before Python 3.12).
Django is left as it is, and a run without the watch costs nothing.

Not seen, thus never reported: prefetches into a ``to_attr``, a plain attribute that anybody may
read unseen. Seen wrongly: who reads another way (pickling a queryset for later) reads nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import CodeType, FrameType
from typing import Any, NamedTuple
from weakref import ref

from django.db.models import Model
from django.db.models import query as django_query
from django.db.models.fields import related_descriptors

from django_querybudget.evidence.instances import attributes_of, related_of
from django_querybudget.evidence.relations import quoted
from django_querybudget.links import see
from django_querybudget.nplusone.fixes.expressions import queryset_of
from django_querybudget.nplusone.fixes.places import Built, find_built
from django_querybudget.stacks import Origin, locate, origins_along, trail

from .findings import Cause, Finding, Fix
from .rendering import link_of, render_findings

__all__ = ["EagerLoads", "watch_eager_loads"]

Relation = tuple[str, str]
"""Names of the model and of the relation's attribute."""

_READS = {
    related_descriptors.ForwardManyToOneDescriptor.__get__.__code__,
    related_descriptors.ReverseOneToOneDescriptor.__get__.__code__,
    related_descriptors.ReverseManyToOneDescriptor.__get__.__code__,
}
_JOINED = django_query.RelatedPopulator.populate.__code__
_PREFETCHED = django_query.prefetch_one_level.__code__
_DJANGOS_OWN = {related_descriptors.__file__, django_query.__file__}


class _Load(NamedTuple):
    """One relation that a queryset loaded eagerly."""

    relation: Relation
    operation: str
    places: tuple[Origin, ...]
    """The line that evaluated the queryset, and the calls that led there."""
    root: type[Model] | None = None
    """The queryset's model, for what it joined."""
    path: tuple[str, ...] = ()
    """The lookup, hop by hop."""

    @property
    def origin(self) -> Origin | None:
        """The line that evaluated the queryset."""
        return self.places[0] if self.places else None

    @property
    def built(self) -> Built | None:
        """Where the queryset is built, if the source says so."""
        return None if self.root is None else find_built(self.places, self.root)

    @property
    def queryset(self) -> Hashable:
        """What stands for the queryset as it is written: its line, for whomever it is evaluated."""
        built = self.built
        return self.root, self.places if built is None else built.origin


class EagerLoads:
    """What was loaded eagerly and what was read, while it was watched. ``str()`` tells of both."""

    def __init__(self) -> None:
        self._loaded: dict[_Load, None] = {}
        self._read: set[_Load] = set()
        self._held: dict[int, tuple[ref[Model], dict[str, _Load]]] = {}
        """What each row holds and which load put it there, by ``id()``."""

    def __str__(self) -> str:
        unread = self.unread
        if not unread:
            return "Each relation that was loaded eagerly was read."
        return "\n".join([*render_findings(unread), see(link_of(unread))])

    @property
    def unread(self) -> tuple[Finding, ...]:
        """A finding for each relation that was loaded eagerly and that nobody read.

        One is told by its path: of two ways to a model, the one that is read keeps its join. What
        one caller of a shared queryset reads is read. The fix of a ``select_related()`` is the one
        to write instead, with what was read.
        """
        read = {_written(each) for each in self._read}
        found: dict[Hashable, _Load] = {}
        for load in self._loaded:
            if _written(load) not in read:
                found[_written(load)] = load
        return tuple(self._finding(load) for load in found.values())

    def _finding(self, load: _Load) -> Finding:
        queries = 1 if load.operation == "prefetch_related" else 0
        return Finding(
            cause=Cause.UNUSED_EAGER_LOAD,
            relation=".".join(load.relation),
            operation=load.operation,
            origin=load.origin,
            count=queries,
            saves=queries,
            fix=self._fix(load),
            use=None,
            alias="",
            fingerprint="",
        )

    def _fix(self, load: _Load) -> Fix | None:
        if load.operation != "select_related" or load.root is None or load.origin is None:
            return None
        joined = [each for each in self._loaded if each.operation == load.operation]
        same = [each for each in joined if each.queryset == load.queryset]
        unread = {each.path for each in same} - {each.path for each in self._read & set(same)}
        read = {each.path for each in same} - unread
        longest = [
            path for path in read if not any(path == more[: len(path)] != more for more in read)
        ]
        names = ", ".join(quoted("__".join(path)) for path in sorted(longest))
        built = load.built
        start = queryset_of(load.root, None if built is None else built.manager)
        return Fix(
            code=f"{start}.select_related({names or None})",
            place=load.origin if built is None else built.origin,
            built=built is not None,
            saves=0,
        )

    def _note(self, load: _Load, attribute: str, instances: Iterable[Model]) -> None:
        self._loaded[load] = None
        for instance in instances:
            key = id(instance)
            entry = self._held.get(key)
            if entry is None:
                gone = ref(instance, lambda _, key=key: self._held.pop(key, None))  # type: ignore[misc]
                entry = self._held[key] = gone, {}
            entry[1][attribute] = load

    def _note_read(self, instance: Model, attribute: str) -> None:
        entry = self._held.get(id(instance))
        if entry is not None and attribute in entry[1]:
            self._read.add(entry[1][attribute])
        elif attribute in related_of(instance) or attribute in attributes_of(instance).get(
            "_prefetched_objects_cache", {}
        ):  # A copy of a row: of which query, nobody knows.
            relation = type(instance).__name__, attribute
            self._read |= {each for each in self._loaded if each.relation == relation}

    def note(self, frame: FrameType) -> None:
        """Take note of one call of a watched function."""
        code, names = frame.f_code, frame.f_locals
        if code is _JOINED:
            self._note_join(frame)
        elif code is _PREFETCHED:
            lookup, level = names["lookup"], names["level"]
            to_attr, is_attr = lookup.get_current_to_attr(level)
            instances = names["instances"]
            if not is_attr and instances:
                relation = type(instances[0]).__name__, to_attr
                path = tuple(lookup.get_current_prefetch_to(level).split("__"))
                load = _Load(relation, "prefetch_related", _places(frame), None, path)
                self._note(load, to_attr, instances)
        elif names["instance"] is not None:
            caller = frame.f_back
            if caller is not None and caller.f_code.co_filename not in _DJANGOS_OWN:
                self._note_read(names["instance"], _name_of(names["self"]))

    def _note_join(self, frame: FrameType) -> None:
        instance = frame.f_locals["from_obj"]
        path: list[str] = []
        each: FrameType | None = frame
        while each is not None and each.f_code is _JOINED:  # Each hop is called by the one above.
            relation = getattr(each.f_locals["self"].local_setter, "__self__", None)
            if relation is None:
                return
            path.insert(0, relation.name)
            each = each.f_back
        # A reverse one-to-one is set by a method of the relation, named for its lookup.
        field = frame.f_locals["self"].local_setter.__self__
        name = getattr(field, "get_accessor_name", None)
        queryset = None if each is None else each.f_locals.get("queryset")
        root = getattr(queryset, "model", None)
        attribute = field.name if name is None else name()
        relation = type(instance).__name__, attribute
        load = _Load(relation, "select_related", _places(frame), root, tuple(path))
        self._note(load, attribute, [instance])


def _written(load: _Load) -> Hashable:
    """Return what stands for a relation of a queryset, as it is written."""
    return load.relation, load.operation, load.path, load.queryset


def _places(frame: FrameType) -> tuple[Origin, ...]:
    raw, project = locate(frame)
    first = Origin.of(raw)
    return () if first is None else (first, *origins_along(trail(project))[1:])


def _name_of(descriptor: Any) -> str:
    """Return the name of the attribute that a descriptor is."""
    reverse = getattr(descriptor, "related", None)
    if reverse is None and hasattr(descriptor, "rel"):
        backwards = getattr(descriptor, "reverse", True) and not hasattr(
            descriptor.field, "object_id_field_name"
        )
        reverse = descriptor.rel if backwards else None
    if reverse is not None:
        return str(reverse.get_accessor_name())
    return str(descriptor.field.name)


_watching: ContextVar[EagerLoads | None] = ContextVar("querybudget_eager", default=None)


@contextmanager
def watch_eager_loads() -> Iterator[EagerLoads]:
    """Watch the block, in this context; yields an :class:`EagerLoads`, to be asked at its end.

    Raises ``RuntimeError`` where another tool keeps the interpreter from telling: a profiler before
    Python 3.12, six tools of ``sys.monitoring`` at once from then on.
    """
    loads = EagerLoads()
    token = _watching.set(loads)
    stop = _start()
    try:
        yield loads
    finally:
        stop()
        _watching.reset(token)


def _tell(frame: FrameType) -> None:
    loads = _watching.get()
    if loads is not None:
        loads.note(frame)


if sys.version_info >= (3, 12):
    _codes: tuple[CodeType, ...] = (*_READS, _JOINED, _PREFETCHED)

    def _start() -> Callable[[], None]:
        monitoring = sys.monitoring
        tool = next((each for each in (4, 3) if monitoring.get_tool(each) is None), None)
        if tool is None:
            raise RuntimeError("watch_eager_loads() found no free tool of sys.monitoring.")
        event = monitoring.events.PY_START
        monitoring.use_tool_id(tool, "django_querybudget")

        def started(code: CodeType, offset: int) -> None:
            del code, offset
            _tell(sys._getframe(1))

        monitoring.register_callback(tool, event, started)
        for code in _codes:
            monitoring.set_local_events(tool, code, event)

        def stop() -> None:
            for code in _codes:
                monitoring.set_local_events(tool, code, monitoring.events.NO_EVENTS)
            monitoring.register_callback(tool, event, None)
            monitoring.free_tool_id(tool)

        return stop

else:

    def _start() -> Callable[[], None]:
        if sys.getprofile() is not None:
            raise RuntimeError("watch_eager_loads() cannot watch: a profiler runs already.")
        watched = {*_READS, _JOINED, _PREFETCHED}

        def called(frame: FrameType, event: str, argument: Any) -> None:
            del argument
            if event == "call" and frame.f_code in watched:
                _tell(frame)

        sys.setprofile(called)
        return lambda: sys.setprofile(None)
