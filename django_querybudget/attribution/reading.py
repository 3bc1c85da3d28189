"""Reading the stack of a query that repeats: :func:`read_load`. Runs once for each loop."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from itertools import islice
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any, cast

import django
from django.db.models import Model, QuerySet
from django.db.models.fields.related_descriptors import (
    ForwardManyToOneDescriptor,
    ReverseOneToOneDescriptor,
)
from django.db.models.manager import BaseManager
from django.db.models.query import (
    ModelIterable,
    RawQuerySet,
    RelatedPopulator,
    prefetch_related_objects,
)
from django.db.models.query_utils import DeferredAttribute

from django_querybudget.fingerprints import StatementKind, statement_kind

from .loads import Load, LoadKind, Provenance, Step
from .provenance import find_provenance, steps_along
from .refinements import chain_of, plain_aggregate, refinements, relation_of_manager
from .relations import (
    conditions,
    last_filter,
    related_filters,
    relation_of,
    step_of,
    target_of,
)

if TYPE_CHECKING:
    from django_querybudget.records import RawRecord

    from .evidence import Evidence

__all__ = ["read_load"]

logger = logging.getLogger("django_querybudget")

_FORWARD = ForwardManyToOneDescriptor.__get__.__code__
_REVERSE_ONE = ReverseOneToOneDescriptor.__get__.__code__
_DEFERRED = DeferredAttribute.__get__.__code__
_PREFETCH = prefetch_related_objects.__code__
_ITERATE = ModelIterable.__iter__.__code__
_POPULATE = RelatedPopulator.populate.__code__
_DJANGO = os.path.join(os.path.dirname(django.__file__), "")
_GENERIC_FILE = os.path.join("contenttypes", "fields.py")
# A field deferred in __init__: the iterable that makes the instance is a few frames above.
_MOST_FRAMES_TO_MAKER = 12
_MOST_RECORDS = 2000
# Beyond these the stack of a query is not the ORM's.
_MOST_FRAMES = 60

_BATCHES = {"bulk_create", "bulk_update", "in_bulk", "iterator", "aiterator"}
_CREATES = {"create", "get_or_create", "update_or_create"}
_INTERNAL_METHODS = {"__iter__", "__len__", "__bool__", "__getitem__", "__contains__", "__repr__"}


def read_load(
    evidence: Evidence, raw: RawRecord, records: Sequence[RawRecord], frame: FrameType
) -> Load:
    """Return what ``raw`` loads, by the stack that begins at ``frame``."""
    try:
        return _Reading(evidence, raw, records, frame).load()
    except Exception:
        logger.debug("django_querybudget could not read the stack of a query.", exc_info=True)
        return Load(kind=LoadKind.LOOKUP)


class _Reading:
    """One walk from the hook to the project's line, and what it met."""

    def __init__(
        self, evidence: Evidence, raw: RawRecord, records: Sequence[RawRecord], frame: FrameType
    ) -> None:
        self.evidence = evidence
        self.records = records
        self.record = raw
        self.queryset: QuerySet[Any] | None = None
        self.operation = ""
        self.arguments: dict[str, Any] = {}
        self.raw_model: type[Model] | None = None
        self.manager: Any = None
        self.instance: Model | None = None
        self.saver: tuple[str, Model, tuple[str, ...]] | None = None
        self.methods: set[str] = set()
        self.descriptor: tuple[LoadKind, Any, Model] | None = None
        self.prefetches = False
        self.outermost = frame
        self._walk(frame)

    def _walk(self, frame: FrameType) -> None:
        origin = self.record[8]
        stop: CodeType | None = None if origin is None else origin[0]
        current: FrameType | None = frame
        for _ in range(_MOST_FRAMES):
            if current is None or current.f_code is stop:
                break
            self._look_at(current)
            self.outermost = current
            current = current.f_back

    def _look_at(self, frame: FrameType) -> None:
        code = frame.f_code
        if code is _PREFETCH:
            self.prefetches = True
        elif code in (_FORWARD, _REVERSE_ONE, _DEFERRED) or (
            code.co_name == "__get__" and code.co_filename.endswith(_GENERIC_FILE)
        ):
            self._note_descriptor(frame, code)
        elif code.co_filename.startswith(_DJANGO) and self.descriptor is None:
            # By type(): isinstance() of a lazy object evaluates it, and `or` a queryset.
            found: Any = frame.f_locals.get("self")
            kind = type(found)
            if issubclass(kind, RawQuerySet):
                self.raw_model = found.model
            elif issubclass(kind, QuerySet):
                self._note_queryset(frame, code.co_name, found)
            elif issubclass(kind, BaseManager):
                self._note_manager(code.co_name, found)
            elif issubclass(kind, Model) and code.co_name in ("save", "save_base", "delete"):
                fields = frame.f_locals.get("update_fields") or ()
                self.saver = (code.co_name, found, tuple(fields))

    def _note_manager(self, name: str, manager: Any) -> None:
        if getattr(manager, "instance", None) is not None:
            self.manager = manager
            if not name.startswith("_") and name != "manager_method":
                self.operation = name

    def _note_descriptor(self, frame: FrameType, code: CodeType) -> None:
        if self.descriptor is not None:
            return  # The nearest is the one that queries.
        names = frame.f_locals
        descriptor = names["self"]
        if code is _DEFERRED:
            kind, field = LoadKind.DEFERRED, descriptor.field
        elif code is _REVERSE_ONE:
            kind, field = LoadKind.TO_ONE, descriptor.related
        elif code is _FORWARD:
            kind, field = LoadKind.TO_ONE, descriptor.field
        else:  # Before Django 6.1 a generic foreign key is its own descriptor.
            kind, field = LoadKind.GENERIC, getattr(descriptor, "field", descriptor)
        self.descriptor = (kind, field, names["instance"])

    def _note_queryset(self, frame: FrameType, name: str, queryset: QuerySet[Any]) -> None:
        self.methods.add(name)
        if name in _INTERNAL_METHODS:
            self.operation = self.operation or "all"
        elif not name.startswith("_"):
            self.operation = name
            self.arguments = dict(frame.f_locals)
        if self.queryset is None or name in ("first", "last", "count", "exists", "aggregate"):
            self.queryset = queryset

    def load(self) -> Load:
        if self.methods & _BATCHES:
            return Load(kind=LoadKind.BATCH, operation=self.operation)
        if self.descriptor is not None:
            return self._descriptor_load(*self.descriptor)
        return self._prefetch_load() if self.prefetches else self._other_load()

    def _other_load(self) -> Load:
        writes = statement_kind(self.record[0]) is StatementKind.WRITE
        if self.saver is not None:
            name, instance, fields = self.saver
            operation = self.operation if self.operation in _CREATES else name.removesuffix("_base")
            if name != "delete" and operation not in _CREATES and "INSERT" in self.record[0][:16]:
                operation = "create"
            return Load(
                kind=LoadKind.WRITE, model=type(instance), operation=operation, fields=fields
            )
        if self.queryset is None:
            kind = LoadKind.WRITE if writes else LoadKind.RAW
            operation = "raw" if self.raw_model is not None else "execute"
            return Load(kind=kind, model=self.raw_model, operation=operation)
        if writes or self.methods & _CREATES:
            return self._write_load(self.queryset)
        return self._queryset_load(self.queryset)

    def _owner_in_sight(
        self, queryset: QuerySet[Any], found: tuple[type[Model], Any] | None
    ) -> Model | None:
        """Return the instance of a generic relation, whose querysets do not name it, by its key.

        It is most likely a name of the function that runs the query.
        """
        caller = self.outermost.f_back
        if found is None or caller is None:
            return None
        owner, relation = found
        for condition in conditions(queryset.query):
            target = target_of(condition)
            if target is not None and target.name == relation.object_id_field_name:
                key = getattr(condition, "rhs", None)
                for value in caller.f_locals.values():
                    # By type(): isinstance() of a lazy object evaluates it.
                    if issubclass(type(value), owner) and str(value.pk) == str(key):
                        return cast("Model", value)
        return None

    def _descriptor_load(self, kind: LoadKind, field: Any, instance: Model) -> Load:
        provenance = find_provenance(self.evidence, self.records, instance, self.outermost)
        if kind is LoadKind.DEFERRED:
            maker = self._maker_of(instance)
            provenance = provenance if maker is None else maker
            return Load(
                kind=kind,
                model=type(instance),
                owner=type(instance),
                name=field.name,
                provenance=provenance,
                **_tracked(instance),
            )
        related = field.related_model
        return Load(
            kind=kind,
            model=related if isinstance(related, type) else None,
            owner=type(instance),
            step=step_of(field),
            operation="get",
            provenance=provenance,
            **_tracked(instance),
        )

    def _maker_of(self, instance: Model) -> Provenance | None:
        """Return the query whose rows are being made into instances, if ``instance`` is one."""
        names: list[str] = []
        frame: FrameType | None = self.outermost
        for _ in range(_MOST_FRAMES_TO_MAKER):
            if frame is None:
                return None
            if frame.f_code is _POPULATE:
                setter = getattr(frame.f_locals["self"].local_setter, "__self__", None)
                if setter is None:
                    return None
                names.insert(0, setter.name)
            elif frame.f_code is _ITERATE:
                queryset = frame.f_locals["self"].queryset
                return self._provenance_of_query(queryset, names)
            frame = frame.f_back
        return None

    def _provenance_of_query(self, queryset: Any, names: list[str]) -> Provenance | None:
        path = steps_along(queryset.model, "__".join(names)) if names else ()
        if path is None:
            return None
        for raw in islice(reversed(self.records), _MOST_RECORDS):
            source = self.evidence.sources.get(raw[0])
            if source is not None and source.query is queryset.query and raw[8] is not None:
                return Provenance(raw[0], raw[8], self.evidence.key_of(raw), path)
        return None

    def _prefetch_load(self) -> Load:
        if self.methods & {"_iterator", "_fetch_all"} and self._in_one_queryset():
            return Load(kind=LoadKind.BATCH, operation="prefetch_related")
        return Load(kind=LoadKind.PREFETCH, operation="prefetch_related_objects")

    def _in_one_queryset(self) -> bool:
        """Whether a queryset prefetches for its own rows: chunks, or levels of one prefetch."""
        frame: FrameType | None = self.outermost
        for each in _outward(frame):
            if each.f_code.co_name == "_iterator" and isinstance(
                each.f_locals.get("self"), QuerySet
            ):
                return True
        return False

    def _write_load(self, queryset: QuerySet[Any]) -> Load:
        operation = next(iter(self.methods & _CREATES), self.operation)
        if operation == "delete" and self.record[0].count("%s") > 1 and " IN (" in self.record[0]:
            return Load(kind=LoadKind.BATCH, operation=operation)
        return Load(kind=LoadKind.WRITE, model=queryset.model, operation=operation)

    def _queryset_load(self, queryset: QuerySet[Any]) -> Load:
        instance = queryset._hints.get("instance")  # type: ignore[attr-defined]
        manager = self.manager
        known = queryset._known_related_objects  # type: ignore[attr-defined]
        owner = None if instance is None else type(instance)
        found = relation_of(queryset.query, owner, known)
        if found is None and manager is not None:
            found = relation_of_manager(manager)
        if instance is None:
            instance = getattr(manager, "instance", None)
        if instance is None:
            instance = self._owner_in_sight(queryset, found)
        relation = None if found is None else found[1]
        step: Step | None = None if relation is None else step_of(relation)
        provenance = None
        if instance is not None:
            provenance = find_provenance(self.evidence, self.records, instance, self.outermost)
        prefetched = step is not None and step.accessor in getattr(
            instance, "_prefetched_objects_cache", {}
        )
        return Load(
            kind=LoadKind.LOOKUP if step is None else LoadKind.TO_MANY,
            model=queryset.model if relation is None else relation.related_model,
            owner=None if found is None else found[0],
            step=step,
            operation=self.operation or "all",
            refinements=tuple(refinements(queryset, self.operation)),
            chain=chain_of(queryset),
            filters=related_filters(queryset, relation),
            last=last_filter(queryset),
            aggregate=plain_aggregate(self.arguments) if self.operation == "aggregate" else None,
            prefetched=prefetched,
            provenance=provenance,
        )


def _tracked(instance: Model) -> dict[str, Any]:
    """Return what an instance's fetch mode knows; nothing before Django 6.1."""
    state: Any = instance._state
    mode = getattr(state, "fetch_mode", None)
    peers = len(getattr(state, "peers", ()))
    return {"peers": peers or None, "built": getattr(mode, "origin", None)}


def _outward(frame: FrameType | None) -> Iterator[FrameType]:
    for _ in range(_MOST_FRAMES):
        if frame is None:
            return
        yield frame
        frame = frame.f_back
