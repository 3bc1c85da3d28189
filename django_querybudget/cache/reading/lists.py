"""The rows of a list that a foreign key pins: what it depends on besides what its text says.

The tokens of rows cannot be read before the query, which says which rows they are. So they are
read after it, in one step with the table's own token, which every write to the table renews: if
that is the one that was read *before* the query, none was renewed in between, and the tokens of the
rows are as good as if they had been read before. A writer in flight has its mark on the table's
tag, too. If anything is in the way, the list depends on its table, as any other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.db.models.query import ModelIterable

from django_querybudget.cache import tags
from django_querybudget.cache.columns import target_of
from django_querybudget.cache.payload.models import is_plain_model
from django_querybudget.cache.stores.chosen import store_for
from django_querybudget.cache.tokens import readable
from django_querybudget.conf import conf

from .conditions import List, list_of
from .fills import Fill, current_fill

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from .dependencies import ReadTags

__all__ = ["MOST_ROWS", "Listing", "listing_rows"]

MOST_ROWS = 50
"""A list of more rows depends on its table: each row is one more token to read at each hit."""


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
        self._list = None
        if store_for(conf.CACHE.ALIAS).tells_writers_apart:
            self._list = list_of(sql, params, connection)
        if self._list is None:
            return frozenset()
        self._coarse, self._database = found, tags.database_name(connection.alias)
        return found.all | self._list.tags | {self._list.guard}

    def settle(self, fill: Fill, queryset: Any) -> None:
        """The rows are there, or will not come: let ``fill`` depend on them, or on the table."""
        if self._coarse is None or self._list is None:
            return
        fill.asked |= {*self._coarse.all, self._list.guard}
        needed = self._needed(fill, self._list, queryset)
        if needed is None:
            fill.depends_on(self._coarse)
        else:
            fill.needed |= {tags.everything(self._database), *needed}

    def _needed(self, fill: Fill, found: List, queryset: Any) -> Collection[str] | None:
        """Return the tags of the list and its rows; None where they do not do."""
        keys = _keys(queryset, found)
        if keys is None or fill.reason is not None:
            return None
        rows = {tags.row_tag(self._database, found.table.name, key) for key in keys}
        unread = rows - fill.tokens.keys()
        if unread and not _read_after(fill, unread, found.guard):
            return None
        needed = found.tags | rows
        tokens = [fill.tokens.get(tag, "") for tag in needed]
        return needed if all(map(readable, tokens)) and fill.may_store(tokens) else None


def _read_after(fill: Fill, rows: Collection[str], guard: str) -> bool:
    """Read the tokens of rows after the query. Returns whether they were the same before it."""
    store, before = store_for(conf.CACHE.ALIAS), fill.tokens.get(guard, "")
    if not readable(before):
        return False
    is_one_step = store.reads_tokens_at_once
    if not is_one_step and (store.is_shared or not conf.CACHE.IN_FLIGHT_MARKS):
        return False  # the tokens of a write are put one after the other, and no mark covers that
    values = store.tokens([*rows, guard])
    if values is None:
        return False
    if not is_one_step:
        last = store.read(None, (guard,))
        values = {**values, guard: "" if last is None else last[1].get(guard, "")}
    if values.get(guard) != before:
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
    received = None if is_plain_model(queryset.model) else queryset._querybudget_received or {}
    keys = []
    for row in rows:
        if received is None:
            value = row.__dict__.get(key.attname)
        elif (note := received.get(id(row))) is not None and key.attname in note.fields:
            value = note.values[note.fields.index(key.attname)]
        else:
            return None
        if (text := column.text(value)) is None:
            return None
        keys.append(text)
    return keys


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
