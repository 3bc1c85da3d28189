"""Model instances again, from the plain values that :mod:`.freeze` made of them.

In two steps. :func:`prepared_graph` depends on the payload alone, so that what it returns can be
kept and used again; :func:`thaw_graph` makes instances of it, new ones each time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.db.models.base import ModelState

from .freeze import step
from .models import Changed, has_own_from_db, is_plain_model, version_of
from .prefetched import prefetch
from .values import FrozenColumn

if TYPE_CHECKING:
    from django.db.models import Model, QuerySet

__all__ = ["Graph", "prepared_graph", "thaw_graph"]


@dataclass(frozen=True, slots=True)
class Group:
    """Instances of one class that carry the same."""

    model: Any
    version: str
    database: str | None
    path: str
    fields: Sequence[str]
    names: Sequence[str]
    columns: Sequence[FrozenColumn]
    rows: Sequence[dict[str, Any]]
    """The attributes of each instance; those of ``mutable``, and its state, are yet to be set."""
    mutable: Sequence[tuple[str, FrozenColumn]]
    related: Mapping[str, Sequence[int | None]]
    lists: Mapping[str, Sequence[Sequence[int]]]
    prefetched: Mapping[str, Sequence[Sequence[int]]]


@dataclass(frozen=True, slots=True)
class Graph:
    """A payload that has been read."""

    groups: Sequence[Group]
    roots: Sequence[int]


def prepared_graph(payload: Mapping[str, Any]) -> Graph:
    """Read a payload of :func:`~.freeze.freeze_graph`.

    Raises :class:`~.models.Changed` if a model is not what it was.
    """
    return Graph([_prepared(group) for group in payload["groups"]], payload["roots"])


def _prepared(group: Mapping[str, Any]) -> Group:
    try:
        model: Any = apps.get_model(group["model"])
    except (LookupError, ValueError) as error:
        raise Changed(group["model"]) from error
    fields, names = group["fields"], group["names"]
    columns = [FrozenColumn(frozen) for frozen in group["columns"]]
    both = (*fields, *names)
    values = list(zip(*(column.values() for column in columns), strict=True))
    if len(columns) != len(both) or len(values) != group["size"]:
        raise Changed(group["model"])
    keys = ("_state", *both)
    rows = [dict(zip(keys, (None, *row), strict=True)) for row in values]
    return Group(
        model=model,
        version=group["version"],
        database=group["db"],
        path=group["path"],
        fields=fields,
        names=names,
        columns=columns,
        rows=rows,
        mutable=[
            (name, column)
            for name, column in zip(both, columns, strict=True)
            if not column.is_shared
        ],
        related=group["related"],
        lists=group["lists"],
        prefetched=group["prefetched"],
    )


def thaw_graph(
    graph: Graph, querysets: Mapping[str, QuerySet[Any]], fetch_mode: object = None
) -> list[Model]:
    """Return the instances again. ``querysets`` are those of the Prefetch objects, by path.

    Raises :class:`~.models.Changed` if a model's fields are not what they were.
    """
    instances: list[Model] = []
    groups: list[tuple[Group, list[Model]]] = []
    for group in graph.groups:
        members = _members(group)
        if fetch_mode is not None:
            for member in members:
                setattr(member._state, "fetch_mode", fetch_mode)  # noqa: B010  # Django 6.1
        groups.append((group, members))
        instances += members
    for group, members in groups:
        for name, numbers in group.related.items():
            for member, number in zip(members, numbers, strict=True):
                related = None if number is None else instances[number]
                member._state.fields_cache[name] = related
        for name, rows in group.lists.items():
            for member, row in zip(members, rows, strict=True):
                member.__dict__[name] = [instances[number] for number in row]
        for name, rows in group.prefetched.items():
            queryset = querysets.get(step(group.path, name))
            found = [[instances[number] for number in row] for row in rows]
            prefetch(members, name, queryset, found)
    return [instances[number] for number in graph.roots]


def _members(group: Group) -> list[Model]:
    model, database = group.model, group.database
    if version_of(model) != group.version:
        raise Changed(model._meta.label_lower)
    members: list[Model] = []
    if not is_plain_model(model):
        number, names = len(group.fields), group.names
        make = _maker(model, database, group.fields)
        for row in zip(*(column.values() for column in group.columns), strict=True):
            member = make(row[:number] if names else row)
            for name, value in zip(names, row[number:], strict=True):
                setattr(member, name, value)
            members.append(member)
        return members
    new = model.__new__
    for attributes in group.rows:
        state = ModelState()
        state.adding = False
        state.db = database
        member = new(model)
        # A copy of a dict takes a quarter less than filling the one that the instance has.
        own = member.__dict__ = attributes.copy()
        own["_state"] = state
        members.append(member)
    for name, column in group.mutable:
        for member, value in zip(members, column.values(), strict=True):
            member.__dict__[name] = value
    return members


def _maker(
    model: Any, database: str | None, fields: Sequence[str]
) -> Callable[[tuple[Any, ...]], Model]:
    """Return a function that makes an instance of a row, as a queryset does."""
    if not has_own_from_db(model) and len(fields) == len(model._meta.concrete_fields):

        def make(row: tuple[Any, ...]) -> Model:
            member: Model = model(*row)
            member._state.adding = False
            member._state.db = database
            return member

        return make
    return lambda row: model.from_db(database, fields, row)
