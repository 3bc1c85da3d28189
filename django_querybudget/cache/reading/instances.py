"""Model instances as arguments: what they hold, and the same ones loaded again.

What an instance holds in memory may be older than its row, or was never saved. So what its fields
hold is part of the key. And a fill gives the function the instance as it is in the database at
that moment: its row is read under the tokens of the entry, and so is all that hangs on it, since
the fresh instance brings no loaded relations and no cached permissions along.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, lru_cache
from inspect import getattr_static
from typing import TYPE_CHECKING, Any

from django.db import connections, router
from django.db.models import Model, QuerySet
from django.utils import functional

from django_querybudget.cache.keys import Unkeyable, spelled

from .dependencies import pins_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from django.db.models import Field

    from .fills import Fill

__all__ = ["Untold", "extras_of", "fresh", "holds_instances", "spelled_state"]

_CACHED_PROPERTIES = (cached_property, functional.cached_property)


class Untold(Exception):
    """What an argument holds cannot be part of a key; the message says what."""


@lru_cache(maxsize=1024)
def _fields(model: type[Model]) -> Mapping[str, Field[Any, Any]]:
    return {field.attname: field for field in model._meta.concrete_fields}


def extras_of(instance: Model) -> dict[str, Any]:
    """Return the attributes that were set besides the fields.

    Left out are those that begin with ``_``, which are taken for caches, and cached properties:
    a fresh instance makes them again.
    """
    model = type(instance)
    return {
        name: instance.__dict__[name]
        for name in instance.__dict__.keys() - _fields(model).keys()
        if name[0] != "_" and not isinstance(getattr_static(model, name, None), _CACHED_PROPERTIES)
    }


def _spelled_fields(instance: Model, names: Collection[str]) -> str:
    own = instance.__dict__
    fields = _fields(type(instance))
    texts: list[str] = []
    for name in names:
        value = own[name]
        try:
            texts.append(spelled(value))
        except Unkeyable:
            try:  # a type of the field's own: by what the database gets
                texts.append(spelled(fields[name].get_prep_value(value)))
            except Exception as error:  # whatever the host's field raises
                raise Untold(f"field {instance._meta.label}.{name}: {error}") from error
    return ",".join(texts)


def _loaded(instance: Model) -> list[str]:
    own = instance.__dict__
    return [name for name in _fields(type(instance)) if name in own]


def spelled_state(instance: Model) -> str:
    """Return what an instance holds, as part of a key: its fields, and what was set on it.

    Raises :class:`Untold`.
    """
    names = _loaded(instance)
    deferred = "" if len(names) == len(_fields(type(instance))) else ",".join(names)
    extras = ",".join(
        f"{name}={_spelled_extra(instance, name, value)}"
        for name, value in sorted(extras_of(instance).items())
    )
    return f"{instance._state.db}|{deferred}|{_spelled_fields(instance, names)}|{extras}"


def _spelled_extra(instance: Model, name: str, value: object) -> str:
    try:
        if holds_instances(value):
            raise Unkeyable("instances")
        return spelled(value)
    except Unkeyable as error:
        raise Untold(f"attribute {instance._meta.label}.{name}: {error}") from error


def holds_instances(value: object) -> bool:
    """Whether a value is a model instance, or holds one."""
    if isinstance(value, Mapping):
        value = (*value, *value.values())
    if isinstance(value, list | tuple | set | frozenset):
        return any(map(holds_instances, value))
    return isinstance(value, Model)


def fresh(instance: Model, fill: Fill) -> Model | None:
    """Return the instance as its row is now; None where the row is gone, or holds other values.

    What is read for that counts for ``fill``.
    """
    model = type(instance)
    alias = instance._state.db or router.db_for_read(model, instance=instance)
    # Not by a manager of the host's, which may hide rows or join others.
    rows: QuerySet[Model] = QuerySet(model, using=alias).filter(pk=instance.pk).order_by()
    loaded = _loaded(instance)
    if len(loaded) < len(_fields(model)) and router.db_for_read(model, instance=instance) != alias:
        # What is deferred comes from another database, if the function asks for it.
        rows = rows.only(*loaded)
    with fill.next_reads(pins_of(rows.query, connections[alias])):
        found = list(rows)
    if not found:
        return None
    again: Model = found[0]
    fields = _fields(model)
    if not all(_holds_same(fields[name], instance, again) for name in loaded):
        return None
    again.__dict__.update(extras_of(instance))
    return again


def _holds_same(field: Field[Any, Any], instance: Model, again: Model) -> bool:
    """Whether both hold values that are equal in the database: a choice and its text, 1 and 1.0."""
    before, now = (each.__dict__[field.attname] for each in (instance, again))
    try:
        # A field that encrypts may make another thing of one value each time.
        return bool(field.get_prep_value(before) == field.get_prep_value(now)) or (
            spelled(before) == spelled(now)
        )
    except Exception:  # whatever the host's field raises
        return False
