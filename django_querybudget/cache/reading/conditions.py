"""Lists that a foreign key pins: what their statement's text says they depend on.

Such a list is ``filter(author=b)``, perhaps with more conditions: rows of one table, whole, of
which all have a known value in a foreign key's column. What can change its answer, and which tag of
the list each of them renews:

===============================================  ===============================================
A row that was found changes, or goes            the row's (the rows are known after the query)
A row is inserted, with the list's value         the value's
A row is given the list's value                  the value's
A row that has the value comes to meet another   the column's, of each that the condition names;
condition                                        or the value's, if the statement sets that, too
Rows that have the value are written, whichever  the value's
Rows are written that have one value in another  that of writes across the list's foreign key
foreign key, whichever
The database does not say which value            any value's
A write of unknown extent                        any value's
===============================================  ===============================================

With a ``LIMIT`` the columns that the list is ordered by count as named: a row that was not found
comes in when it is moved up, or when one that was found goes. An ``OFFSET`` and an aggregate stay
on the table's tag.

Only what is known to the letter is taken for such a list. Everything in the condition is either a
column of that one table or a value, so it is decided by a row's own columns. They are columns that
change only where a statement sets them (:class:`~django_querybudget.cache.columns`).

Tables may be joined by foreign keys (``select_related()``) that take no row away: by an outer join,
or where the database sees to it that the key is there. Their rows are known after the query, too:
the list depends on them, and on writes of unknown extent to their tables. One row by its primary
key is read so as well, where tables are joined.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django_querybudget.cache import relations, tags
from django_querybudget.cache.columns import Column
from django_querybudget.cache.tables import Table, Tables, tables
from django_querybudget.cache.where_text import NAME, NotPlain, Where, unquoted
from django_querybudget.sql.memory import Memo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = ["Join", "List", "list_of"]

MOST_VALUES = 20
"""A list of more values of a foreign key (``author__in=…``) is not pinned by it."""


@dataclass(frozen=True, slots=True)
class Join:
    """A table that is joined by its primary key, which stands in a foreign key of another."""

    table: str
    key: Column
    source: int
    """That of the foreign key: 0 is the list's own, 1 the one that was joined first."""

    column: str
    """The foreign key's."""

    is_outer: bool


@dataclass(frozen=True, slots=True)
class List:
    """What a list depends on besides its rows: ``tags``; and the tables' own tags, ``guards``."""

    table: Table
    tags: frozenset[str]
    guards: frozenset[str]
    joins: tuple[Join, ...] = ()
    is_of_key: bool = False
    """Whether it is one row by its primary key: it is not known what it depends on without it."""


@dataclass(frozen=True, slots=True)
class _Form:
    """What the text tells: the column that pins, where its values stand, the other columns."""

    table: Table
    pin: Column
    places: tuple[int, ...]
    others: frozenset[str]
    number: int
    """How many parameters there are."""

    joins: tuple[Join, ...]


def list_of(sql: str, params: Any, connection: BaseDatabaseWrapper) -> List | None:
    """Return what a list depends on, None where no foreign key provably pins it."""
    form = _forms[sql, connection.vendor, tables()] if isinstance(params, tuple | list) else None
    if form is None or len(params) != form.number or not _is_certain(form, sql, connection):
        return None
    database = tags.database_name(connection.alias)
    found = _of_values(form, params, connection.vendor, database)
    if found is None:
        return None
    joined = {each.table for each in form.joins}
    found |= {tags.bulk_tag(database, name) for name in joined}
    guards = frozenset(tags.table_tag(database, name) for name in {form.table.name, *joined})
    return List(form.table, frozenset(found), guards, form.joins, _is_of_key(form))


def _is_certain(form: _Form, sql: str, connection: BaseDatabaseWrapper) -> bool:
    """Whether nothing but what the statement says decides which rows it finds."""
    # Row-level security, and a view's own query, may hide rows by any column.
    if relations.as_known(connection, tags.database_name(connection.alias)) is None:
        return False
    if relations.behind(sql, connection)[0]:
        return False
    # A joined row that is missing takes its row away, until it comes.
    names = [form.table.name, *(each.table for each in form.joins)]
    return all(
        each.is_outer or relations.refers(connection, names[each.source], each.column, each.table)
        for each in form.joins
    )


def _is_of_key(form: _Form) -> bool:
    return form.pin == form.table.key


