"""What the text of a statement tells of what it writes: :class:`Form`.

The forms in which Django's ORM writes known rows are recognised to the letter; everything else
that may write is a write of unknown extent to every table it names, and what may write without
naming is one to everything. So what is not known for certain costs hits, and never leaves a stale
entry."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from django_querybudget.cache.catalog import Catalog, catalog_of
from django_querybudget.cache.sql_functions import may_write
from django_querybudget.cache.tables import Table, Tables, tables
from django_querybudget.conf import conf
from django_querybudget.sql.memory import Memo
from django_querybudget.sql.statements import Statement, plain_calls, read
from django_querybudget.sql.verbs import words_where

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from django.db.backends.base.base import BaseDatabaseWrapper

    from django_querybudget.cache.columns import Column


__all__ = ["UNKNOWN", "Form", "assigned_columns", "form_of"]

_NAME = r'"(?:[^"]|"")*"|`(?:[^`]|``)*`'

_INSERT = re.compile(
    rf"INSERT INTO (?P<table>{_NAME}) \((?P<columns>(?:{_NAME})(?:, (?:{_NAME}))*)\) "
    r"(?:VALUES (?P<rows>\(.*\))|SELECT \* FROM UNNEST\((?P<lists>.*)\))"
    rf"(?: RETURNING .*)?",
    re.DOTALL,
)

_CONFLICT = re.compile(r"\bON\s+(?:CONFLICT|DUPLICATE)\b", re.IGNORECASE)

_INSERTING = words_where(lambda verb: verb.adds)

_PLAIN_LISTS = re.compile(r"\(%s\)::[\w ]+\[\](?:, \(%s\)::[\w ]+\[\])*")

_PLAIN_ROWS = re.compile(r"\((?:%s)(?:, %s)*\)(?:, \((?:%s)(?:, %s)*\))*")

_BY_KEY = (
    r" WHERE (?P=table)\.(?P<key>{name})"
    r" (?:= (?P<one>%s)|IN \((?P<many>%s(?:, %s)*)\))"
)

_UPDATE_ROWS = re.compile(
    rf"UPDATE (?P<table>{_NAME}) SET (?P<set>.*)" + _BY_KEY.format(name=_NAME), re.DOTALL
)

_DELETE_ROWS = re.compile(rf"DELETE FROM (?P<table>{_NAME})" + _BY_KEY.format(name=_NAME))


@dataclass(frozen=True, slots=True)
class Form:
    """What the text alone tells of a write."""

    tables: tuple[Table, ...]  # bulk-written
    target: Table | None = None  # written in rows that the parameters tell
    columns: tuple[str, ...] = ()  # INSERT: those of plain rows; UPDATE: those that are set
    # UPDATE: the foreign keys that pin lists and are set, but to NULL; the parameter that each is
    # set to, None where the database computes one of the values; whether all of them are set.
    pins: tuple[tuple[Column, int | None], ...] = ()
    sets_all_pins: bool = False
    nulls: int = 0  # UPDATE: how many columns are set to NULL, which takes no parameter
    lists: bool = False  # INSERT: each parameter is a column's list of values, as bulk_create() has
    keys: int = 0  # UPDATE, DELETE: how many parameters at the end are keys
    everything: str = ""  # why it may write anything, if it may
    # PostgreSQL, whose catalog tells: functions that may write, and what is written to besides.
    calls: frozenset[str] = frozenset()
    targets: frozenset[str] = frozenset()
    unmodelled: bool = False  # a table that no model has, too


_NO_TEXT = Form((), everything="a statement that is no text")


def form_of(sql: str | None, connection: BaseDatabaseWrapper) -> Form | None:
    """Return what the statement's text tells of what it writes, None if it is nothing."""
    if sql is None:
        return _NO_TEXT
    known = tables()
    memos = _memos if _memos.known is known else _memos_of(known)
    form = memos[connection.vendor][sql]
    return form if form is None or not (form.calls or form.targets) else _settled(form, connection)


