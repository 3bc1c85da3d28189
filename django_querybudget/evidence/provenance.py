"""Which query an instance came from: :func:`find_provenance`.

An instance does not know. What is looked at, most certain first:

1. Frames: while instances are being made, the iterable that makes them is on the stack
   (see :mod:`.reading`).
2. Relations: an instance that a name of the project's functions refers to holds this one in its
   cache of relations. Then it is that instance's way that counts.
3. Identity: the instance is among the rows of a queryset that is still alive. One that is alive
   and does not have it is ruled out.
4. Keys: an earlier query asked for this primary key, or for the rows of this foreign key; or it
   prefetches what this instance holds.
5. Elimination: one earlier query alone reads this model, with the same fields deferred.
6. Loops: of several, a ``for`` around the line that reads iterates one, and binds this instance.

What is left undecided is said to be unknown: a wrong line is worse than none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from types import FrameType
from typing import TYPE_CHECKING, Any

from django.db.models import Model
from django.db.models.constants import LOOKUP_SEP
from django.db.models.lookups import Lookup
from django.template.base import Variable

from django_querybudget.stacks import is_library, is_project, outward

from .for_loops import iterated
from .instances import attributes_of, deferred_of, is_of, related_of, same_key, state_of
from .loads import Provenance, Step, place_key
from .relations import conditions, relation_of, step_of, target_of

if TYPE_CHECKING:
    from django_querybudget.recording.raw import RawRecord

    from .noting import Evidence, Source

__all__ = ["find_provenance", "name_in", "steps_along", "ways"]

# How far back records, rows, frames and relations are searched.
_MOST_RECORDS = 2000
_MOST_ROWS = 2000
_MOST_FRAMES = 60
_MOST_RELATIONS = 4

_RESOLVE = Variable._resolve_lookup.__code__  # type: ignore[attr-defined]

_RULED_OUT, _POSSIBLE, _BY_PREFETCH, _BY_KEY, _BY_IDENTITY = range(5)


def find_provenance(
    evidence: Evidence,
    records: Sequence[RawRecord],
    instance: Model,
    frame: FrameType | None,
) -> Provenance | None:
    """Return the query that ``instance`` came from; None if that is not certain.

    ``frame`` is where the search for names that refer to it begins.
    """
    for holder, path in _holders(instance, frame):
        found = _query_of(evidence, records, holder, frame)
        if found is None:
            return None
        if not path or not _came_from(evidence, found, instance, path):
            return found._replace(path=(*found.path, *path))
    return None


def _came_from(
    evidence: Evidence, found: Provenance, instance: Model, path: tuple[Step, ...]
) -> bool:
    """Whether the holder was itself loaded by way of ``instance``, which it only refers back to.

    ``author.books`` gives books that know their author: the author is not of the books' query.
    """
    source = evidence.sources.get(found.sql)
    if source is None or found.path or source.owner is None or len(path) > 1:
        return False
    relation = relation_of(source.query, source.owner) if is_of(instance, source.owner) else None
    field = None if relation is None else getattr(relation[1], "field", None)
    return field is not None and field.name == path[0].lookup


def name_in(frame: FrameType | None, instance: Model) -> str:
    """Return what the function of ``frame`` calls ``instance``; nothing if it has no name."""
    if frame is None:
        return ""
    names = {name: value for name, value in frame.f_locals.items() if name.isidentifier()}
    for name, value in names.items():
        if value is instance:
            return name
    for name, value in names.items():
        if is_of(value, Model):
            path = _way(value, instance, _MOST_RELATIONS)
            if path is not None:
                return ".".join((name, *(step.accessor for step in path)))
    return ""


def _holders(instance: Model, frame: FrameType | None) -> Iterator[tuple[Model, tuple[Step, ...]]]:
    """Yield what the project has at hand, and the way from there to ``instance``; itself last."""
    for each in islice(outward(frame), _MOST_FRAMES):
        for value in _values_at(each):
            if value is not instance and is_of(value, Model):
                path = _way(value, instance, _MOST_RELATIONS)
                if path is not None:
                    yield value, path
    yield instance, ()


def _values_at(frame: FrameType) -> list[Any]:
    """Return what a function of the project's or of a package's has at hand, or a template."""
    code = frame.f_code
    if is_project(code) or is_library(code):
        return list(frame.f_locals.values())
    if code is _RESOLVE:
        dicts = attributes_of(frame.f_locals.get("context")).get("dicts", ())
        return [value for each in reversed(dicts) if is_of(each, dict) for value in each.values()]
    return []


def _way(holder: Model, instance: Model, most: int) -> tuple[Step, ...] | None:
    """Return the relations, all of them loaded, from one instance to the other."""
    for name, value in tuple(related_of(holder).items()):
        if value is instance or (most > 1 and is_of(value, Model)):
            step = _step_to(type(holder), name)
            if step is None or _goes_back(holder, name, value):
                continue
            rest = () if value is instance else _way(value, instance, most - 1)
            if rest is not None:
                return (step, *rest)
    return None


def _goes_back(holder: Model, name: str, value: Any) -> bool:
    """Whether a one-to-one or a related manager put it there: it was what led to ``holder``."""
    field = type(holder)._meta.get_field(name)
    remote: Any = field.remote_field
    if remote is None or not is_of(value, Model):
        return False
    cached = related_of(value).get(getattr(remote, "cache_name", name))
    return cached is holder and not field.concrete


def _step_to(model: type[Model], name: str) -> Step | None:
    return next((step for step, _, cache in _relations(model) if cache == name), None)


def _query_of(
    evidence: Evidence, records: Sequence[RawRecord], instance: Model, frame: FrameType | None
) -> Provenance | None:
    best: dict[tuple[Any, ...], Provenance] = {}
    best_score = _POSSIBLE
    unsure = False
    database = state_of(instance).db
    for raw in islice(reversed(records), 1, _MOST_RECORDS):
        sql, alias, origin = raw.sql, raw.alias, raw.origin
        source = evidence.sources.get(sql)
        if source is None or origin is None or alias != database or source.is_refresh:
            continue
        for root, path in ways(evidence, source, type(instance)):
            score = _score(source, raw, instance, path if root is source else None)
            if not _same_fields(root, path, instance):
                continue
            if root is source and not _has_joined(source, path, instance):
                continue
            if len(path) and root is source and _has_joined(source, (), instance, also=True):
                continue  # A row of its own, which what it joined does not hold.
            if score == _POSSIBLE and root is source and source.record is not raw and not path:
                unsure = (
                    True  # A text that ran again, later: its rows are not known, nor ruled out.
                )
            elif score == _BY_KEY and unsure:
                score = _POSSIBLE
            if score < best_score:
                continue
            if score > best_score:
                best_score, best = score, {}
            origin_record = raw if root is source else root.record
            if origin_record.origin is None:
                continue
            found = Provenance(
                origin_record.sql, origin_record.origin, evidence.key_of(origin_record), path
            )
            best[*place_key(found.sql, found.origin), path] = found
        if best_score == _BY_IDENTITY:
            break
    return _one_of(list(best.values()), instance, frame)


def _one_of(found: list[Provenance], instance: Model, frame: FrameType | None) -> Provenance | None:
    if len(found) > 1:
        own = [each for each in found if not each.path]
        return iterated(own, instance, islice(outward(frame), _MOST_FRAMES))
    return found[0] if found else None


def ways(
    evidence: Evidence, source: Source, model: type[Model]
) -> Iterator[tuple[Source, tuple[Step, ...]]]:
    """Yield how rows of ``source`` lead to instances of ``model``, and from which queryset."""
    own = source.model
    root = source
    prefix: tuple[Step, ...] = ()
    if source.prefetch_to is not None and not source.has_own_place:
        parent = next(
            (each for each in evidence.sources.values() if each.query is source.parent_query), None
        )
        if parent is not None:
            steps = steps_along(parent.model, source.prefetch_to)
            if steps is not None:
                root, prefix = parent, steps
    if own._meta.concrete_model is model._meta.concrete_model:
        yield root, prefix
    selected = getattr(source.query, "select_related", False)
    if isinstance(selected, dict):
        for path, end in _joined(own, selected):
            if end._meta.concrete_model is model._meta.concrete_model:
                yield root, (*prefix, *path)


def _joined(
    model: type[Model], selected: dict[str, Any]
) -> Iterator[tuple[tuple[Step, ...], type[Model]]]:
    for name, deeper in selected.items():
        found = next((each for each in _relations(model) if each[0].lookup == name), None)
        if found is not None:
            step, related, _ = found
            yield (step,), related
            for path, end in _joined(related, deeper):
                yield (step, *path), end


def _relations(model: type[Model]) -> Iterator[tuple[Step, type[Model], str]]:
    """Yield each relation as a hop, with the model it leads to and its name in the cache."""
    for field in (*model._meta.get_fields(), *model._meta.private_fields):
        related: Any = getattr(field, "related_model", None)
        generic = field.is_relation and related is None
        if generic or (
            field.is_relation and isinstance(related, type) and not getattr(field, "hidden", False)
        ):
            yield step_of(field, model), related or model, getattr(field, "cache_name", field.name)


def steps_along(model: type[Model], lookup: str) -> tuple[Step, ...] | None:
    """Return the hops of a prefetch lookup; None if one is no relation (a ``to_attr``)."""
    steps: list[Step] = []
    for name in lookup.split(LOOKUP_SEP):
        found = next((each for each in _relations(model) if each[0].accessor == name), None)
        if found is None:
            return None
        steps.append(found[0])
        model = found[1]
    return tuple(steps)


def _same_fields(source: Source, path: tuple[Step, ...], instance: Model) -> bool:
    """Whether the queryset leaves out all the fields that the instance lacks."""
    if path:
        return True
    loading = getattr(source.query, "deferred_loading", None)
    if loading is None:
        return True
    names, deferred = loading
    own = source.query.model._meta
    left_out = {
        field.attname
        for field in own.concrete_fields
        if field is not own.pk and (field.name in names or field.attname in names) is bool(deferred)
    }
    return deferred_of(instance) <= left_out


def _has_joined(
    source: Source, path: tuple[Step, ...], instance: Model, *, also: bool = False
) -> bool:
    """Whether ``instance`` holds what the queryset joins to the rows at the end of ``path``.

    ``also`` asks whether that is something at all, and the instance one of the queryset's rows.
    """
    joined: Any = getattr(source.query, "select_related", False)
    if not isinstance(joined, dict):
        return not also
    for step in path:
        joined = joined.get(step.lookup, {})
    held = related_of(instance)
    model = type(instance)
    if also and source.model._meta.concrete_model is not model._meta.concrete_model:
        return False
    names = {cache for step, _, cache in _relations(model) if step.lookup in joined and step.joins}
    return names <= held.keys() and (bool(names) or not also)


def _score(source: Source, raw: RawRecord, instance: Model, path: tuple[Step, ...] | None) -> int:
    rows = getattr(source.queryset(), "_result_cache", None)
    if rows is not None and path is not None and source.record is raw:
        for row in islice(rows, _MOST_ROWS):
            if _follow(row, path) is instance:
                return _BY_IDENTITY
        return _RULED_OUT
    if path:
        return _POSSIBLE
    score = _score_by_key(source, raw, instance)
    return max(score, _BY_PREFETCH) if score and _has_prefetched(source, instance) else score


def _has_prefetched(source: Source, instance: Model) -> bool:
    """Whether ``instance`` holds all that the queryset prefetches for its rows: many rows each."""
    held = attributes_of(instance)
    cached = held.get("_prefetched_objects_cache", {})
    marks = [
        getattr(each, "to_attr", None) or getattr(each, "prefetch_through", each)
        for each in source.lookups
    ]
    return bool(marks) and all(
        each.partition(LOOKUP_SEP)[0] in cached or each in held for each in marks
    )


def _score_by_key(source: Source, raw: RawRecord, instance: Model) -> int:
    params = raw.params
    wanted = list(conditions(source.query)) if hasattr(source.query, "where") else []
    # One parameter for each condition: only then is it certain which one is whose.
    if params is None or len(params) != len(wanted):
        return _POSSIBLE
    matches = [_has(instance, each, param) for each, param in zip(wanted, params, strict=True)]
    if False in matches:
        return _RULED_OUT
    return _BY_KEY if matches == [True] else _POSSIBLE


def _has(instance: Model, condition: Lookup[Any] | None, param: Any) -> bool | None:
    """Whether an instance has the key that a condition asks for; None if that cannot be said."""
    target = target_of(condition)
    if getattr(condition, "lookup_name", "") != "exact" or target is None:
        return None
    model, options = target.model._meta.concrete_model, type(instance)._meta
    if model is not options.concrete_model and model not in options.all_parents:
        return None  # A join's column: many-to-many.
    held = attributes_of(instance)
    # What is no key may have been given another value since.
    if target.attname not in held or not (target.unique or target.is_relation):
        return None
    return same_key(held[target.attname], param)


def _follow(row: Any, path: tuple[Step, ...]) -> Any:
    for step in path:
        row = related_of(row).get(step.accessor) if is_of(row, Model) else None
    return row
