"""What a statement writes, as tags: its form, and what its parameters say of the rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django_querybudget.cache import tags
from django_querybudget.cache.tables import Column, Table, whole_table

from .forms import Form

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["OldScopes", "Write", "effect", "scope_tags"]


@dataclass(frozen=True, slots=True)
class OldScopes:
    """Rows whose scope values before the write are not in the statement."""

    table: Table
    keys: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Write:
    """What a statement writes: its tags, and rows whose old scope values are to be found out."""

    tags: frozenset[str]
    old_scopes: OldScopes | None = None


def effect(form: Form, params: object, many: bool, database: str) -> Write:
    """Return what a statement of that form writes in ``database``."""
    if form.everything:
        return Write(frozenset({tags.everything(database)}))
    found: set[str] = set()
    for table in form.tables:
        found |= whole_table(database, table)
    old = None
    if form.target is not None:
        old = _add_rows(found, database, form, params, many)
    if form.unmodelled:
        found.add(tags.unmodelled(database))
    return Write(frozenset(found), old)


def _add_rows(
    found: set[str], database: str, form: Form, params: object, many: bool
) -> OldScopes | None:
    """Add the tags of a write of known rows; return the rows whose old scopes are not known."""
    table = form.target
    assert table is not None  # noqa: S101  # the caller's own condition
    found.add(tags.table_tag(database, table.name))
    values = params if isinstance(params, tuple | list) and not many else None
    if not form.keys:
        if table.scopes:
            found |= _inserted_scopes(database, table, form, values)
        return None
    assert table.key is not None  # noqa: S101  # as the form was made
    keys = values[-form.keys :] if values is not None else ()
    texts = [table.key.text(key) for key in keys]
    if not keys or len(keys) > tags.MANY or None in texts:
        found |= whole_table(database, table)
        return None
    found |= {tags.row_tag(database, table.name, text) for text in texts if text is not None}
    return OldScopes(table, tuple(keys)) if table.scopes else None


def _inserted_scopes(
    database: str, table: Table, form: Form, values: Sequence[Any] | None
) -> set[str]:
    unknown = {tags.any_scope_tag(database, table.name)}
    columns = form.columns
    if values is None or not columns or len(values) % len(columns):
        return unknown
    if form.lists and not all(isinstance(each, list) for each in values):
        return unknown
    found: set[str] = set()
    for column in table.scopes.values():
        if column.name not in columns:
            return unknown
        place = columns.index(column.name)
        given = values[place] if form.lists else values[place :: len(columns)]
        some = scope_tags(database, table, column, given)
        if some is None:
            return unknown
        found |= some
    return found


def scope_tags(
    database: str, table: Table, column: Column, values: Sequence[Any]
) -> set[str] | None:
    """Return the tags of the scopes that ``values`` name; None if one cannot be told, or many."""
    found: set[str] = set()
    for value in values:
        if value is None:
            continue
        if (text := column.text(value)) is None:
            return None
        found.add(tags.scope_tag(database, table.name, column.name, text))
    return None if len(found) > tags.MANY else found
