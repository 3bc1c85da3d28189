"""Lists that a foreign key pins: what their statement's text says they depend on.

Such a list is ``filter(author=b)``, perhaps with more conditions: rows of one table, whole, of
which all have a known value in a foreign key's column. What can change its answer, besides writes
of unknown extent, and which tag of the list each of them renews:

===============================================  ===============================================
A row that was found changes, or goes            the row's (the rows are known after the query)
A row is inserted, with the list's value         the value's
A row is given the list's value                  the value's
A row that has the value comes to meet another   the column's, of each that the condition names;
condition                                        or the value's, if the statement sets that, too
The database does not say which value            any value's
===============================================  ===============================================

With a ``LIMIT`` the columns that the list is ordered by count as named: a row that was not found
comes in when it is moved up, or when one that was found goes. An ``OFFSET``, an aggregate and a
join stay on the table's tag.

Only what is known to the letter is taken for such a list. Everything in the statement is either a
column of that one table or a value, so the condition is decided by a row's own columns. They are
columns that change only where a statement sets them (:class:`~django_querybudget.cache.columns`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django_querybudget.cache import relations, tags
from django_querybudget.cache.columns import Column
from django_querybudget.cache.tables import Table, Tables, tables
from django_querybudget.sql.memory import Memo

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = ["List", "list_of"]

MOST_VALUES = 20
"""A list of more values of a foreign key (``author__in=…``) is not pinned by it."""


@dataclass(frozen=True, slots=True)
class List:
    """What a list depends on besides its rows: ``tags``; and the table's own tag, ``guard``."""

    table: Table
    tags: frozenset[str]
    guard: str


@dataclass(frozen=True, slots=True)
class _Form:
    """What the text tells: the column that pins, where its values stand, the other columns."""

    table: Table
    pin: Column
    places: tuple[int, ...]
    others: frozenset[str]
    number: int
    """How many parameters there are."""


def list_of(sql: str, params: Any, connection: BaseDatabaseWrapper) -> List | None:
    """Return what a list depends on, None where no foreign key provably pins it."""
    if not isinstance(params, tuple | list):
        return None
    form = _forms[sql, connection.vendor, tables()]
    if form is None or len(params) != form.number:
        return None
    database = tags.database_name(connection.alias)
    # Row-level security, and a view's own query, may hide rows by any column.
    if relations.as_known(connection, database) is None or relations.behind(sql, connection)[0]:
        return None
    name = form.table.name
    values = {form.pin.text(params[place]) for place in form.places}
    found = {
        tags.bulk_tag(database, name),
        tags.any_value_tag(database, name),
        tags.twin_tag(database, name, form.table.known),
    }
    for value in values:
        # Not strict, MySQL makes the zero of a NULL that its column does not take.
        if value is None or (connection.vendor == "mysql" and not value.strip("0")):
            return None
        found.add(tags.value_tag(database, name, form.pin.name, value))
    found |= {tags.column_tag(database, name, column) for column in form.others}
    return List(form.table, frozenset(found), tags.table_tag(database, name))


_LONGEST = 4000
_MOST_TERMS = 50
_DEEPEST = 10
_NAME = r'(?:"[^"%]+"|`[^`%]+`)'
_TABLE = re.compile(rf" FROM ({_NAME}) WHERE ")


def _form(key: tuple[str, str, Tables]) -> _Form | None:
    sql, vendor, known = key
    if len(sql) > _LONGEST or (found := _TABLE.search(sql)) is None:
        return None
    table = known.tables.get(found[1][1:-1])
    if table is None or not table.pins:
        return None
    column = rf"{re.escape(found[1])}\.({_NAME})"
    order = rf"{column} (?:ASC|DESC)(?: NULLS (?:FIRST|LAST))?"
    head = rf"SELECT {column}(?:, {column})*" + re.escape(found[0])
    rest = rf"(?: ORDER BY (?P<order>{order}(?:, {order})*))?(?P<limit> LIMIT [0-9]+)?"
    whole = re.fullmatch(rf"{head}(?P<where>.+?){rest}", sql)
    if whole is None:
        return None
    try:
        where = _Where(whole["where"], column)
    except _Other:
        return None
    pinned = [
        (table.pins[name], places)
        for name, places in where.pins()
        if name in table.pins and len(places) <= MOST_VALUES
    ]
    if not pinned:
        return None
    pin, places = min(pinned, key=lambda each: len(each[1]))
    others = where.columns - {pin.name}
    if whole["limit"]:
        others |= {_unquoted(each) for each in re.findall(column, whole["order"] or "")}
    plain = table.columns.plain
    if vendor == "mysql":
        plain -= table.columns.moments
    return _Form(table, pin, places, others, where.number) if others <= plain else None