def _of_values(form: _Form, params: Sequence[Any], vendor: str, database: str) -> set[str] | None:
    """Return the tags of the rows that have the form's values; None where they do not tell them."""
    table, values = form.table, {form.pin.text(params[place]) for place in form.places}
    if None in values:
        return None
    if _is_of_key(form):
        return {tags.bulk_tag(database, table.name)}
    found = {
        tags.any_value_tag(database, table.name),
        tags.across_tag(database, table.name, form.pin.name),
        tags.twin_tag(database, table.name, table.known),
        *(tags.column_tag(database, table.name, column) for column in form.others),
    }
    for value in values:
        # Not strict, MySQL makes the zero of a NULL that its column does not take.
        if value is None or (vendor == "mysql" and not value.strip("0")):
            return None
        found.add(tags.value_tag(database, table.name, form.pin.name, value))
    return found


_LONGEST = 8000
_ALIAS = rf"(?:{NAME}|T[0-9]+)"
_COLUMN = rf"{_ALIAS}\.{NAME}"
_JOIN = re.compile(
    rf" (INNER|LEFT OUTER) JOIN ({NAME})(?: ({_ALIAS}))?"
    rf" ON \(({_ALIAS})\.({NAME}) = ({_ALIAS})\.({NAME})\)"
)
_JOINS = rf"(?: (?:INNER|LEFT OUTER) JOIN {NAME}(?: {_ALIAS})? ON \({_COLUMN} = {_COLUMN}\))*"
_HEAD = re.compile(
    rf"SELECT {_COLUMN}(?:, {_COLUMN})* FROM (?P<table>{NAME})(?P<joins>{_JOINS}) WHERE "
)
_ORDER = rf"{_COLUMN} (?:ASC|DESC)(?: NULLS (?:FIRST|LAST))?"
_REST = re.compile(
    rf"(?P<where>.+?)(?: ORDER BY (?P<order>{_ORDER}(?:, {_ORDER})*))?(?P<limit> LIMIT [0-9]+)?"
)


def _form(key: tuple[str, str, Tables]) -> _Form | None:
    sql, vendor, known = key
    head = _HEAD.match(sql) if len(sql) <= _LONGEST else None
    rest = _REST.fullmatch(sql, head.end()) if head else None
    if head is None or rest is None:
        return None
    name = head["table"]
    table = known.tables.get(unquoted(name))
    joins = _joins(head["joins"], name, table, known) if table is not None else None
    if table is None or joins is None:
        return None
    try:
        where = Where(rest["where"], name)
    except NotPlain:
        return None
    pin, places = _pin(table, where, bool(joins))
    if pin is None:
        return None
    others = where.columns - {pin.name}
    if rest["limit"]:
        ordered = re.findall(rf"({_ALIAS})\.({NAME}) (?:ASC|DESC)", rest["order"] or "")
        if any(alias != name for alias, _ in ordered):
            return None  # a row that was not found may be moved up by another table's
        others |= {unquoted(column) for _, column in ordered}
    plain = table.columns.plain
    if vendor == "mysql":
        plain -= table.columns.moments
    # A row that its key tells is found before any condition is looked at.
    is_told = pin == table.key or others <= plain
    return _Form(table, pin, places, others, where.number, joins) if is_told else None


def _pin(table: Table, where: Where, is_joined: bool) -> tuple[Column | None, tuple[int, ...]]:
    """Return the column that pins, and where its values stand."""
    pinned: list[tuple[Column, tuple[int, ...]]] = []
    for name, places in where.pins():
        if table.key is not None and name == table.key.name and len(places) == 1:
            # By itself, a row's own tag does.
            return (table.key, places) if is_joined else (None, ())
        if name in table.pins and len(places) <= MOST_VALUES:
            pinned.append((table.pins[name], places))
    return min(pinned, key=lambda each: len(each[1]), default=(None, ()))


def _joins(text: str, base: str, table: Table, known: Tables) -> tuple[Join, ...] | None:
    """Return the tables that are joined; None where one may take rows away, or is not known."""
    found: list[Join] = []
    places = {base: 0}
    sources = [(table, False)]
    for kind, name, alias, source, column, target, key in _JOIN.findall(text):
        joined, place = known.tables.get(unquoted(name)), places.get(source)
        if joined is None or joined.key is None or place is None or known.ignored(joined.name):
            return None
        if target != (alias or name) or unquoted(key) != joined.key.name:
            return None
        (own, is_outer), is_inner = sources[place], kind == "INNER"
        if own.columns.references.get(unquoted(column)) != joined.name or (is_inner and is_outer):
            return None
        places[target] = len(sources)
        sources.append((joined, not is_inner))
        found.append(Join(joined.name, joined.key, place, unquoted(column), not is_inner))
    return tuple(found)


_forms = Memo(_form)
