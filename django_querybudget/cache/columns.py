"""Columns by whose values rows can be told apart: keys, and declared scopes."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from django.core.exceptions import FieldDoesNotExist
from django.db import models

__all__ = ["Column", "converted", "scope_column"]

R = TypeVar("R")

_WHOLE = re.compile(r"-?[0-9]{1,40}")


@dataclass(frozen=True, slots=True)
class Column:
    """A column whose values compare in the database exactly as they do here."""

    name: str
    type: type

    @classmethod
    def of(cls, field: models.Field[Any, Any]) -> Column | None:
        """Return the column of an integer or UUID field (a foreign key to one too), else None.

        A text column may compare without regard to case or accents: two spellings, one row.
        """
        target = _target(field)
        if field.column is None:
            return None
        if ":" in field.column:
            return None  # it stands in a tag, between colons
        if isinstance(target, models.AutoField | models.IntegerField):
            return cls(field.column, int)
        if isinstance(target, models.UUIDField):
            return cls(field.column, uuid.UUID)
        return None

    def text(self, value: object) -> str | None:
        """Return one spelling for all spellings of a value, None for what is not one.

        ``value`` is one of the database's, as it stands in a row or in a parameter.
        """
        if isinstance(value, bool):
            return None
        if self.type is int:
            if isinstance(value, str) and not _WHOLE.fullmatch(value):
                return None  # MySQL takes "1_0" for 1, Python for 10
            return str(int(value)) if isinstance(value, int | str) else None
        if isinstance(value, uuid.UUID):
            return value.hex
        try:
            return uuid.UUID(value).hex if isinstance(value, str) else None
        except ValueError:
            return None


def _target(field: models.Field[Any, Any]) -> models.Field[Any, Any]:
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
    if not type(_target(field)).__module__.startswith("django.") and convert() != found:
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
    return column, "" if column else f"which is a {type(_target(field)).__name__}"