class _Memos(dict[str, Memo[str, Form | None]]):
    """What is remembered of texts, by vendor, as long as the tables are the same."""

    def __init__(self, known: Tables | None) -> None:
        super().__init__()
        self.known = known

    def __missing__(self, vendor: str) -> Memo[str, Form | None]:
        known = self.known
        assert known is not None  # noqa: S101  # as _memos_of() made it
        memo: Memo[str, Form | None] = Memo(lambda sql: _form(sql, vendor, known))
        self[vendor] = memo
        return memo


_memos = _Memos(None)


def _memos_of(known: Tables) -> _Memos:
    global _memos
    _memos = _Memos(known)
    return _memos


_UNREAD = Catalog(frozenset(), frozenset(), frozenset(), {})


def _settled(form: Form, connection: BaseDatabaseWrapper) -> Form | None:
    """Return the form with what PostgreSQL's catalog tells of functions and unknown tables."""
    catalog = catalog_of(connection, form.calls, form.targets) or _UNREAD
    if unknown := form.calls - catalog.reading:
        return Form((), everything=f"function {min(unknown)}")
    if unknown := form.targets - catalog.relations:
        return Form((), everything=f"table {min(unknown)}")
    above = frozenset[str]().union(*(catalog.above.get(name, ()) for name in form.targets))
    written = tables().named_among(above)
    if not (form.tables or form.target or form.unmodelled):
        return None
    return replace(
        form,
        tables=(*form.tables, *_tables(tables(), written)),
        calls=frozenset(),
        targets=frozenset(),
    )


def _form(sql: str, vendor: str, known: Tables) -> Form | None:
    declared = conf.CACHE.FUNCTIONS
    plain = plain_calls(sql)
    if plain is not None and not may_write(plain, vendor, declared):
        return None
    statements = read(sql, vendor).statements
    calls = frozenset[str]().union(
        *(may_write(each.calls, vendor, declared) for each in statements)
    )
    opaque = next((each.opaque for each in statements if each.opaque), "")
    if opaque:
        return Form((), everything=opaque)
    writing = [each for each in statements if each.verbs]
    calls |= may_write(_defaults(writing, known), vendor, declared)
    if calls and vendor != "postgresql":
        return Form((), everything=f"function {min(calls)}")
    form = None
    if len(statements) == 1 == len(writing):
        form = _exact_form(sql, known)
    if form is None:
        form = _named_form(writing, vendor, known)
    if not calls:
        return form
    return replace(form or Form(()), calls=calls)


def _defaults(writing: list[Statement], known: Tables) -> Iterator[str]:
    """Yield the functions that the database calls by itself for what rows are not given."""
    for each in writing:
        if each.verbs & _INSERTING or "default" in each.names:  # SET … = DEFAULT
            for name in known.named_among(each.names):
                yield from known.tables[name].defaults


def _named_form(writing: list[Statement], vendor: str, known: Tables) -> Form | None:
    """Return the form of a write of unknown extent to every table that is named."""
    written: set[str] = set()
    targets: set[str] = set()
    unmodelled = False
    for each in writing:
        named = known.named_among((each.alone,)) or known.named_among(each.names)
        if each.removes:
            truncated = "TRUNCATE" in each.verbs
            for name in tuple(named):
                named |= known.deleted_with(name, truncated=truncated)
        kept = {name for name in named if not known.ignored(name)}
        written |= kept
        if not named and not known.names_cache_table(each.names):
            unmodelled = True
        if vendor == "postgresql":
            targets |= {
                name
                for name in each.targets
                if name not in known.by_lower_name and not known.names_cache_table((name,))
            }
            unmodelled |= bool(targets)
    if not written and not unmodelled:
        return None
    return Form(_tables(known, written), targets=frozenset(targets), unmodelled=unmodelled)


def _tables(known: Tables, names: Iterable[str]) -> tuple[Table, ...]:
    return tuple(known.tables[name] for name in names)


