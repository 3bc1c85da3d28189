"""The tags of models and of their instances, for who names them instead of writing them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from django.db import connections, models, router

from django_querybudget.cache import tags
from django_querybudget.cache.columns import converted
from django_querybudget.cache.tables import Table, table_tags, tables, whole_table

__all__ = ["row_dependencies", "row_tags", "with_parents"]


def with_parents(model: type[models.Model]) -> list[type[models.Model]]:
    """Return the models in whose tables a row of ``model`` is."""
    concrete = model._meta.concrete_model or model
    return [concrete, *concrete._meta.get_parent_list()]


def row_tags(instance: models.Model, alias: str) -> set[str]:
    """Return the tags of a write to the instance's rows, whatever their scopes were."""
    database = tags.database_name(alias)
    found: set[str] = set()
    for table, key in _rows(instance, alias):
        if table is None or key is None:
            found |= whole_table(database, table)
            continue
        found |= {*table_tags(database, table), tags.row_tag(database, table.name, key)}
        if table.scopes:
            found.add(tags.any_scope_tag(database, table.name))
        if table.pins:
            found.add(tags.any_value_tag(database, table.name))
    return found


def row_dependencies(instance: models.Model) -> set[str]:
    """Return the tags that are renewed whenever the instance's rows change."""
    alias = instance._state.db or router.db_for_read(type(instance))
    database = tags.database_name(alias)
    found: set[str] = set()
    for table, key in _rows(instance, alias):
        if table is None or key is None:
            found |= whole_table(database, table)
        else:
            found |= {tags.bulk_tag(database, table.name), tags.row_tag(database, table.name, key)}
    return found


def _rows(instance: models.Model, alias: str) -> Iterator[tuple[Table | None, str | None]]:
    """Yield the tables that the instance has a row in, each with the row's key as a tag has it."""
    known = tables()
    for model in with_parents(type(instance)):
        table = known.tables.get(model._meta.db_table)
        yield table, _key_text(instance, model, table, alias)


def _key_text(
    instance: models.Model, model: type[models.Model], table: Table | None, alias: str
) -> str | None:
    """Return the primary key as the row's tag has it; None where the row cannot be told."""
    key = model._meta.pk
    if table is None or table.key is None or key is None:
        return None
    # The key of a migration's historical model may be another column; a deferred one would be read.
    if key.column != table.key.name or key.attname not in instance.__dict__:
        return None
    value: Any = instance.__dict__[key.attname]
    try:  # as the database has it: a field may convert
        convert = partial(key.get_db_prep_save, value, connections[alias])
        return table.key.text(converted(key, convert))
    except Exception:  # a field of the host's own may raise anything
        return None
