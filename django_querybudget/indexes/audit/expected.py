"""Which of a model's indexes a given database can be expected to have, and under which name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from django.db import models

from django_querybudget.indexes.definitions import IndexDefinition, IndexOrigin, declared_indexes
from django_querybudget.indexes.introspection import DatabaseIndex
from django_querybudget.indexes.redundancy import covers_as_prefix, covers_equally

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper


@dataclass(frozen=True, kw_only=True)
class Match:
    """The indexes of one table, told apart by what the model says of them."""

    known: dict[str, IndexDefinition]
    """Declared definitions by the name that the database has them under."""
    missing: list[IndexDefinition]
    renamed: list[tuple[IndexDefinition, DatabaseIndex]]
    extra: list[DatabaseIndex]


def expected_indexes(
    model: type[models.Model], connection: BaseDatabaseWrapper
) -> list[IndexDefinition]:
    """Return the declared indexes that Django creates on a database of this kind.

    The primary key's is left out: where there is one, it cannot be missing.
    """
    return list(_expected(model, connection))


def _expected(
    model: type[models.Model], connection: BaseDatabaseWrapper
) -> Iterator[IndexDefinition]:
    features = connection.features
    limited = {
        field.column
        for field in model._meta.local_fields
        if (field.db_type(connection) or "").lower()
        in getattr(connection, "_limited_data_types", ())
    }
    for index in declared_indexes(model):
        if index.origin is IndexOrigin.PRIMARY_KEY:
            continue
        if index.expressions and not features.supports_expression_indexes:
            continue
        if not features.supports_partial_indexes and index.condition:
            if index.unique:
                continue
            # Django creates the index and leaves the condition out.
            index = replace(index, condition="")  # noqa: PLW2901 - as Django would have it
        if index.include and not features.supports_covering_indexes:
            if index.unique:
                continue
            index = replace(index, include=())  # noqa: PLW2901 - as Django would have it
        if index.origin is IndexOrigin.DB_INDEX and index.columns[0] in limited:
            continue
        yield index


def match_indexes(
    model: type[models.Model], connection: BaseDatabaseWrapper, found: list[DatabaseIndex]
) -> Match:
    """Tell the indexes that ``found`` has for ``model``'s table apart."""
    by_name = {index.definition.name: index for index in found}
    match = Match(known={}, missing=[], renamed=[], extra=[])
    waiting = []
    for declared in expected_indexes(model, connection):
        same_name = by_name.get(declared.name) if declared.name else None
        if same_name is not None and _is_same(declared, same_name):
            match.known[declared.name] = declared
        else:
            waiting.append(declared)
    # Implied ones first: their name is not the model's to say.
    waiting.sort(key=lambda declared: declared.origin is IndexOrigin.INDEX)
    for declared in waiting:
        _match_by_columns(declared, model, connection, found, match)
    pattern = _pattern_columns(model)
    match.extra.extend(
        index
        for index in found
        if index.definition.name not in match.known
        and not index.primary_key
        and not index.internal
        and not _is_pattern_index(index.definition, pattern)
        and not _is_innodbs(index.definition, model, connection)
    )
    return match


def _match_by_columns(
    declared: IndexDefinition,
    model: type[models.Model],
    connection: BaseDatabaseWrapper,
    found: list[DatabaseIndex],
    match: Match,
) -> None:
    equal = [
        index
        for index in found
        if covers_equally(_bare(index.definition), _bare(declared)) and not declared.condition
    ]
    free = [index for index in equal if index.definition.name not in match.known]
    if free:
        best = min(free, key=lambda index: not _is_djangos_name(index, declared, connection))
        match.known[best.definition.name] = declared
        if declared.origin is IndexOrigin.INDEX:
            match.renamed.append((declared, best))
    elif equal and declared.origin is not IndexOrigin.INDEX:
        # SQLite makes one index of two equal constraints.
        return
    elif not _made_by_foreign_key(declared, model, connection, found):
        match.missing.append(declared)


def _bare(definition: IndexDefinition) -> IndexDefinition:
    """Return ``definition`` less what models and databases spell each in their own way."""
    return replace(definition, variant="")


def _is_same(declared: IndexDefinition, index: DatabaseIndex) -> bool:
    """Return whether an index of the declared name is the declared one, as far as can be told."""
    if declared.expressions:
        # A column with a collation is an expression to Django, and a column to databases.
        return True
    return index.definition.columns == declared.columns


def _is_djangos_name(
    index: DatabaseIndex, declared: IndexDefinition, connection: BaseDatabaseWrapper
) -> bool:
    suffix = "_uniq" if declared.unique else ""
    name = connection.schema_editor()._create_index_name(  # type: ignore[attr-defined]
        declared.table, list(declared.columns), suffix=suffix
    )
    return index.definition.name in {name, f"{declared.table}_{declared.columns[0]}_key"}


def _made_by_foreign_key(
    declared: IndexDefinition,
    model: type[models.Model],
    connection: BaseDatabaseWrapper,
    found: list[DatabaseIndex],
) -> bool:
    """Return whether InnoDB serves a foreign key by an index that begins with its column."""
    if connection.vendor != "mysql" or declared.origin is not IndexOrigin.FOREIGN_KEY:
        return False
    del model
    return any(
        index.definition.columns[:1] == declared.columns
        or covers_as_prefix(index.definition, declared)
        for index in found
    )


def _is_innodbs(
    definition: IndexDefinition, model: type[models.Model], connection: BaseDatabaseWrapper
) -> bool:
    """Return whether InnoDB made the index for a foreign key constraint, asked or not."""
    return (
        connection.vendor == "mysql"
        and not definition.unique
        and definition.columns
        in {
            (field.column,)
            for field in model._meta.local_fields
            if isinstance(field, models.ForeignKey) and getattr(field, "db_constraint", True)
        }
    )


def _pattern_columns(model: type[models.Model]) -> set[str]:
    return {
        field.column
        for field in model._meta.local_fields
        if isinstance(field, models.CharField | models.TextField)
        and (getattr(field, "db_index", False) or field.unique)
        and field.column
    }


def _is_pattern_index(definition: IndexDefinition, columns: set[str]) -> bool:
    """Return whether it is the second index that Django makes on PostgreSQL, for LIKE."""
    return (
        len(definition.columns) == 1
        and definition.columns[0] in columns
        and definition.opclasses[:1] in {("varchar_pattern_ops",), ("text_pattern_ops",)}
    )