def _exact_form(sql: str, known: Tables) -> Form | None:  # noqa: PLR0911 - a return for each form, and for what spoils it
    """Return the form of one statement as the ORM writes it, None for any other."""
    match: re.Match[str] | None
    if match := _INSERT.fullmatch(sql):
        table = known.tables.get(_unquoted(match["table"]))
        if table is None or _CONFLICT.search(sql):
            return None
        if known.ignored(table.name):
            return None
        lists = match["lists"] is not None and _PLAIN_LISTS.fullmatch(match["lists"]) is not None
        plain = lists or (match["rows"] is not None and _PLAIN_ROWS.fullmatch(match["rows"]))
        columns = tuple(map(_unquoted, re.findall(_NAME, match["columns"]))) if plain else ()
        if len({name.lower() for name in columns}) < len(columns):
            columns = ()  # SQLite takes a column twice
        return Form((), table, columns, lists=lists)
    match = _UPDATE_ROWS.fullmatch(sql)
    deleting = match is None
    if match is None and (match := _DELETE_ROWS.fullmatch(sql)) is None:
        return None
    table = known.tables.get(_unquoted(match["table"]))
    if table is None or table.key is None or _unquoted(match["key"]) != table.key.name:
        return None
    if known.ignored(table.name):
        return None
    number = 1 if match["one"] else match["many"].count("%s")
    if deleting:
        return Form(_tables(known, known.deleted_with(table.name)), table, keys=number)
    assigned = _assigned(match["set"])
    if not assigned or table.key.name in assigned or not table.columns.names.issuperset(assigned):
        return None  # some databases take a name in other letters
    # MySQL takes a column twice, and the last value counts.
    is_plain = len(set(assigned)) == len(assigned) and _PLAIN_SET.fullmatch(match["set"])
    places = _places(match["set"]) if is_plain else dict.fromkeys(assigned)
    return Form(
        (),
        table,
        assigned,
        tuple((table.pins[name], places[name]) for name in table.pins if name in places),
        sets_all_pins=table.pins.keys() <= set(assigned),
        nulls=len(assigned) - len(places),
        keys=number,
    )


def _places(text: str) -> dict[str, int | None]:
    """Return to which parameter a plain ``SET`` sets each column that it does not set to NULL."""
    given = (name for name, value in _TERM.findall(text) if value == "%s")
    return {_unquoted(name): place for place, name in enumerate(given)}


def _assigned(text: str) -> tuple[str, ...]:
    """Return the columns that ``SET`` and ``text`` assign; none where that is not certain."""
    if _PLAIN_SET.fullmatch(text):
        return tuple(map(_unquoted, re.findall(_NAME, text)))
    if _UNCERTAIN.search(text):
        return ()
    depth, place, terms = 0, 0, [""]
    while place < len(text):
        found = _PART.match(text, place)
        if found is None:
            return ()  # a quote that does not end
        part, place = found[0], found.end()
        depth += (part == "(") - (part == ")")
        if depth < 0:
            return ()
        if part == "," and not depth:
            terms.append("")
        else:
            terms[-1] += part
    names = [_ASSIGNMENT.match(term) for term in terms]
    return () if depth or None in names else tuple(_unquoted(name[1]) for name in names if name)


# A backslash before a quote, a quote of dollars, a comment.
_UNCERTAIN = re.compile(r"[\\$#]|--|/\*")
_PART = re.compile(rf"{_NAME}|'(?:[^']|'')*'|[(),]|[^\"`'(),]+")
_ASSIGNMENT = re.compile(rf" ?({_NAME}) = ")


def _unquoted(name: str) -> str:
    return name[1:-1].replace(name[0] * 2, name[0])


UNKNOWN = object()
"""A value that the database computes."""

# Before 6.1, Django writes ``= NULL`` where it sets a column to None.
_TERM = re.compile(rf"({_NAME}) = (%s|NULL)")
_PLAIN_SET = re.compile(rf"(?:{_NAME}) = (?:%s|NULL)(?:, (?:{_NAME}) = (?:%s|NULL))*")


def assigned_columns(sql: str, params: Sequence[Any]) -> dict[str, Any]:
    """Return what an UPDATE by primary key gives to its columns, :data:`UNKNOWN` for expressions.

    A DELETE gives nothing.
    """
    match = _UPDATE_ROWS.fullmatch(sql)
    if match is None:
        return {}
    if not _PLAIN_SET.fullmatch(match["set"]):
        names = re.findall(rf"({_NAME}) = ", match["set"])
        return dict.fromkeys(map(_unquoted, names), UNKNOWN)
    values = iter(params)
    return {
        _unquoted(name): None if value == "NULL" else next(values, UNKNOWN)
        for name, value in _TERM.findall(match["set"])
    }
