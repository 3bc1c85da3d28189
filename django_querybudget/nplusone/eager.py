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
from typing import Any

from django.db.models import query as django_query
from django.db.models.fields import related_descriptors

from django_querybudget.stacks import Origin, locate

from .findings import Cause, Finding

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


class EagerLoads:
    """What was loaded eagerly and what was read, while it was watched."""

    def __init__(self) -> None:
        self._loaded: dict[Relation, tuple[str, Origin | None]] = {}
        self._read: set[Relation] = set()

    @property
    def unread(self) -> tuple[Finding, ...]:
        """A finding for each relation that was loaded eagerly and that nobody read."""
        return tuple(
            Finding(
                cause=Cause.UNUSED_EAGER_LOAD,
                relation=".".join(relation),
                operation=operation,
                origin=origin,
                count=1 if operation == "prefetch_related" else 0,
                saves=1 if operation == "prefetch_related" else 0,
                fix=None,
                use=None,
                alias="",
                fingerprint="",
            )
            for relation, (operation, origin) in self._loaded.items()
            if relation not in self._read
        )

    def note(self, frame: FrameType) -> None:
        """Take note of one call of a watched function."""
        code, names = frame.f_code, frame.f_locals
        if code is _JOINED:
            field = getattr(names["self"].local_setter, "__self__", None)
            # A reverse one-to-one is set by a method of the relation, named for its lookup.
            name = getattr(field, "get_accessor_name", None)
            if field is not None:
                accessor = field.name if name is None else name()
                self._note_load(type(names["from_obj"]).__name__, accessor, "select_related", frame)
        elif code is _PREFETCHED:
            lookup, level = names["lookup"], names["level"]
            to_attr, is_attr = lookup.get_current_to_attr(level)
            if not is_attr and names["instances"]:
                model = type(names["instances"][0]).__name__
                self._note_load(model, to_attr, "prefetch_related", frame)
        elif names["instance"] is not None:
            caller = frame.f_back
            if caller is not None and caller.f_code.co_filename not in _DJANGOS_OWN:
                self._read.add((type(names["instance"]).__name__, _name_of(names["self"])))

    def _note_load(self, model: str, name: str, operation: str, frame: FrameType) -> None:
        if (model, name) not in self._loaded:
            raw = locate(frame)[0]
            self._loaded[model, name] = (operation, Origin.of(raw))


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
