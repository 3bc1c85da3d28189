"""What an instance holds, read past its class: nothing of the project's runs to look at it.

A model may have a ``__getattribute__`` or a property that queries, raises or counts. So may what
else stands in a frame's variables: types are asked by ``type()``, since ``isinstance()`` reads
``__class__``, which evaluates a lazy object.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import Model

__all__ = [
    "attributes_of",
    "deferred_of",
    "is_of",
    "key_of",
    "related_of",
    "same_key",
    "state_of",
    "text_of",
]


def is_of(value: object, kind: type | tuple[type, ...]) -> bool:
    """Whether ``value`` is of a class, without asking it."""
    return issubclass(type(value), kind)


def attributes_of(value: object) -> dict[str, Any]:
    """Return the ``__dict__`` of an instance, or of a manager; an empty one if it has none."""
    try:
        found: dict[str, Any] = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return found


def state_of(instance: Model) -> Any:
    """Return its ``_state``; None before it has one."""
    return attributes_of(instance).get("_state")


def related_of(instance: Model) -> dict[str, Any]:
    """Return the related instances that it holds, by the names of the cache."""
    found: dict[str, Any] = attributes_of(state_of(instance)).get("fields_cache", {})
    return found


def deferred_of(instance: Model) -> set[str]:
    """Return the columns' attributes that it was loaded without."""
    held = attributes_of(instance)
    fields = type(instance)._meta.concrete_fields
    return {field.attname for field in fields if field.attname not in held}


def same_key(own: Any, given: Any) -> bool:
    """Whether two keys are one; the driver may have spelled one of them: a UUID without hyphens."""
    one, other = text_of(own), text_of(given)
    return one is not None and other is not None and one.replace("-", "") == other.replace("-", "")


def text_of(value: object) -> str | None:
    """Return a number, a text or a UUID as text; None for anything else.

    A number that psycopg is given is of a type of its own, which says how large it is.
    """
    if is_of(value, int):
        return int.__repr__(value)
    if is_of(value, str):
        return str.__str__(value)
    return UUID.__str__(value) if is_of(value, UUID) else None


def key_of(instance: Model) -> Any:
    """Return its primary key; None for one of several fields."""
    return attributes_of(instance).get(type(instance)._meta.pk.attname)
