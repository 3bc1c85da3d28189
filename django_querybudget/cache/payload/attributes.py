"""What an instance is made of: what the database sent for it, and what hangs on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Model

from .models import attnames, is_made_by_init, is_plain_model
from .values import Unfreezable, copied

__all__ = ["Received", "attributes", "made_of"]

_OWN = frozenset({"_state", "_prefetched_objects_cache"})


@dataclass(frozen=True, slots=True)
class Received:
    """What an instance was made of: the values of ``fields``, then those of ``names``."""

    instance: Model
    """Held so that no other instance can have its ``id()``."""

    fields: tuple[str, ...]
    names: tuple[str, ...]
    """Of annotations, which are set when the instance has been made."""

    values: Sequence[Any]


def made_of(
    instance: Model, names: Sequence[str]
) -> tuple[tuple[str, ...], Sequence[str], Sequence[Any]]:
    """Return fields, other names, and the values of both, of what was not noted as it came.

    ``names`` are of its attributes. Raises :class:`~.values.Unfreezable`.
    """
    model = type(instance)
    fields = tuple(name for name in names if name in attnames(model))
    others: Sequence[str] = [name for name in names if name not in attnames(model)]
    values = instance.__dict__
    if not is_plain_model(model):
        others = _not_made_again(instance, fields, others)
    return fields, others, [_stored(values[name]) for name in (*fields, *others)]


def _not_made_again(instance: Model, fields: Sequence[str], others: Sequence[str]) -> Sequence[str]:
    """Return those of ``others`` that the model's ``__init__`` does not set.

    For rows that were not noted: a manager fetches those of a prefetch by name. Made again of its
    own values, the instance has to be what it is: then a hit makes the same. Raises
    :class:`~.values.Unfreezable` where it is not, or where more than ``__init__`` makes it.
    """
    model: Any = type(instance)
    refused = Unfreezable(f"an instance of {model._meta.label}, made by code of its own")
    if not is_made_by_init(model) or len(fields) < len(attnames(model)):
        raise refused  # such code may load what is deferred
    order = [each.attname for each in model._meta.concrete_fields]
    mine = instance.__dict__
    again = model.from_db(instance._state.db, order, [copied(mine[name]) for name in order])
    made = {name: value for name, value in again.__dict__.items() if name not in _OWN}
    if type(again) is not model or not all(
        name in mine and type(mine[name]) is type(value) and mine[name] == value
        for name, value in made.items()
    ):
        raise refused
    return [name for name in others if name not in made]


def attributes(instance: Model) -> tuple[Sequence[str], Sequence[str]]:
    """Return the attributes of an instance, and those of them that are lists of instances."""
    names: list[str] = []
    lists: list[str] = []
    for name, value in instance.__dict__.items():
        if name in _OWN:
            continue
        if isinstance(value, Model):
            raise Unfreezable(f"an instance as attribute {name!r}")
        # An empty one may be a prefetch's: of a joined row, it stands in no row that was noted.
        is_list = type(value) is list and (
            isinstance(value[0], Model) if value else name not in attnames(type(instance))
        )
        (lists if is_list else names).append(name)
    return names, lists


def _stored(value: object) -> Any:
    """Return what the database gave for a file field, whose attribute wraps it when it is read."""
    if hasattr(value, "field") and hasattr(value, "instance") and hasattr(value, "name"):
        return value.name
    return value
