"""What a statement writes, as tags: its form, and what its parameters say of the rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django_querybudget.cache import tags
from django_querybudget.cache.tables import Table, table_tags, whole_table

from .form import Form

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from django_querybudget.cache.columns import Column

__all__ = ["OldScopes", "Write", "effect", "values_tags"]


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
    found |= table_tags(database, table)
    values = params if isinstance(params, tuple | list) and not many else None
    if form.across is not None:
        is_told = values is not None and len(values) == form.parameters
        found |= _written_across(database, table, *form.across, values if is_told else None)
        return None
    if not form.keys:
        if table.scopes or table.pins:
            given = _given(form, values)
            found |= _inserted(
                database, table, table.scopes, given, tags.scope_tag, tags.any_scope_tag
            )
            found |= _inserted(
                database, table, table.pins, given, tags.value_tag, tags.any_value_tag
            )
        return None
    assert table.key is not None  # noqa: S101  # as the form was made
    keys = _at(form.keys, values or ())
    texts = [table.key.text(key) for key in keys]
    if not keys or len(keys) > tags.MANY or None in texts:
        found |= whole_table(database, table)
        return None
    found |= {tags.row_tag(database, table.name, text) for text in texts if text is not None}
    found |= _assigned(database, table, form, values or ())
    return OldScopes(table, tuple(keys)) if table.scopes else None


def _at(places: Sequence[int], values: Sequence[Any]) -> list[Any]:
    """Return the values at places from the end; none where there are too few of them."""
    return [values[place] for place in places] if len(values) >= -min(places) else []


def _written_across(
    database: str,
    table: Table,
    column: Column,
    places: Sequence[int],
    values: Sequence[Any] | None,
) -> set[str]:
    """Return the tags of a write of all rows that have one value, or some, in a foreign key.

    These stand at ``places`` from the end of ``values``, which are None where they are not told.
    Which rows these are is not known: as good as any. But no row comes or goes in lists by another
    value of that column, and none of theirs is written.
    """
    found = whole_table(database, table)
    told = values_tags(database, table, column, _at(places, values or ()), tags.value_tag)
    if not told:
        return found
    found.remove(tags.any_value_tag(database, table.name))
    return (
        found
        | told
        | {
            tags.across_tag(database, table.name, name)
            for name in table.pins
            if name != column.name
        }
    )


def _given(form: Form, values: Sequence[Any] | None) -> Mapping[str, Sequence[Any]]:
    """Return the values that an INSERT gives to each column, as far as they are told."""
    columns = form.columns
    if values is None or not columns or len(values) % len(columns):
        return {}
    if not form.lists:
        return {name: values[place :: len(columns)] for place, name in enumerate(columns)}
    if len(values) != len(columns) or not all(isinstance(each, list) for each in values):
        return {}
    return dict(zip(columns, values, strict=True))


def _inserted(
    database: str,
    table: Table,
    columns: Mapping[str, Column],
    given: Mapping[str, Sequence[Any]],
    one: Callable[[str, str, str, str], str],
    unknown: Callable[[str, str], str],
) -> set[str]:
    """Return the tags of the values that new rows have in ``columns``, or of unknown ones."""
    found: set[str] = set()
    for column in columns.values():
        some = None
        if column.name in given:
            some = values_tags(database, table, column, given[column.name], one)
        if some is None:
            return {unknown(database, table.name)}
        found |= some
    if one is tags.value_tag and len(found) > tags.MANY_VALUES:
        return {unknown(database, table.name)}
    return found


def _assigned(database: str, table: Table, form: Form, values: Sequence[Any]) -> set[str]:
    """Return the tags of the lists that rows may come into by what is set in them.

    A row comes into a list that a foreign key pins by the value that this key is given, which the
    statement tells; or else by another column that the list's condition names, its key being left
    as it was.
    """
    found: set[str] = set()
    is_known = len(values) == form.parameters
    for column, place in form.pins:
        if place is None or not is_known:
            return {tags.any_value_tag(database, table.name)}
        value = values[place]
        if value is None:
            continue
        if (text := column.text(value)) is None:
            return {tags.any_value_tag(database, table.name)}
        found.add(tags.value_tag(database, table.name, column.name, text))
    if not form.sets_all_pins:
        found |= {
            tags.column_tag(database, table.name, name)
            for name in form.columns
            if name in table.columns.plain
        }
    return found


def values_tags(
    database: str,
    table: Table,
    column: Column,
    values: Sequence[Any],
    one: Callable[[str, str, str, str], str] = tags.scope_tag,
) -> set[str] | None:
    """Return the tags of the values in a column; None if one cannot be told, or of many.

    ``one`` makes a value's tag: of a scope, or of a list that a foreign key pins.
    """
    found: set[str] = set()
    for value in values:
        if value is None:
            continue
        if (text := column.text(value)) is None:
            return None
        found.add(one(database, table.name, column.name, text))
    return None if len(found) > tags.MANY else found
