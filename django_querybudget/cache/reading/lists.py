"""The rows of a list that a foreign key pins: what it depends on besides what its text says.

The tokens of rows cannot be read before the query, which says which rows they are. So they are
read after it, in one step with the tables' own tokens, which every write to a table renews: if
these are the ones that were read *before* the query, none was renewed in between, and the tokens of
the rows are as good as if they had been read before. A writer in flight has its mark on the table's
tag, too. If anything is in the way, the list depends on its tables, as any other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.db.models.query import ModelIterable

from django_querybudget.cache import tags
from django_querybudget.cache.columns import target_of
from django_querybudget.cache.payload.models import is_plain_model
from django_querybudget.cache.stores.chosen import store_for
from django_querybudget.cache.tokens import readable, same
from django_querybudget.conf import conf

from .conditions import Join, List, list_of
from .fills import Fill, current_fill

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.models import Model

    from django_querybudget.cache.payload.attributes import Received

    from .dependencies import ReadTags

__all__ = ["MOST_ROWS", "MOST_WITH_JOINED", "Listing", "listing_rows", "told_list"]

MOST_ROWS = 50
"""A list of more rows depends on its table: each row is one more token to read at each hit."""

MOST_WITH_JOINED = 100
"""The same, of a list's rows and of those that are joined to them."""


class Listing:
    """A queryset whose rows are about to be fetched by the next statement of a fill."""

    def __init__(self) -> None:
        self._list: List | None = None
        self._coarse: ReadTags | None = None
        self._database = ""

    def takes(
        self, found: ReadTags, sql: str, params: Any, connection: BaseDatabaseWrapper
    ) -> frozenset[str]:
        """Take the statement if a foreign key pins it; return the tags that it is to be under.

        ``found`` are those that it depends on otherwise. Returns none if it is no such list.
        """
        self._list = told_list(sql, params, connection)
        if self._list is None:
            return frozenset()
        self._coarse, self._database = found, tags.database_name(connection.alias)
        return found.all | self._list.tags | self._list.guards

    def settle(self, fill: Fill, queryset: Any) -> None:
        """The rows are there, or will not come: let ``fill`` depend on them, or on the table."""
        if self._coarse is None or self._list is None:
            return
        fill.asked |= self._coarse.all | self._list.guards
        needed = self._needed(fill, self._list, queryset)
        if needed is None:
            fill.depends_on(self._coarse)
        else:
            fill.needed |= {tags.everything(self._database), *needed}

    def _needed(self, fill: Fill, found: List, queryset: Any) -> Collection[str] | None:
        """Return the tags of the list and its rows; None where they do not do."""
        keys = _keys(queryset, found)
        if keys is None or fill.reason is not None or (found.is_of_key and not keys):
            return None
        rows = {tags.row_tag(self._database, found.table.name, key) for key in keys}
        if found.joins:
            joined = _joined_keys(queryset, found.joins)
            if joined is None or len(rows) + len(joined) > MOST_WITH_JOINED:
                return None
            rows |= {tags.row_tag(self._database, *each) for each in joined}
        unread = rows - fill.tokens.keys()
        if unread and not _read_after(fill, unread, found.guards):
            return None
        needed = found.tags | rows
        tokens = [fill.tokens.get(tag, "") for tag in needed]
        return needed if all(map(readable, tokens)) and fill.may_store(tokens) else None


def told_list(sql: str, params: Any, connection: BaseDatabaseWrapper) -> List | None:
    """Return what a list depends on, None where it is not known, or not told by who writes."""
    found = list_of(sql, params, connection)
    if found is None or found.is_of_key or store_for(conf.CACHE.ALIAS).tells_writers_apart:
        return found
    return None


