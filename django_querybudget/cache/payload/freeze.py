"""A graph of model instances as columns of plain values; :mod:`.thaw` is the way back.

Instances are grouped by class and by what they carry, so that a group is a table: its columns are
frozen by :mod:`.values`, its relations are numbers of other instances in the graph. An instance
that two others share is shared again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from django.apps import apps
from django.db.models import Model
from django.db.models.signals import post_init, pre_init

from django_querybudget.cache import tags

from .values import Unfreezable, freeze_column

__all__ = ["Changed", "freeze_graph", "has_own_from_db", "is_plain", "step", "version_of"]

_OWN = frozenset({"_state", "_prefetched_objects_cache"})

KnownRelated = Mapping[Any, Mapping[Any, Model]]


class Changed(Exception):
    """The models are not those that the payload was made of: a miss."""


@lru_cache(maxsize=1024)
def version_of(model: type[Model]) -> str:
    """Return what stands for the model's fields as they are now."""
    fields = [
        f"{each.attname} {each.column} {type(each).__module__}.{type(each).__qualname__}"
        for each in model._meta.concrete_fields
    ]
    return tags.digest("\n".join(fields))[:12]


def has_own_from_db(model: type[Model]) -> bool:
    """Whether the host's code makes the instance of a row."""
    return model.from_db.__func__ is not Model.from_db.__func__  # type: ignore[attr-defined]


def is_plain(model: type[Model]) -> bool:
    """Whether an instance is nothing but its attributes: no code of the host's makes it."""
    return (
        model.__init__ is Model.__init__
        and not has_own_from_db(model)
        and model.__new__ is object.__new__
        and not pre_init.has_listeners(model)
        and not post_init.has_listeners(model)
    )


@dataclass
class _Group:
    model: type[Model]
    database: str | None
    path: str
    names: tuple[str, ...]
    lists: tuple[str, ...]
    related: tuple[str, ...]
    prefetched: tuple[str, ...]
    members: list[Model] = field(default_factory=list)


class _Graph:
    """Finds the instances and numbers them."""

    def __init__(self, known: KnownRelated) -> None:
        self._known = {
            each.name: {id(instance) for instance in instances.values()}
            for each, instances in known.items()
        }
        self._groups: dict[Any, _Group] = {}
        self._places: dict[int, tuple[_Group, int]] = {}
        self._kept: list[Any] = []
        self._waiting: list[tuple[Model, str]] = []
        self._related: dict[int, dict[str, Any]] = {}

    def add(self, roots: Iterable[Model]) -> None:
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

    def _take(  # noqa: PLR0912  # one kind of attribute after another
        self, instance: Model, path: str, related: Mapping[str, Any]
    ) -> None:
        if id(instance) in self._places:
            raise Unfreezable("one instance in two rows")
        values = instance.__dict__
        names: list[str] = []
        lists: list[str] = []
        for name, value in values.items():
            if name in _OWN:
                continue
            if isinstance(value, Model):
                raise Unfreezable(f"an instance as attribute {name!r}")
            is_list = type(value) is list and bool(value) and isinstance(value[0], Model)
            (lists if is_list else names).append(name)
        prefetched = values.get("_prefetched_objects_cache", {})
        model = type(instance)
        key = (model, instance._state.db, path, tuple(names), tuple(lists), tuple(related),
               tuple(prefetched))  # fmt: skip
        group = self._groups.get(key)
        if group is None:
            if not _is_registered(model):
                raise Unfreezable(f"model {model.__qualname__}, which no app has")
            group = self._groups[key] = _Group(
                model, instance._state.db, *key[2:6], tuple(prefetched)
            )
        self._places[id(instance)] = (group, len(group.members))
        group.members.append(instance)
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
            rows = queryset._result_cache
            if rows is None or not all(isinstance(each, Model) for each in rows):
                raise Unfreezable(f"prefetched {name!r} without instances")
            self._waiting += [(each, step(path, name)) for each in rows]

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
        self, group: _Group, number: Callable[[Model | None], int | None]
    ) -> dict[str, Any]:
        members = group.members
        names = group.names
        fields: tuple[str, ...] = ()
        if not is_plain(group.model):
            fields, names = _split(group)
        return {
            "model": group.model._meta.label_lower,
            "version": version_of(group.model),
            "db": group.database,
            "path": group.path,
            "size": len(members),
            "fields": fields,
            "names": names,
            "columns": [
                freeze_column([_stored(each.__dict__[name]) for each in members])
                for name in (*fields, *names)
            ],
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


def _stored(value: Any) -> Any:
    """Return what the database gave for a file field, whose attribute wraps it when it is read."""
    if hasattr(value, "field") and hasattr(value, "instance") and hasattr(value, "name"):
        return value.name
    return value


def _is_registered(model: type[Model]) -> bool:
    try:
        return apps.get_model(model._meta.label_lower) is model
    except (LookupError, ValueError):
        return False


def _split(group: _Group) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the fields to make an instance with, and the attributes it does not have by then."""
    loaded = {each.attname for each in group.model._meta.concrete_fields} & set(group.names)
    fields = tuple(
        each.attname for each in group.model._meta.concrete_fields if each.attname in loaded
    )
    first = group.members[0]
    made = group.model.from_db(
        group.database, fields, [_stored(first.__dict__[name]) for name in fields]
    )
    extra = [name for name in group.names if name not in loaded and name not in made.__dict__]
    return fields, tuple(extra)


def freeze_graph(roots: list[Model], known: KnownRelated) -> dict[str, Any]:
    """Return the instances and all that hangs on them, for JSON.

    ``known`` are the instances that the queryset's owner brought along: they are left out, and
    put in again by the queryset that is read. Raises :class:`Unfreezable`.
    """
    graph = _Graph(known)
    graph.add(roots)
    return graph.frozen(roots)
