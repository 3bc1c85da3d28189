"""What an index is, whether a model declares it or a database has it.

:class:`IndexDefinition` is the common form; :func:`declared_indexes` reads a model's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any

from django.db import models


class IndexOrigin(Enum):
    """Where an index comes from, in the order in which one of two equal ones is kept."""

    PRIMARY_KEY = "the primary key"
    UNIQUE = "unique=True"
    CONSTRAINT = "a unique constraint"
    FOREIGN_KEY = "the foreign key"
    DB_INDEX = "db_index=True"
    INDEX = "Meta.indexes"
    DATABASE = "the database"


_RANK = {origin: rank for rank, origin in enumerate(IndexOrigin)}


@dataclass(frozen=True, kw_only=True)
class IndexDefinition:
    """One index, by its columns."""

    table: str
    name: str = ""
    """Empty where the database's name of an implicit index is not known."""
    columns: tuple[str, ...]
    """The key columns in order; an expression stands here as its text."""
    descending: tuple[bool, ...] = ()
    """One for each column; empty means that all ascend."""
    origin: IndexOrigin = IndexOrigin.INDEX
    unique: bool = False
    method: str = "btree"
    condition: str = ""
    opclasses: tuple[str, ...] = ()
    """One for each column, "" for the default; empty means that all are default."""
    include: tuple[str, ...] = ()
    expressions: bool = False
    """Whether a key column is an expression: then only equal text is equal."""
    variant: str = ""
    """What else two unique indexes may differ in: deferrable, nulls not distinct."""

    @property
    def rank(self) -> int:
        """Smaller is kept first."""
        return _RANK[self.origin]

    @cached_property
    def keys(self) -> tuple[tuple[str, str, bool], ...]:
        """The key columns, each with its operator class and whether it descends."""
        count = len(self.columns)
        return tuple(
            zip(
                self.columns,
                self.opclasses or ("",) * count,
                self.descending or (False,) * count,
                strict=True,
            )
        )

    def __str__(self) -> str:
        columns = ", ".join(
            f"{column} DESC" if descending else column for column, _, descending in self.keys
        )
        name = f"{self.name} " if self.name else ""
        return f"{name}({columns})"


def declared_indexes(model: type[models.Model]) -> list[IndexDefinition]:
    """Return every index that ``model`` declares on its own table, explicit or implied.

    Works while models are still being imported. Names that are no fields of the model are left
    out: Django's own checks report them.
    """
    return list(_declared(model))


def _declared(model: type[models.Model]) -> Iterator[IndexDefinition]:
    opts = model._meta
    table = opts.db_table
    columns = local_columns(model)
    for field in opts.local_fields:
        origin = _field_origin(field)
        if origin is not None and field.column:
            yield IndexDefinition(
                table=table,
                columns=(field.column,),
                origin=origin,
                unique=field.unique,
            )
    for pk in composite_primary_key(model):
        yield IndexDefinition(table=table, columns=pk, origin=IndexOrigin.PRIMARY_KEY, unique=True)
    for together in opts.unique_together:
        if all(name in columns for name in together):
            yield IndexDefinition(
                table=table,
                columns=tuple(columns[name] for name in together),
                origin=IndexOrigin.CONSTRAINT,
                unique=True,
            )
    for constraint in opts.constraints:
        if isinstance(constraint, models.UniqueConstraint):
            definition = _defined(model, constraint, columns)
            if definition is not None:
                yield definition
    for index in opts.indexes:
        definition = index_definition(model, index)
        if definition is not None:
            yield definition


def index_definition(model: type[models.Model], index: models.Index) -> IndexDefinition | None:
    """Return the definition of ``index`` on ``model``; None where it names no field of it."""
    return _defined(model, index, local_columns(model))


def local_columns(model: type[models.Model]) -> dict[str, str]:
    """Return the column of each field of the model's own table, by name and by attname."""
    return {
        name: field.column
        for field in model._meta.local_fields
        for name in (field.name, field.attname)
        if field.column
    }


def composite_primary_key(model: type[models.Model]) -> list[tuple[str, ...]]:
    """Return the columns of a ``CompositePrimaryKey``, in a list that is empty without one."""
    names = getattr(model._meta.pk, "field_names", None)
    columns = local_columns(model)
    if not names or not all(name in columns for name in names):
        return []
    return [tuple(columns[name] for name in names)]


def method_of(index: models.Index) -> str:
    """Return the access method; a class that this library does not know is its own method."""
    path = f"{type(index).__module__}.{type(index).__qualname__}"
    if path in {"django.db.models.indexes.Index", "django.contrib.postgres.indexes.BTreeIndex"}:
        return "btree"
    if path.startswith("django.contrib.postgres.indexes."):
        return index.suffix
    return path


def _field_origin(field: models.Field[Any, Any]) -> IndexOrigin | None:
    if field.primary_key:
        return IndexOrigin.PRIMARY_KEY
    if field.unique:
        return IndexOrigin.UNIQUE
    if not getattr(field, "db_index", False):
        return None
    return IndexOrigin.FOREIGN_KEY if field.is_relation else IndexOrigin.DB_INDEX


def _defined(
    model: type[models.Model],
    source: models.Index | models.UniqueConstraint,
    columns: dict[str, str],
) -> IndexDefinition | None:
    unique = isinstance(source, models.UniqueConstraint)
    # Both have them; the type stubs know of the index's only.
    include: tuple[str, ...] = tuple(getattr(source, "include", ()))
    opclasses: tuple[str, ...] = tuple(getattr(source, "opclasses", ()))
    names = [name.removeprefix("-") for name in source.fields]
    if not all(name in columns for name in [*names, *include]):
        return None
    variant = ""
    if isinstance(source, models.UniqueConstraint):
        variant = f"{source.deferrable}/{source.nulls_distinct}".replace("None/None", "")
    return IndexDefinition(
        table=model._meta.db_table,
        name=source.name,
        columns=tuple(columns[name] for name in names)
        or tuple(repr(expression) for expression in source.expressions),
        descending=tuple(name.startswith("-") for name in source.fields),
        origin=IndexOrigin.CONSTRAINT if unique else IndexOrigin.INDEX,
        unique=unique,
        method="btree" if isinstance(source, models.UniqueConstraint) else method_of(source),
        condition=repr(source.condition) if source.condition is not None else "",
        opclasses=opclasses,
        include=tuple(columns[name] for name in include),
        expressions=bool(source.expressions),
        variant=variant,
    )