def _read_after(fill: Fill, rows: Collection[str], guards: Collection[str]) -> bool:
    """Read the tokens of rows after the query. Returns whether they were the same before it."""
    store, before = store_for(conf.CACHE.ALIAS), {tag: fill.tokens.get(tag, "") for tag in guards}
    if not all(map(readable, before.values())):
        return False
    is_one_step = store.reads_tokens_at_once
    if not is_one_step and (store.is_shared or not conf.CACHE.IN_FLIGHT_MARKS):
        return False  # the tokens of a write are put one after the other, and no mark covers that
    values = store.tokens([*rows, *guards])
    if values is None:
        return False
    if not is_one_step:
        read = store.read(None, tuple(guards))
        if read is None:
            return False
        last = read.values
    else:
        last = values
    if not same(before, last, guards):
        return False
    fill.tokens |= {tag: values.get(tag, "") for tag in rows}
    return True


def _keys(queryset: Any, found: List) -> list[str] | None:
    """Return the rows' primary keys as tags have them; None where one is not known, or of many."""
    rows, key, column = queryset._result_cache, queryset.model._meta.pk, found.table.key
    if rows is None or len(rows) > MOST_ROWS or column is None:
        return None
    if queryset.model._meta.db_table != found.table.name or key.column != column.name:
        return None
    if not type(target_of(key)).__module__.startswith("django."):
        return None  # a field of the host's own may make another value of the database's
    notes = queryset._querybudget_received or {}
    keys = []
    for row in rows:
        if (text := column.text(_received(notes, row, key.attname))) is None:
            return None
        keys.append(text)
    return keys


def _received(notes: Mapping[int, Received], row: Any, name: str) -> Any:
    """Return what the database sent for an attribute; :data:`_UNKNOWN` where it is not certain."""
    if (note := notes.get(id(row))) is not None:
        return note.values[note.fields.index(name)] if name in note.fields else _UNKNOWN
    return row.__dict__.get(name, _UNKNOWN) if is_plain_model(type(row)) else _UNKNOWN


_UNKNOWN = object()


def _joined_keys(queryset: Any, joins: Collection[Join]) -> set[tuple[str, str]] | None:
    """Return the table of each joined row, and its key as tags have it; None where one is not
    known, or is missing."""
    notes, known = queryset._querybudget_received or {}, queryset._known_related_objects
    fields: dict[tuple[type[Model], str], Any] = {}
    found: set[tuple[str, str]] = set()
    for row in queryset._result_cache:
        rows: list[Any] = [row]
        for join in joins:
            source = rows[join.source]
            if source is None:
                rows.append(None)
                continue
            model = type(source)
            if (model, join.column) not in fields:
                fields[model, join.column] = _foreign_key(model, join.column)
            field = fields[model, join.column]
            if field is None or field in known:
                return None  # what the row is known to have may be another one
            value = _received(notes, source, field.attname)
            rows.append(source._state.fields_cache.get(field.name))
            if value is None and rows[-1] is None:
                continue
            text = join.key.text(value)
            if text is None or text != _key_of_joined(notes, rows[-1], join):
                return None  # without a row there, one may come
            found.add((join.table, text))
    return found


def _key_of_joined(notes: Mapping[int, Received], row: Any, join: Join) -> str | None:
    if row is None:
        return None
    return join.key.text(_received(notes, row, type(row)._meta.pk.attname))


def _foreign_key(model: type[Model], column: str) -> Any:
    """Return the field of a column; None where it may make another value of the database's."""
    for field in (model._meta.concrete_model or model)._meta.local_concrete_fields:
        if field.column == column:
            is_djangos = type(target_of(field)).__module__.startswith("django.")
            return field if is_djangos else None
    return None


@contextmanager
def listing_rows(queryset: Any) -> Iterator[None]:
    """The queryset's rows are fetched in the block: let the fill depend on them, if it can."""
    fill = current_fill()
    if fill is None or fill.reason is not None or queryset._iterable_class is not ModelIterable:
        yield
        return
    listing = fill.listing = Listing()
    try:
        yield
    finally:
        fill.listing = None
        listing.settle(fill, queryset)
