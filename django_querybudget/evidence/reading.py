"""Reading the stack of a query that repeats: :func:`read_load`. Runs when a loop is one, and each
time that it has run twice as often."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from types import FrameType
from typing import TYPE_CHECKING, Any, cast

from django.db.models import Model, QuerySet
from django.db.models.deletion import Collector
from django.db.models.query import (
    ModelIterable,
    RawModelIterable,
    RelatedPopulator,
    prefetch_related_objects,
)

from django_querybudget.sql.fingerprints import StatementKind, statement_kind
from django_querybudget.stacks import RawHost, RawOrigin, is_project, outward, view_of

from .frames import MOST_FRAMES, OrmFrames, passes_on
from .holders import name_in
from .hops import steps_along
from .instances import attributes_of, is_of, key_of, same_key, state_of
from .loads import BY_INDEX, Load, LoadKind, Provenance, Scope, Step
from .provenance import find_provenance
from .refinements import chain_of, plain_aggregate, refinements, relation_of_manager
from .relations import (
    conditions,
    last_filter,
    related_filters,
    relation_of,
    step_of,
    target_of,
)
from .template_names import name_in_template
from .writes import writing_load

if TYPE_CHECKING:
    from django_querybudget.recording.raw import RawRecord

    from .noting import Evidence

__all__ = ["read_load"]

logger = logging.getLogger("django_querybudget")

_ITERATE = ModelIterable.__iter__.__code__
_ITERATORS = {QuerySet._iterator.__code__, QuerySet.aiterator.__code__}  # type: ignore[attr-defined]
_POPULATE = RelatedPopulator.populate.__code__
_LOOPING = {
    _ITERATE,
    RawModelIterable.__iter__.__code__,
    Collector.collect.__code__,
    Collector.delete.__code__,
    prefetch_related_objects.__code__,
}
# A field deferred in __init__: the iterable that makes the instance is a few frames above.
_MOST_FRAMES_TO_MAKER = 12
_MOST_RECORDS = 2000
_MOST_SCOPES = 8


def read_load(
    evidence: Evidence, raw: RawRecord, records: Sequence[RawRecord], frame: FrameType
) -> Load:
    """Return what ``raw`` loads, by the stack that begins at ``frame``."""
    try:
        return _Reading(evidence, raw, records, frame).load()
    except Exception:
        logger.debug("django_querybudget could not read the stack of a query.", exc_info=True)
        return Load(kind=LoadKind.LOOKUP)


class _Reading(OrmFrames):
    """What these frames come to."""

    def load(self) -> Load:
        if self.batched:
            return Load(kind=LoadKind.BATCH, operation=self.operation)
        if self.descriptor is not None:
            load = self._descriptor_load(*self.descriptor)
            return replace(load, way=self._way(), view=self._view())
        if self.prefetches:
            return self._prefetch_load()
        load = self._other_load()
        return replace(
            load,
            is_direct=self.is_direct,
            scopes=tuple(self._scopes()),
            included=self.included,
            way=self._way(),
            view=self._view(),
        )

    def _view(self) -> RawHost | None:
        """Return the nearest view of which a method of the project's is on the stack."""
        found = (view_of(each.f_locals.get("self")) for each in self._project())
        return next((each for each in found if each is not None), None)

    def _way(self) -> tuple[RawOrigin, ...]:
        frames = islice(self._project(), _MOST_SCOPES)
        return tuple(RawOrigin(each.f_code, each.f_lasti) for each in frames)

    def _project(self) -> Iterator[FrameType]:
        frames = islice(outward(self.outermost), MOST_FRAMES)
        return (frame for frame in frames if is_project(frame.f_code))

    def _scopes(self) -> Iterator[Scope]:
        """Yield the functions that led here, as far as no form, template or package loops between.

        The nearest one is where the query was sent from, in any case.
        """
        number, loops = 0, False
        for frame in islice(outward(self.outermost), MOST_FRAMES):
            loops = loops or (number > 0 and frame.f_code in _LOOPING)
            if is_project(frame.f_code):
                names = {name for name, value in frame.f_locals.items() if _is_row(value)}
                yield Scope(frame.f_code, frame.f_lasti, frozenset(names), loops)
                number, loops = number + 1, False
                if number == _MOST_SCOPES or not self.is_direct:
                    return
            elif number and not passes_on(frame.f_code):
                return

    def _other_load(self) -> Load:
        writes = statement_kind(self.record.sql) is StatementKind.WRITE
        if self.writer is not None:
            return writing_load(*self.writer)
        if self.queryset is None:
            kind = LoadKind.WRITE if writes else LoadKind.RAW
            operation = "raw" if self.raw_model is not None else "execute"
            return Load(kind=kind, model=self.raw_model, operation=operation)
        if writes:
            return Load(kind=LoadKind.WRITE, model=self.queryset.model, operation=self.operation)
        return self._queryset_load(self.queryset)

    def _owner_in_sight(
        self, queryset: QuerySet[Any], found: tuple[type[Model], Any] | None
    ) -> Model | None:
        """Return the instance of a generic relation, whose querysets do not name it, by its key.

        It is most likely a name of the function that runs the query.
        """
        caller = next(self._project(), None)
        if found is None or caller is None:
            return None
        owner, relation = found
        for condition in conditions(queryset.query):
            target = target_of(condition)
            if target is not None and target.name == relation.object_id_field_name:
                key = getattr(condition, "rhs", None)
                for value in caller.f_locals.values():
                    if is_of(value, owner) and same_key(key_of(value), key):
                        return cast("Model", value)
        return None

    def _descriptor_load(self, kind: LoadKind, field: Any, instance: Model) -> Load:
        provenance = find_provenance(self.evidence, self.records, instance, self.innermost)
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
            step=step_of(field, type(instance)),
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
            source = self.evidence.sources.get(raw.sql)
            if source is not None and source.query is queryset.query and raw.origin is not None:
                return Provenance(raw.sql, raw.origin, self.evidence.key_of(raw), path)
        return None

    def _prefetch_load(self) -> Load:
        if self._in_one_queryset():
            return Load(kind=LoadKind.BATCH, operation="prefetch_related")
        instances, lookups = self.prefetched
        names = tuple(each for each in lookups if isinstance(each, str))
        owner = type(instances[0]) if type(instances) in (list, tuple) and instances else None
        return Load(
            kind=LoadKind.PREFETCH,
            owner=owner,
            operation="prefetch_related_objects",
            name=", ".join(names),
            fields=names if len(names) == len(lookups) else (),
            is_direct=self.is_direct,
            scopes=tuple(self._scopes()),
        )

    def _in_one_queryset(self) -> bool:
        """Whether a queryset prefetches for its own rows: chunks, or levels of one prefetch."""
        return any(
            each.f_code in _ITERATORS for each in islice(outward(self.outermost), MOST_FRAMES)
        )

    def _queryset_load(self, queryset: QuerySet[Any]) -> Load:
        instance = queryset._hints.get("instance")  # type: ignore[attr-defined]
        manager = self.manager
        known = queryset._known_related_objects  # type: ignore[attr-defined]
        owner = None if instance is None else type(instance)
        found = relation_of(queryset.query, owner, known)
        if found is None and manager is not None:
            found = relation_of_manager(manager)
        if instance is None:
            instance = attributes_of(manager).get("instance")
        if instance is None:
            instance = self._owner_in_sight(queryset, found)
        relation = None if found is None else found[1]
        step: Step | None = None if found is None else step_of(found[1], found[0])
        provenance = None
        row = ""
        if instance is not None:
            provenance = find_provenance(self.evidence, self.records, instance, self.innermost)
            row = name_in(next(self._project(), None), instance)
        if not row and step is not None and self.record.origin is not None:
            row = name_in_template(self.record.origin.node, step.accessor)
        cache = {} if instance is None else attributes_of(instance)
        prefetched = step is not None and step.accessor in cache.get(
            "_prefetched_objects_cache", {}
        )
        return Load(
            kind=LoadKind.LOOKUP if step is None else LoadKind.TO_MANY,
            model=queryset.model if relation is None else relation.related_model,
            owner=None if found is None else found[0],
            step=step,
            operation="all"
            if step is not None and self.operation == BY_INDEX
            else self.operation or "all",
            # serialize() reads a prefetch where there is one, and else only the keys, in an order.
            refinements=() if self.serializes else tuple(refinements(queryset, self.operation)),
            chain=chain_of(queryset),
            filters=related_filters(queryset, relation),
            last=last_filter(queryset),
            aggregate=plain_aggregate(self.arguments) if self.operation == "aggregate" else None,
            prefetched=prefetched,
            row=row,
            provenance=provenance,
        )


def _is_row(value: Any) -> bool:
    return is_of(value, (Model, dict)) or (is_of(value, tuple) and hasattr(type(value), "_fields"))


def _tracked(instance: Model) -> dict[str, Any]:
    """Return what an instance's fetch mode knows; nothing before Django 6.1."""
    state = state_of(instance)
    mode = getattr(state, "fetch_mode", None)
    peers = len(getattr(state, "peers", ()))
    return {"peers": peers or None, "built": getattr(mode, "origin", None)}
