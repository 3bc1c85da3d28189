"""Columns of models: whose values compare in the database as they do here, and who changes them."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from django.core.exceptions import FieldDoesNotExist
from django.db import models
from django.db.backends.base.operations import BaseDatabaseOperations

__all__ = ["Column", "Columns", "converted", "scope_column", "target_of"]

R = TypeVar("R")

_WHOLE = re.compile(r"-?[0-9]{1,40}")


@dataclass(frozen=True, slots=True)
class Column:
    """A column whose values compare in the database exactly as they do here."""

    name: str
    type: type
    limits: tuple[int, int] | None = None
    """Of a number, what the column takes at least and at most, where that is asked for."""

    @classmethod
    def of(cls, field: models.Field[Any, Any]) -> Column | None:
        """Return the column of an integer or UUID field (a foreign key to one too), else None.

        A text column may compare without regard to case or accents: two spellings, one row.
        """
        target = target_of(field)
        if field.column is None:
            return None
        if ":" in field.column:
            return None  # it stands in a tag, between colons
        if isinstance(target, models.AutoField | models.IntegerField):
            return cls(field.column, int)
        if isinstance(target, models.UUIDField):
            return cls(field.column, uuid.UUID)
        return None

    def spelled(self) -> str:
        """Return what says all of it, the same in every process."""
        return f"{self.name} {self.type.__name__} {self.limits}"

    def text(self, value: object) -> str | None:
        """Return one spelling for all spellings of a value, None for what is not one.

        ``value`` is one of the database's, as it stands in a row or in a parameter.
        """
        if isinstance(value, bool):
            return None
        if self.type is int:
            if isinstance(value, str) and not _WHOLE.fullmatch(value):
                return None  # MySQL takes "1_0" for 1, Python for 10
            return self._number(int(value)) if isinstance(value, int | str) else None
        if isinstance(value, uuid.UUID):
            return value.hex
        try:
            return uuid.UUID(value).hex if isinstance(value, str) else None
        except ValueError:
            return None

    def _number(self, value: int) -> str | None:
        if self.limits is not None and not self.limits[0] <= value <= self.limits[1]:
            return None  # MySQL may store the nearest that it takes
        return str(value)


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a model's own table, by what is known of who changes them."""

    pins: dict[str, Column]
    """Those of foreign keys, by which lists are pinned; not the primary key."""

    plain: frozenset[str]
    """Those that change only where a statement sets them: no field of the host's own makes their
    type, which may say anything, and the database does not generate them."""

    moments: frozenset[str]
    """Plain ones of a date and time: MySQL can be told to change them by itself (``ON UPDATE``)."""

    others: frozenset[str]

    references: dict[str, str]
    """By the column of a foreign key that is not the primary key: the table whose key it holds."""

    @property
    def names(self) -> frozenset[str]:
        """All that the models have."""
        return self.plain | self.others

    @classmethod
    def of(cls, model: type[models.Model]) -> Columns:
        pins: dict[str, Column] = {}
        references: dict[str, str] = {}
        plain, moments, others = set(), set(), set()
        for field in model._meta.local_concrete_fields:
            name = field.column
            if name is None:
                continue
            # A table that Django does not make may be defined in any way.
            if not (model._meta.managed and _is_plain(field)):
                others.add(name)
                continue
            plain.add(name)
            if isinstance(field, models.DateTimeField):
                moments.add(name)
            if isinstance(field, models.ForeignKey) and not field.primary_key:
                column = Column.of(field)
                if column is not None:
                    pins[name] = Column(name, column.type, _limits(field))
                if isinstance(field.related_model, type) and field.target_field.primary_key:
                    references[name] = field.related_model._meta.db_table
        return cls(pins, frozenset(plain), frozenset(moments), frozenset(others), references)

    def __or__(self, other: Columns) -> Columns:
        """Return those of a table that two models share."""
        others = self.others | other.others
        plain = (self.plain | other.plain) - others
        pins = {**self.pins, **other.pins}
        return Columns(
            {name: column for name, column in pins.items() if name in plain},
            plain,
            self.moments | other.moments,
            others,
            {
                name: target
                for name, target in {**self.references, **other.references}.items()
                if self.references.get(name, target) == target
            },
        )


def _is_plain(field: Any) -> bool:
    return (
        type(field).__module__.startswith("django.")
        and type(target_of(field)).__module__.startswith("django.")
        and not getattr(field, "generated", False)
        and ":" not in field.column
    )


def _limits(field: models.Field[Any, Any]) -> tuple[int, int] | None:
    return BaseDatabaseOperations.integer_field_ranges.get(target_of(field).get_internal_type())


def target_of(field: models.Field[Any, Any]) -> models.Field[Any, Any]:
    """Return the field whose values stand in the column: of a foreign key, what it refers to."""
    while field.remote_field is not None and hasattr(field, "target_field"):
        field = field.target_field
    return field


def converted(field: models.Field[Any, Any], convert: Callable[[], R]) -> R:
    """Return what ``field`` makes of a value for the database: ``convert()``.

    Raises :class:`ValueError` where a field of the host's own makes another thing of it each time,
    as one that encrypts with a nonce: what one statement is sent says nothing of the next.
    """
    found = convert()
    if not type(target_of(field)).__module__.startswith("django.") and convert() != found:
        raise ValueError(f"{field} is converted in another way each time")
    return found


def scope_column(model: type[models.Model], name: str) -> tuple[Column | None, str]:
    """Return the column of a declared scope, or None and why the field cannot be one."""
    try:
        field = model._meta.get_field(name)
    except FieldDoesNotExist:
        return None, "which is no field of it"
    if (
        not isinstance(field, models.Field)
        or field.column is None
        or field.many_to_many  # Django before 6.1 has a column's name for it
        or field.model._meta.db_table != model._meta.db_table  # a multi-table parent's
    ):
        return None, "which is no column of its table"
    column = Column.of(field)
    return column, "" if column else f"which is a {type(target_of(field)).__name__}"
