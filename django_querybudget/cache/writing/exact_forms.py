"""The forms in which Django's ORM writes known rows, recognised to the letter."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from django_querybudget.cache import tags
from django_querybudget.cache.where_text import NotPlain, Where, unquoted

from .form import Form
from .set_clause import NAME, PLAIN_SET, TERM, places
from .set_clause import assigned as columns_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django_querybudget.cache.tables import Table, Tables

__all__ = ["UNKNOWN", "assigned_columns", "exact_form", "form_by_condition"]

_INSERT = re.compile(
    rf"INSERT INTO (?P<table>{NAME}) \((?P<columns>(?:{NAME})(?:, (?:{NAME}))*)\) "
    r"(?:VALUES (?P<rows>\(.*\))|SELECT \* FROM UNNEST\((?P<lists>.*)\))"
    rf"(?: RETURNING .*)?",
    re.DOTALL,
)

_CONFLICT = re.compile(r"\bON\s+(?:CONFLICT|DUPLICATE)\b", re.IGNORECASE)

_PLAIN_LISTS = re.compile(r"\(%s\)::[\w ]+\[\](?:, \(%s\)::[\w ]+\[\])*")

_PLAIN_ROWS = re.compile(r"\((?:%s)(?:, %s)*\)(?:, \((?:%s)(?:, %s)*\))*")

_BY_KEY = (
    r" WHERE (?P=table)\.(?P<key>{name})"
    r" (?:= (?P<one>%s)|IN \((?P<many>%s(?:, %s)*)\))"
)

_UPDATE_ROWS = re.compile(
    rf"UPDATE (?P<table>{NAME}) SET (?P<set>.*)" + _BY_KEY.format(name=NAME), re.DOTALL
)

_DELETE_ROWS = re.compile(rf"DELETE FROM (?P<table>{NAME})" + _BY_KEY.format(name=NAME))


def exact_form(sql: str, known: Tables) -> Form | None:  # noqa: PLR0911 - a return for each form, and for what spoils it
    """Return the form of one statement that writes known rows as the ORM does, or None."""
    match: re.Match[str] | None
    if match := _INSERT.fullmatch(sql):
        table = known.tables.get(unquoted(match["table"]))
        if table is None or _CONFLICT.search(sql):
            return None
        if known.ignored(table.name):
            return None
        lists = match["lists"] is not None and _PLAIN_LISTS.fullmatch(match["lists"]) is not None
        plain = lists or (match["rows"] is not None and _PLAIN_ROWS.fullmatch(match["rows"]))
        columns = tuple(map(unquoted, re.findall(NAME, match["columns"]))) if plain else ()
        if len({name.lower() for name in columns}) < len(columns):
            columns = ()  # SQLite takes a column twice
        return Form((), table, columns, lists=lists)
    match = _UPDATE_ROWS.fullmatch(sql)
    deleting = match is None
    if match is None and (match := _DELETE_ROWS.fullmatch(sql)) is None:
        return None
    table = known.tables.get(unquoted(match["table"]))
    if table is None or table.key is None or unquoted(match["key"]) != table.key.name:
        return None
    if known.ignored(table.name):
        return None
    number = 1 if match["one"] else match["many"].count("%s")
    keys = tuple(range(-number, 0))
    if deleting:
        return _deleted(table, known, keys)
    return _updated(sql, table, match["set"], keys)


def _deleted(table: Table, known: Tables, keys: tuple[int, ...]) -> Form:
    return Form(known.of(known.deleted_with(table.name)), table, keys=keys)


def _updated(sql: str, table: Table, text: str, keys: tuple[int, ...]) -> Form | None:
    """Return the form of an UPDATE of rows by their keys; ``text`` is what ``SET`` says."""
    columns = _assigned(text, table)
    if not columns:
        return None
    # MySQL takes a column twice, and the last value counts.
    is_plain = len(set(columns)) == len(columns) and PLAIN_SET.fullmatch(text)
    given = places(text) if is_plain else dict.fromkeys(columns)
    return Form(
        (),
        table,
        columns,
        tuple((table.pins[name], given[name]) for name in table.pins if name in given),
        sets_all_pins=table.pins.keys() <= set(columns),
        keys=keys,
        parameters=sql.count("%s"),
    )


def _assigned(text: str, table: Table) -> tuple[str, ...]:
    """Return the columns that ``SET`` assigns; none where it is not certain, or one is the key."""
    found = columns_of(text)
    if table.key is not None and table.key.name in found:
        return ()
    # Some databases take a name in other letters.
    return found if table.columns.names.issuperset(found) else ()


_CHANGE = re.compile(
    rf"(?:UPDATE (?P<updated>{NAME}) SET (?P<set>.*)|DELETE FROM (?P<emptied>{NAME}))", re.DOTALL
)


def form_by_condition(sql: str, known: Tables) -> Form | None:
    """Return the form of a write of what a condition pins, None for any other.

    That is one row, or some (``filter(pk=k, version=v).update(…)``); or all rows that have one
    value in a foreign key, or some values (``filter(author=b)``); perhaps with more conditions.
    """
    changed, _, condition = sql.partition(" WHERE ")
    match = _CHANGE.fullmatch(changed)
    if match is None:
        return None
    name, text = match["updated"] or match["emptied"], match["set"]
    table = known.tables.get(unquoted(name))
    if table is None or known.ignored(table.name):
        return None
    try:
        where = Where(condition, name)
    except NotPlain:
        return None
    pinned = {
        column: tuple(place - where.number for place in values) for column, values in where.pins()
    }
    # Old scopes are looked at under locks: of rows that the condition may leave out.
    if table.key is not None and table.key.name in pinned and not table.scopes:
        keys = pinned[table.key.name]
        return _deleted(table, known, keys) if text is None else _updated(sql, table, text, keys)
    if text is None:
        return _across(sql, table, pinned, known.of(known.deleted_with(table.name)), ())
    columns = _assigned(text, table)
    return _across(sql, table, pinned, (), columns) if columns else None


def _across(
    sql: str,
    table: Table,
    pinned: Mapping[str, tuple[int, ...]],
    others: tuple[Table, ...],
    columns: tuple[str, ...],
) -> Form | None:
    """Return the form of a write across a foreign key that it leaves alone, of fewest values."""
    found = [
        (table.pins[column], values)
        for column, values in pinned.items()
        if column in table.pins and column not in columns and len(values) <= tags.MANY_VALUES
    ]
    if not found:
        return None
    across = min(found, key=lambda each: len(each[1]))
    return Form(others, table, columns, across=across, parameters=sql.count("%s"))


UNKNOWN = object()
"""A value that the database computes."""


def assigned_columns(sql: str, params: Sequence[Any]) -> dict[str, Any]:
    """Return what an UPDATE by primary key gives to its columns, :data:`UNKNOWN` for expressions.

    A DELETE gives nothing.
    """
    match = _UPDATE_ROWS.fullmatch(sql)
    if match is None:
        return {}
    if not PLAIN_SET.fullmatch(match["set"]):
        names = re.findall(rf"({NAME}) = ", match["set"])
        return dict.fromkeys(map(unquoted, names), UNKNOWN)
    values = iter(params)
    return {
        unquoted(name): None if value == "NULL" else next(values, UNKNOWN)
        for name, value in TERM.findall(match["set"])
    }
