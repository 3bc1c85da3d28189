"""Which relation a queryset follows: read off its filters, since the manager's frame is gone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Any

from django.apps import apps
from django.db.models import Model, QuerySet
from django.db.models.expressions import Col
from django.db.models.lookups import Lookup

from django_querybudget.sql.where import conjuncts

from .instances import is_of
from .loads import Filter, Step

__all__ = [
    "conditions",
    "is_plain",
    "last_filter",
    "quoted",
    "related_filters",
    "relation_of",
    "step_of",
]


# Longer ones are no code that a person would paste.
_MOST_VALUES = 20
_MOST_CHARACTERS = 200


def step_of(field: Any, owner: type[Model] | None = None) -> Step:
    """Return the hop along a relation's field or reverse relation, from a row of ``owner``."""
    if field.auto_created and not field.concrete:  # A reverse relation.
        accessor = field.get_accessor_name()
        return Step(field.name, accessor, field.one_to_one, field.field.name, owner=owner)
    if field.many_to_one or field.one_to_one:
        copies = bool(getattr(field.remote_field, "parent_link", False))
        generic = field.related_model is None
        joins = not (generic or copies)
        return Step(field.name, field.name, joins, copies=copies, generic=generic, owner=owner)
    return Step(field.name, field.name, False, _other_end(field), owner=owner)


def _other_end(field: Any) -> str:
    if field.many_to_many:
        return str(field.related_query_name())
    # A generic relation: it has no name at the other end that a lookup could use.
    return ""


def conditions(query: Any) -> Iterator[Lookup[Any] | None]:
    """Yield the ANDed conditions of a query; None for one that is no plain lookup."""
    for each in conjuncts(query.where):
        yield each if isinstance(each, Lookup) else None


def target_of(condition: Lookup[Any] | None) -> Any:
    """Return the field that a condition compares, if it compares a column."""
    lhs = getattr(condition, "lhs", None)
    return lhs.target if isinstance(lhs, Col) else None


def relation_of(
    query: Any, owner: type[Model] | None, known: Iterable[Any] = ()
) -> tuple[type[Model], Any] | None:
    """Return the model and the relation's field that ``query`` follows from one instance.

    ``owner`` is the model of the instance that Django noted as the queryset's origin, if it did;
    ``known`` are the foreign keys whose objects it knows beforehand.
    """
    if owner is None:
        return _generic_relation(query)
    for field in known:
        return owner, field.remote_field
    targets = [target_of(condition) for condition in conditions(query)]
    for relation in (*owner._meta.many_to_many, *owner._meta.related_objects):
        # Rows of a many-to-many's own model follow the foreign key's other end, not the many.
        if _leads_to(relation, query.model) and any(
            target is not None and _is_core(relation, target) for target in targets
        ):
            return owner, relation
    return _generic_relation(query)


def _leads_to(relation: Any, model: type[Model]) -> bool:
    related = relation.related_model
    return bool(related._meta.concrete_model is model._meta.concrete_model)


def _is_core(relation: Any, target: Any) -> bool:
    """Whether a related manager of ``relation`` filters by ``target``."""
    if not relation.many_to_many:
        return bool(relation.field is target or getattr(relation, "field", None) == target)
    reverse = relation.auto_created
    field = relation.field if reverse else relation
    through = field.remote_field.through
    name = field.m2m_reverse_field_name() if reverse else field.m2m_field_name()
    return target.model is through and target.name == name


def _generic_relation(query: Any) -> tuple[type[Model], Any] | None:
    """Return the generic relation that filters by content type and object id, if it is known."""
    values = {
        target.name: condition.rhs
        for condition in conditions(query)
        if condition is not None and (target := target_of(condition)) is not None
    }
    if len(values) < 2 or not apps.is_installed("django.contrib.contenttypes"):
        return None
    from django.contrib.contenttypes.models import ContentType

    for model in apps.get_models():
        for field in model._meta.private_fields:
            relation: Any = field
            name = getattr(relation, "object_id_field_name", None)
            if name not in values or relation.related_model is not query.model:
                continue
            options = (
                model._meta.concrete_model._meta if model._meta.concrete_model else model._meta
            )
            try:
                # What the manager asked for a moment ago; never a query of ours.
                content_type = ContentType.objects._get_from_cache(options)  # type: ignore[attr-defined]
            except KeyError:
                continue
            if values.get(relation.content_type_field_name) == content_type.pk:
                return model, relation
    return None


def related_filters(queryset: QuerySet[Any], relation: Any) -> tuple[Filter, ...] | None:
    """Return the conditions beyond the relation's own; None if one is no keyword argument."""
    found: list[Filter] = []
    for condition in conditions(queryset.query):
        target = target_of(condition)
        if target is not None and relation is not None and _belongs(relation, target):
            continue
        written = _written(queryset, condition, target)
        if written is None:
            return None
        found.append(written)
    return tuple(found)


def last_filter(queryset: QuerySet[Any]) -> Filter | None:
    """Return the last condition that can be written as a keyword argument."""
    for condition in reversed(list(conditions(queryset.query))):
        written = _written(queryset, condition, target_of(condition))
        if written is not None:
            return written
    return None


def _belongs(relation: Any, target: Any) -> bool:
    if hasattr(relation, "object_id_field_name"):
        return target.name in (relation.object_id_field_name, relation.content_type_field_name)
    if not (relation.auto_created or relation.many_to_many):
        return False
    return _is_core(relation, target)


def _written(queryset: QuerySet[Any], condition: Any, target: Any) -> Filter | None:
    if target is None or condition.lhs.alias != queryset.model._meta.db_table:
        return None
    value = condition.rhs
    if is_of(value, Enum):
        value = value.value
    if hasattr(type(value), "resolve_expression"):
        return None
    name = target.attname
    return Filter(
        name if condition.lookup_name == "exact" else f"{name}__{condition.lookup_name}", value
    )


def is_plain(value: Any) -> bool:
    """Whether ``repr(value)`` is code that means the value, and short enough for a line."""
    if is_of(value, (list, tuple)):
        return len(value) <= _MOST_VALUES and all(map(is_plain, value))
    if type(value) in (int, str):
        return len(str(value)) <= _MOST_CHARACTERS if type(value) is str else abs(value) < 10**20
    return value is None or type(value) in (bool, float)


def quoted(name: str) -> str:
    """Return a name as a string literal of Python, in double quotes."""
    return json.dumps(name, ensure_ascii=False)
