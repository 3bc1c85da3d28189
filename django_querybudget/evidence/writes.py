"""What a call writes, all of its statements taken together: :func:`writing_load`."""

from __future__ import annotations

from itertools import starmap
from typing import Any

from django.db.models import Model, QuerySet

from .instances import attributes_of, state_of
from .loads import Filter, Load, LoadKind, Step
from .refinements import relation_of_manager
from .relations import related_filters, step_of

__all__ = ["writing_load"]


def writing_load(name: str, target: Any, arguments: dict[str, Any]) -> Load:
    """Return the load of one call of method ``name`` on a model instance, queryset or manager.

    Whatever it runs is that call's: the look-up of a ``get_or_create()``, the rows that a
    ``delete()`` fetches for its cascades.
    """
    operation = "save" if name == "save_base" else name
    kind = type(target)
    if issubclass(kind, Model):
        updates = arguments.get("force_update") or arguments.get("update_fields")
        adding = operation == "save" and state_of(target).adding and not updates
        return Load(
            kind=LoadKind.WRITE,
            model=kind,
            operation="create" if adding else operation,
            fields=_names(arguments.get("update_fields")),
            keys=("pk",),
        )
    if issubclass(kind, QuerySet):
        return Load(
            kind=LoadKind.WRITE,
            model=target.model,
            operation=operation,
            filters=related_filters(target, None),
            **_named(operation, arguments),
        )
    held = attributes_of(target)
    found = None if held.get("instance") is None else relation_of_manager(target)
    step: Step | None = None if found is None else step_of(found[1])
    return Load(
        kind=LoadKind.WRITE,
        model=held["model"],
        owner=None if found is None else found[0],
        step=step,
        operation=operation,
        **_named(operation, arguments),
    )


def _named(operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that a queryset's or a manager's method is given by name."""
    if operation == "bulk_update":
        fields = arguments.get("fields") or ()
        return {"fields": tuple(each if isinstance(each, str) else each.name for each in fields)}
    if operation == "update":
        given = arguments.get("kwargs")
        return {"values": tuple(starmap(Filter, given.items())) if type(given) is dict else ()}
    if operation not in ("get_or_create", "update_or_create"):
        return {}
    named = {"keys": _names(arguments.get("kwargs"))}
    update = arguments.get("update_defaults", arguments.get("defaults"))
    create = arguments.get("create_defaults")
    # What is created otherwise than it is updated is no one statement.
    return named if create and create is not update else {**named, "fields": _names(update)}


def _names(given: Any) -> tuple[str, ...]:
    return tuple(given) if type(given) in (dict, list, tuple, set, frozenset) else ()
