"""Eager loading that no one read: :func:`watch_eager_loads`, for a test or a measurement.

``select_related()`` and ``prefetch_related()`` of relations that nobody reads are a net loss. Who
reads one calls its descriptor; so the interpreter is asked to tell of calls of these functions, and
of the two that load eagerly (``sys.monitoring``, PEP 669; ``sys.setprofile()`` before Python 3.12).
Django is left as it is, and a run without the watch costs nothing.

Not seen, thus never reported: prefetches into a ``to_attr``, a plain attribute that anybody may
read unseen. Seen wrongly: who reads another way (pickling a queryset for later) reads nothing.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType
from typing import Any, NamedTuple
from weakref import ref

from django.db.models import Model
from django.db.models import query as django_query
from django.db.models.fields import related_descriptors

from django_querybudget.evidence.instances import attributes_of, related_of
from django_querybudget.evidence.relations import quoted
from django_querybudget.messages.links import see
from django_querybudget.nplusone.fixes.expressions import queryset_of
from django_querybudget.nplusone.fixes.places import Built, find_built
from django_querybudget.stacks import Origin, locate, origins_along, trail

from .findings import Cause, Finding, Fix
from .monitoring import tell_of
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


class EagerLoad(NamedTuple):
    """One relation that a queryset loaded eagerly."""

    relation: Relation
    operation: str
    places: tuple[Origin, ...]
    """The line that evaluated the queryset, and the calls that led there."""
    root: type[Model] | None = None
    """The queryset's model."""
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
        self._loaded: dict[EagerLoad, None] = {}
        self._read: set[EagerLoad] = set()
        self._held: dict[int, tuple[ref[Model], dict[str, EagerLoad]]] = {}
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
        found: dict[Hashable, EagerLoad] = {}
        for load in self._loaded:
            if _written(load) not in read:
                found[_written(load)] = load
        return tuple(self._finding(load) for load in found.values())

    def _finding(self, load: EagerLoad) -> Finding:
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

    def _fix(self, load: EagerLoad) -> Fix | None:
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

    def _note(self, load: EagerLoad, attribute: str, instances: Iterable[Model]) -> None:
        self._loaded[load] = None
        for instance in instances:
            key = id(instance)
            entry = self._held.get(key)
            if entry is None:
                gone = ref(instance, lambda _, key=key: self._held.pop(key, None))  # type: ignore[misc]  # mypy infers no lambda that has a default
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
                load = EagerLoad(
                    relation, "prefetch_related", _places(frame), _prefetched_for(frame), path
                )
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
        load = EagerLoad(relation, "select_related", _places(frame), root, tuple(path))
        self._note(load, attribute, [instance])


def _written(load: EagerLoad) -> Hashable:
    """Return what stands for a relation of a queryset, as it is written."""
    return load.relation, load.operation, load.path, load.queryset


def _prefetched_for(frame: FrameType) -> type[Model] | None:
    """Return the model of the rows that ``prefetch_related_objects()`` was given."""
    caller = frame.f_back
    rows = () if caller is None else caller.f_locals.get("model_instances", ())
    return type(rows[0]) if rows else None


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


_CODES = frozenset({*_READS, _JOINED, _PREFETCHED})
_watching: ContextVar[EagerLoads | None] = ContextVar("querybudget_eager", default=None)
_of_process: EagerLoads | None = None


@contextmanager
def watch_eager_loads(into: EagerLoads | None = None) -> Iterator[EagerLoads]:
    """Watch the block, in this context; yields an :class:`EagerLoads`, to be asked at its end.

    ``into`` is one that goes on, in place of a new one.
    Raises ``RuntimeError`` where another tool keeps the interpreter from telling: a profiler before
    Python 3.12, six tools of ``sys.monitoring`` at once from then on.
    """
    loads = EagerLoads() if into is None else into
    token = _watching.set(loads)
    # Who watches the process tells of both.
    stop = tell_of(_CODES, _tell) if _of_process is None else None
    try:
        yield loads
    finally:
        if stop is not None:
            stop()
        _watching.reset(token)


def watch_process(loads: EagerLoads) -> None:
    """Let ``loads`` watch this process from now on, in every thread, to its end.

    Raises ``RuntimeError`` as :func:`watch_eager_loads` does.
    """
    global _of_process
    tell_of(_CODES, _tell, threads=True)
    _of_process = loads


def _tell(frame: FrameType) -> None:
    for loads in (_watching.get(), _of_process):
        if loads is not None:
            loads.note(frame)
