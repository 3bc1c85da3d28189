"""What ``NEVER_STORE`` keeps out of the cache: tables, and columns of tables.

A query is judged by its text: one that names the column of a withheld field beside its table may
have its value in an answer, wherever the name stands. Too many rather than too few.

A name that cannot be resolved withholds everything: a mistake in a setting that keeps secrets must
not store them.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.db.models import Field

from django_querybudget.conf import conf
from django_querybudget.conf.accepted import string_set
from django_querybudget.sql.fingerprints import identifiers

__all__ = ["Withheld", "column_of"]

logger = logging.getLogger("django_querybudget")

# What gives the values of columns that it does not name.
_WHOLE_ROWS = re.compile(
    r"(?:\b(?:SELECT|ALL|DISTINCT)|[,.])\s*\*"
    r"|\b(?:ROW_TO_JSON|TO_JSONB?|JSONB?_AGG|ARRAY_AGG|JSON_ARRAYAGG|HSTORE)\s*\(",
    re.IGNORECASE,
)


def column_of(name: str) -> tuple[str, str | None]:
    """Return the table and the column that ``"app.Model"`` or ``"app.Model.field"`` means.

    Raises :class:`LookupError` and says what is wrong.
    """
    label, field_name = (name.rpartition(".")[::2]) if name.count(".") > 1 else (name, None)
    try:
        model = apps.get_model(label)
    except (LookupError, ValueError) as error:
        raise LookupError(f"{label!r} is no model") from error
    if field_name is None:
        return model._meta.db_table, None
    try:
        field = model._meta.get_field(field_name)
    except FieldDoesNotExist as error:
        raise LookupError(f"{field_name!r} is no field of {label}") from error
    # (Django before 6.1 has a column's name for a many-to-many relation.)
    if not isinstance(field, Field) or field.column is None or field.many_to_many:
        raise LookupError(f"{field_name!r} of {label} is no column")
    return field.model._meta.db_table, field.column


class Withheld:
    """Tables and columns whose values are never stored."""

    def __init__(self, names: object) -> None:
        self._columns: dict[str, dict[str | None, str]] = {}
        self._problem: str | None = None
        try:
            self._add(() if names is None else string_set(names))
        except (LookupError, TypeError, ValueError) as error:
            self._problem = f"{conf.CACHE.path('NEVER_STORE')} is wrong"
            logger.error(
                "%s is %r, which cannot be followed (%s): nothing is cached until it is mended.",
                conf.CACHE.path("NEVER_STORE"), names, error,
            )  # fmt: skip

    def _add(self, names: Iterable[str]) -> None:
        for name in names:
            table, column = column_of(name)
            columns = self._columns.setdefault(table, {})
            columns[column.lower() if column else None] = name

    def in_query(self, sql: str, tables: Iterable[str]) -> str | None:
        """Return why an answer to ``sql``, which names ``tables``, is not stored; or None."""
        if self._problem is not None:
            return self._problem
        if not self._columns:
            return None
        words: set[str] = set()
        for table in tables:
            columns: Mapping[str | None, str] = self._columns.get(table, {})
            if not columns:
                continue
            if None in columns:
                return f"{columns[None]} in NEVER_STORE"
            if _WHOLE_ROWS.search(sql):
                return f"{next(iter(columns.values()))} in NEVER_STORE"
            words = words or {word.lower() for word in identifiers(sql)}
            for column, name in columns.items():
                if column in words:
                    return f"{name} in NEVER_STORE"
        return None
