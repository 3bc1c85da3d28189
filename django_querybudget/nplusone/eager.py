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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import CodeType, FrameType
from typing import Any, NamedTuple

from django.db.models import Model
from django.db.models import query as django_query
from django.db.models.fields import related_descriptors

from django_querybudget.evidence.relations import quoted
from django_querybudget.stacks import Origin, locate, origins_along, trail

from .expressions import queryset_of
from .findings import Cause, Finding, Fix
from .places import find_built

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

    operation: str
    places: tuple[Origin, ...]
    """The line that evaluated the queryset, and the calls that led there."""
    root: type[Model] | None = None
    """The queryset's model, for what it joined."""
    path: tuple[str, ...] = ()
    """The lookup that joined it, hop by hop."""

    @property
    def origin(self) -> Origin | None:
        """The line that evaluated the queryset."""
        return self.places[0] if self.places else None


class EagerLoads:
    """What was loaded eagerly and what was read, while it was watched."""

    def __init__(self) -> None:
        self._loaded: dict[tuple[Relation, _Load], None] = {}
        self._read: set[Relation] = set()

    @property
    def unread(self) -> tuple[Finding, ...]:
        """A finding for each relation that was loaded eagerly and that nobody read.

        The fix of a ``select_related()`` is the one to write instead, with what was read.
        """
        found = {
            (relation, load.operation): (relation, load)
            for relation, load in reversed(self._loaded)
            if relation not in self._read
        }
        return tuple(self._finding(*each) for each in reversed(found.values()))

    def _finding(self, relation: Relation, load: _Load) -> Finding:
        queries = 1 if load.operation == "prefetch_related" else 0
        return Finding(
            cause=Cause.UNUSED_EAGER_LOAD,
            relation=".".join(relation),
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
        if load.root is None or load.origin is None:
            return None
        read = [
            each.path
            for relation, each in self._loaded
            if (each.root, each.origin) == (load.root, load.origin) and relation in self._read
        ]
        longest = [
            path for path in read if not any(path == more[: len(path)] != more for more in read)
        ]
        names = ", ".join(quoted("__".join(path)) for path in sorted(longest))
        built = find_built(load.places, load.root)
        start = queryset_of(load.root, None if built is None else built.manager)
        return Fix(
            code=f"{start}.select_related({names or None})",
            place=load.origin if built is None else built.origin,
            built=built is not None,
            saves=0,
        )

    def note(self, frame: FrameType) -> None:
        """Take note of one call of a watched function."""
        code, names = frame.f_code, frame.f_locals
        if code is _JOINED:
            self._note_join(frame)
        elif code is _PREFETCHED:
            lookup, level = names["lookup"], names["level"]
            to_attr, is_attr = lookup.get_current_to_attr(level)
            if not is_attr and names["instances"]:
                relation = type(names["instances"][0]).__name__, to_attr
                self._loaded[relation, _Load("prefetch_related", _places(frame))] = None
        elif names["instance"] is not None:
            caller = frame.f_back
            if caller is not None and caller.f_code.co_filename not in _DJANGOS_OWN:
                self._read.add((type(names["instance"]).__name__, _name_of(names["self"])))

    def _note_join(self, frame: FrameType) -> None:
        model = type(frame.f_locals["from_obj"]).__name__
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
        load = _Load("select_related", _places(frame), root, tuple(path))
        self._loaded[(model, field.name if name is None else name()), load] = None


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