_forms = Memo(_form)


class _Other(Exception):
    """The condition holds something that is not known here."""


@dataclass(frozen=True, slots=True)
class _Node:
    """A part of a condition: ``kind`` is AND, OR, NOT, EQUAL (to one of some values) or another."""

    kind: str
    parts: tuple[_Node, ...] = ()
    column: str = ""
    places: tuple[int, ...] = ()


class _Where:
    """A condition, read: ``expression := unit (AND unit)* | unit (OR unit)*``."""

    def __init__(self, text: str, column: str) -> None:
        token = re.compile(rf"\s*(?:{column}|(%s)|([A-Z]+)\b|(<>|<=|>=|[=<>(),]))")
        self._tokens: list[tuple[str, str]] = []
        place = 0
        while place < len(text):
            found = token.match(text, place)
            if found is None:
                raise _Other
            name, value, word, sign = found.groups()
            self._tokens.append(
                ("column", _unquoted(name)) if name else ("", value or word or sign)
            )
            place = found.end()
        self.columns: frozenset[str] = frozenset(
            name for kind, name in self._tokens if kind == "column"
        )
        self.number = 0
        self._at = 0
        self._root = self._expression(0)
        if self._at < len(self._tokens) or len(self._tokens) > _MOST_TERMS * 4:
            raise _Other

    def pins(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Yield the columns in which every row has one of some values, and these values' places."""
        waiting = [self._root]
        while waiting:
            node = waiting.pop()
            if node.kind == "AND":
                waiting += reversed(node.parts)
            elif node.kind == "EQUAL":
                yield node.column, node.places

    def _next(self) -> str:
        """Return the next token, if it is no column; it is not taken."""
        kind, text = self._tokens[self._at] if self._at < len(self._tokens) else ("", "")
        return "" if kind else text

    def _take(self, wanted: str) -> None:
        if self._next() != wanted:
            raise _Other
        self._at += 1

    def _takes(self, wanted: str) -> bool:
        if self._next() != wanted:
            return False
        self._at += 1
        return True

    def _column(self) -> str:
        kind, name = self._tokens[self._at] if self._at < len(self._tokens) else ("", "")
        if kind != "column":
            raise _Other
        self._at += 1
        return name

    def _value(self) -> int:
        self._take("%s")
        self.number += 1
        return self.number - 1

    def _expression(self, depth: int) -> _Node:
        if depth > _DEEPEST:
            raise _Other
        parts = [self._unit(depth)]
        connector = self._next()
        if connector not in ("AND", "OR"):
            return parts[0]
        while self._takes(connector):
            parts.append(self._unit(depth))
        return _Node(connector, tuple(parts))

    def _unit(self, depth: int) -> _Node:
        if self._takes("NOT"):
            return _Node("NOT", (self._unit(depth + 1),)) if depth < _DEEPEST else self._fail()
        if self._takes("("):
            inner = self._expression(depth + 1)
            self._take(")")
            return inner
        return self._comparison(self._column())

    def _fail(self) -> _Node:
        raise _Other

    def _comparison(self, column: str) -> _Node:
        sign = self._next()
        if sign in ("=", "<>", "<", ">", "<=", ">="):
            self._at += 1
            if self._next() != "%s":
                is_in_brackets = self._takes("(")
                self._column()
                if is_in_brackets:
                    self._take(")")
                return _Node("COLUMNS")
            place = self._value()
            return _Node("EQUAL", (), column, (place,)) if sign == "=" else _Node("VALUE")
        if self._takes("IN"):
            self._take("(")
            places = [self._value()]
            while self._takes(","):
                places.append(self._value())
            self._take(")")
            return _Node("EQUAL", (), column, tuple(places))
        if self._takes("IS"):
            self._takes("NOT")
            self._take("NULL")
        elif self._takes("BETWEEN"):
            self._value()
            self._take("AND")
            self._value()
        return _Node("COLUMN")  # of booleans, if nothing came


def _unquoted(name: str) -> str:
    return name[1:-1]
