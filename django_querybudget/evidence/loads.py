"""What was found out of a repeated query: :class:`Load`. Data only, and no instance is kept."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from types import CodeType
from typing import Any, NamedTuple, TypeAlias

from django.db.models import Model

from django_querybudget.stacks import RawHost, RawOrigin, SerializerField, position

__all__ = [
    "BY_INDEX",
    "Aggregate",
    "Filter",
    "Load",
    "LoadKind",
    "LoopKey",
    "PlaceKey",
    "Provenance",
    "Scope",
    "Step",
    "place_key",
]

BY_INDEX = "[i]"
"""The operation of ``queryset[i]``: one row, by its position."""

Around: TypeAlias = tuple[SerializerField | None, RawHost | None]
"""What stands around a place: the serializer's field, and whom the framework worked for."""


class PlaceKey(NamedTuple):
    """SQL text and the place it ran at, by identity: to hash code objects is slow."""

    sql: str
    code: int
    position: int
    """Where in it; -1 where there is no code."""
    node: int
    """The template's node."""
    around: Around


class LoopKey(NamedTuple):
    """A text at its place, and how the project came there."""

    place: PlaceKey
    path: int
    """The call path."""
    inside: int
    """What tells it apart from others of its line."""


class Aggregate(NamedTuple):
    """What a plain ``aggregate()`` computes: ``last=Max("pk")``."""

    alias: str
    function: str
    """The class of the expression, ``"Max"``."""
    column: str
    """The field, or the path to it."""


_new = tuple.__new__  # A NamedTuple's own costs more, and each text that runs has a key.


def place_key(sql: str, origin: RawOrigin) -> PlaceKey:
    """Return the key of ``sql`` at ``origin``."""
    code = origin.code
    where = -1 if code is None else position(code, origin.instruction)
    around = (origin.serializer, origin.host)
    return _new(PlaceKey, (sql, id(code), where, id(origin.node), around))


class LoadKind(Enum):
    """What a repeated query does, seen from the project's line."""

    TO_ONE = "to-one"
    """A foreign key or one-to-one, from either side, was read from an instance without it."""
    TO_MANY = "to-many"
    """A related manager was evaluated."""
    GENERIC = "generic"
    """A generic foreign key was read from an instance without it."""
    DEFERRED = "deferred"
    """A field was read that ``only()`` or ``defer()`` had left out."""
    PREFETCH = "prefetch"
    """``prefetch_related_objects()`` ran for one row after another."""
    LOOKUP = "lookup"
    """A queryset was evaluated that no relation led to."""
    WRITE = "write"
    """``save()``, ``delete()``, ``update()`` and the like."""
    RAW = "raw"
    """A cursor was used."""
    BATCH = "batch"
    """One call that Django splits into batches: no loop of the project's."""


class Step(NamedTuple):
    """One hop from a model to the next."""

    lookup: str
    """The name in lookups: ``select_related()``, ``annotate()``."""
    accessor: str
    """The name of the attribute: ``prefetch_related()``."""
    joins: bool
    """Whether ``select_related()`` can follow it: one row at the other end, in one table."""
    field: str = ""
    """The name of the foreign key at the other end, for a relation of many rows."""
    copies: bool = False
    """Whether it is a child's link to its parent's table: Django makes that of the child's fields,
    anew and without what the child has loaded, and ``select_related()`` leaves it out."""
    generic: bool = False
    """Whether it is a generic foreign key: the rows at the other end are of several models."""
    owner: type[Model] | None = None
    """The model that has it, if that is known."""


class Filter(NamedTuple):
    """One condition of a queryset, as its keyword argument is written."""

    lookup: str
    value: Any


class Scope(NamedTuple):
    """A function of the project that led to a query."""

    code: CodeType
    instruction: int
    """Where in it, in bytes (``f_lasti``)."""
    rows: frozenset[str]
    """Its variables that hold one row: an instance, or what ``values()`` makes of one."""
    loops: bool = False
    """Whether what it calls there is Django's loop over rows: ``list(queryset)``, ``delete()``."""


class Provenance(NamedTuple):
    """The query that an instance came from."""

    sql: str
    origin: RawOrigin
    loop: LoopKey | None
    """Text, place and call path of that query."""
    path: tuple[Step, ...]
    """From the query's own model to the instance's: what it joined or prefetched."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """What one repeated query loads or writes."""

    kind: LoadKind
    model: type[Model] | None = None
    """The model whose rows the query reads or writes."""
    owner: type[Model] | None = None
    """The model that has the relation or the deferred field."""
    step: Step | None = None
    """The relation."""
    name: str = ""
    """The deferred field."""
    operation: str = ""
    """The method that evaluated: ``"count"``, ``"exists"``, ``"get"``, ``"all"``, …"""
    refinements: tuple[str, ...] = ()
    """Methods that make a related queryset other than ``all()``: ``"filter"``, ``"order_by"``."""
    chain: str | None = ""
    """Them as code, to put after ``filter(...)``; None if they are no plain code."""
    filters: tuple[Filter, ...] | None = ()
    """Its conditions beyond the relation; None if they are no plain keyword arguments."""
    values: tuple[Filter, ...] = ()
    """What an ``update()`` sets."""
    last: Filter | None = None
    """The last condition that is a plain keyword argument: what a loop most likely varies."""
    aggregate: Aggregate | None = None
    """What ``aggregate()`` computes, if it is a plain one."""
    prefetched: bool = False
    """Whether the relation was prefetched, thus bypassed."""
    fields: tuple[str, ...] = ()
    """The fields that a writing call names: ``update_fields``, ``defaults``."""
    keys: tuple[str, ...] = ()
    """The fields that a write finds its row by: those of ``get_or_create()``; an instance's key."""
    manager: str | None = None
    """The manager that the source names: that a related one was asked for, or a look-up's."""
    row: str = ""
    """How the line names the instance: ``"book"``, ``"book.author"``; empty if it does not."""
    scopes: tuple[Scope, ...] = ()
    """The functions that led to it, the nearest first."""
    way: tuple[RawOrigin, ...] = ()
    """The project's lines that led to it, the nearest first, through whatever calls them."""
    is_direct: bool = True
    """Whether the project's line asks the ORM itself: what a form or a package asks is not to be
    asked otherwise there."""
    included: bool = False
    """Whether a template was included around it: others may include that, too."""
    peers: int | None = None
    """How many rows were loaded together with the instance, where its fetch mode tracks them."""
    built: RawOrigin | None = None
    """The line that built the root queryset, where its fetch mode is a traced one."""
    provenance: Provenance | None = None
    """Where the instance came from; None if that is not certain."""
    view: RawHost | None = None
    """The class-based view whose method led to it."""
