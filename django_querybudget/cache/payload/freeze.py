"""A graph of model instances as columns of plain values; :mod:`.thaw` is the way back.

Instances are grouped by class and by what they carry, so that a group is a table: its columns are
frozen by :mod:`.values`, its relations are numbers of other instances in the graph. An instance
that two others share is shared again.

The values are those that the database sent. Where an instance is nothing but its attributes, they
are its attributes; where the host's own code makes it, they are what :mod:`.received` noted. What
was not noted (rows of a prefetch by name) is stored only if an ``__init__`` makes the same of it
again (see :mod:`.attributes`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.apps import apps
from django.db.models import Model, QuerySet

from django_querybudget.cache.queryset_classes import own_rows_method

from .attributes import Received, attributes, made_of
from .models import attnames, is_plain_model, version_of
from .values import Unfreezable, freeze_column, is_of_plain_values

__all__ = ["freeze_graph", "step"]

KnownRelated = Mapping[Any, Mapping[Any, Model]]


@dataclass
class _GroupBuilder:
    model: type[Model]
    database: str | None
    path: str
    fields: tuple[str, ...]
    names: tuple[str, ...]
    lists: tuple[str, ...]
    related: tuple[str, ...]
    prefetched: tuple[str, ...]
    members: list[Model] = field(default_factory=list)
    rows: list[Sequence[Any]] = field(default_factory=list)
    columns: Sequence[Sequence[Any]] | None = None
    """The rows, where they were taken by columns."""


class _GraphBuilder:
    """Finds the instances and numbers them."""

    def __init__(self, known: KnownRelated, received: Mapping[int, Received]) -> None:
        self._received = received
        self._known = {
            each.name: {id(instance) for instance in instances.values()}
            for each, instances in known.items()
        }
        self._groups: dict[Any, _GroupBuilder] = {}
        self._places: dict[int, tuple[_GroupBuilder, int]] = {}
        self._waiting: list[tuple[Model, str]] = []
        self._related: dict[int, dict[str, Any]] = {}

    def add(self, roots: Sequence[Model]) -> None:
        if roots and self._take_alike(roots):
            return
        for root in roots:
            cache = root._state.fields_cache
            known = {
                name: value
                for name, value in cache.items()
                if name not in self._known or id(value) not in self._known[name]
            }
            self._take(root, "", known)
        while self._waiting:
            instance, path = self._waiting.pop()
            if id(instance) not in self._places:
                self._take(instance, path, instance._state.fields_cache)

    def _take_alike(self, roots: Sequence[Model]) -> bool:
        """Take rows that are nothing but plain values, by columns: the common case, and fast.

        Returns whether they were such rows.
        """
        model: Any = type(roots[0])
        if self._received or not is_plain_model(model) or not _is_registered(model):
            return False
        database, names = roots[0]._state.db, tuple(roots[0].__dict__)
        for root in roots:
            state = root._state
            if (
                type(root) is not model
                or state.db != database
                or state.__dict__.get("fields_cache")
                or tuple(root.__dict__) != names
            ):
                return False
        known = attnames(model)
        fields = tuple(name for name in names if name in known)
        others = tuple(name for name in names if name not in known and name != "_state")
        dicts = [root.__dict__ for root in roots]
        columns = [[values[name] for values in dicts] for name in (*fields, *others)]
        if not all(map(is_of_plain_values, columns)) or len({*map(id, roots)}) < len(roots):
            return False
        group = _GroupBuilder(model, database, "", fields, others, (), (), (), columns=columns)
        group.members += roots
        self._groups[()] = group
        self._places = {id(root): (group, place) for place, root in enumerate(roots)}
        return True

    def _take(self, instance: Model, path: str, related: Mapping[str, Any]) -> None:
        if id(instance) in self._places:
            raise Unfreezable("one instance in two rows")
        values = instance.__dict__
        names, lists = attributes(instance)
        prefetched = values.get("_prefetched_objects_cache", {})
        model = type(instance)
        fields, names, row = self._row(instance, names)
        key = (model, instance._state.db, path, fields, tuple(names), tuple(lists), tuple(related),
               tuple(prefetched))  # fmt: skip
        group = self._groups.get(key)
        if group is None:
            if not _is_registered(model):
                raise Unfreezable(f"model {model.__qualname__}, which no app has")
            if path:
                _check_rows_method(getattr(model._base_manager, "_queryset_class", QuerySet))
            group = self._groups[key] = _GroupBuilder(*key)
        self._places[id(instance)] = (group, len(group.members))
        group.members.append(instance)
        group.rows.append(row)
        self._related[id(instance)] = dict(related)
        for name, value in related.items():
            if value is not None:
                if not isinstance(value, Model):
                    raise Unfreezable(f"{type(value).__qualname__} as relation {name!r}")
                self._waiting.append((value, step(path, name)))
        for name in lists:
            self._waiting += [(each, step(path, name)) for each in values[name]]
        for name, queryset in prefetched.items():
            if not hasattr(getattr(instance, name, None), "get_queryset"):
                raise Unfreezable(f"prefetched {name!r} without a manager")
            _check_rows_method(queryset.__class__)  # what it says: it may be yet to be built
            rows = queryset._result_cache
            if rows is None or not all(isinstance(each, Model) for each in rows):
                raise Unfreezable(f"prefetched {name!r} without instances")
            self._waiting += [(each, step(path, name)) for each in rows]

    def _row(
        self, instance: Model, names: Sequence[str]
    ) -> tuple[tuple[str, ...], Sequence[str], Sequence[Any]]:
        """Return what the database sent: fields, other names, and the values of both."""
        received = self._received.get(id(instance))
        if received is None:
            return made_of(instance, names)
        return received.fields, received.names, received.values

    def frozen(self, roots: Iterable[Model]) -> dict[str, Any]:
        bases: dict[int, int] = {}
        base = 0
        for group in self._groups.values():
            bases[id(group)] = base
            base += len(group.members)

        def number(instance: Model | None) -> int | None:
            if instance is None:
                return None
            group, place = self._places[id(instance)]
            return bases[id(group)] + place

        return {
            "roots": [number(root) for root in roots],
            "groups": [self._frozen_group(group, number) for group in self._groups.values()],
        }

    def _frozen_group(
        self, group: _GroupBuilder, number: Callable[[Model | None], int | None]
    ) -> dict[str, Any]:
        members = group.members
        return {
            "model": group.model._meta.label_lower,
            "version": version_of(group.model),
            "db": group.database,
            "path": group.path,
            "size": len(members),
            "fields": group.fields,
            "names": group.names,
            "columns": list(map(freeze_column, group.columns or zip(*group.rows, strict=True))),
            "lists": {
                name: [[number(one) for one in each.__dict__[name]] for each in members]
                for name in group.lists
            },
            "related": {
                name: [number(self._related[id(each)][name]) for each in members]
                for name in group.related
            },
            "prefetched": {
                name: [
                    [number(one) for one in each.__dict__["_prefetched_objects_cache"][name]]
                    for each in members
                ]
                for name in group.prefetched
            },
        }  # fmt: skip


def step(path: str, name: str) -> str:
    """Return the path to what hangs on an instance at ``path`` by ``name``."""
    return f"{path}__{name}" if path else name


def _is_registered(model: type[Model]) -> bool:
    try:
        return apps.get_model(model._meta.label_lower) is model
    except (LookupError, ValueError):
        return False


def _check_rows_method(queryset: type[QuerySet[Any]]) -> None:
    if method := own_rows_method(queryset, may_run_after=False):
        raise Unfreezable(f"prefetched by own method {method}")


def freeze_graph(
    roots: list[Model], known: KnownRelated, received: Mapping[int, Received]
) -> dict[str, Any]:
    """Return the instances and all that hangs on them, for JSON.

    ``known`` are the instances that the queryset's owner brought along: they are left out, and
    put in again by the queryset that is read. ``received`` is by the ``id()`` of instances.
    Raises :class:`Unfreezable`.
    """
    graph = _GraphBuilder(known, received)
    graph.add(roots)
    return graph.frozen(roots)
