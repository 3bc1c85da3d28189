"""What a query reads, as tags; and whether it can be cached at all."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from django.db.models.expressions import Col
from django.db.models.fields.related_lookups import RelatedExact
from django.db.models.lookups import Exact

from django_querybudget.cache import relations, tags
from django_querybudget.cache.columns import converted
from django_querybudget.cache.sql_functions import unknown_functions
from django_querybudget.cache.tables import Table, Tables, tables
from django_querybudget.conf import conf
from django_querybudget.sql.memory import Memo
from django_querybudget.sql.statements import read
from django_querybudget.sql.where import conjuncts

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.models.sql import Query

__all__ = ["Pins", "ReadTags", "pins_of", "pins_of_text", "refused", "tags_read", "withheld"]


@dataclass(frozen=True, slots=True)
class Pins:
    """A table of which a query reads only the rows with certain values.

    ``key`` is the primary key's value, ``scopes`` the declared scopes' by column, as text.
    """

    table: Table
    key: str | None
    scopes: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ReadTags:
    """The tags of one statement.

    ``always``, and besides ``if_found`` where there was a row or ``if_empty`` where there was
    none: a row that is there can be changed only by a write to that row or of unknown extent; one
    that is not can come with any insert.
    """

    always: frozenset[str]
    if_found: frozenset[str] = frozenset()
    if_empty: frozenset[str] = frozenset()

    @property
    def all(self) -> frozenset[str]:
        """All of them: the tokens to be read before the statement."""
        return self.always | self.if_found | self.if_empty


def tags_read(sql: str, connection: BaseDatabaseWrapper, pins: Pins | None = None) -> ReadTags:
    """Return the tags of what ``sql`` reads on ``connection``."""
    database = tags.database_name(connection.alias)
    known = tables()
    names, unmodelled, repeated = _known_sources[sql, connection.vendor, known]
    views, behind = relations.behind(sql, connection)
    if views:
        names |= behind
        unmodelled = True
        pins = None
    found = {tags.everything(database)}
    if unmodelled:
        found.add(tags.unmodelled(database))
    if pins is None or pins.table.name not in names or pins.table.name.lower() in repeated:
        return ReadTags(frozenset(found | {tags.table_tag(database, name) for name in names}))
    pinned = pins.table.name
    found |= {tags.table_tag(database, name) for name in names if name != pinned}
    bulk = tags.bulk_tag(database, pinned)
    if pins.key is not None:
        return ReadTags(
            frozenset(found),
            if_found=frozenset({bulk, tags.row_tag(database, pinned, pins.key)}),
            if_empty=frozenset({tags.table_tag(database, pinned)}),
        )
    column, value = pins.scopes[0]
    found |= {
        bulk,
        tags.any_scope_tag(database, pinned),
        tags.scope_tag(database, pinned, column, value),
    }
    return ReadTags(frozenset(found))


def refused(sql: str, connection: BaseDatabaseWrapper) -> str | None:
    """Return why the answer to ``sql`` depends on more than rows that can be watched, or None."""
    return _refusals[sql, connection.vendor, tables()]


def _refused(key: tuple[str, str, Tables]) -> str | None:
    sql, vendor, known = key
    if unknown := unknown_functions(sql, vendor, conf.CACHE.FUNCTIONS):
        return f"function {unknown[0]}"
    if any(known.ignored(name) for name in known.named_among(read(sql, vendor).names)):
        return "ignored table"
    return None


_refusals = Memo(_refused)


def withheld(sql: str, connection: BaseDatabaseWrapper) -> str | None:
    """Return why the rows of ``sql`` must not be stored, by the project's own word, or None."""
    return _withheld[sql, connection.vendor, tables()]


def _reason(key: tuple[str, str, Tables]) -> str | None:
    sql, vendor, known = key
    return known.withheld.in_query(sql, sorted(known.named_among(read(sql, vendor).names)))


_withheld = Memo(_reason)


def _sources(key: tuple[str, str, Tables]) -> tuple[frozenset[str], bool, frozenset[str]]:
    """Return the known tables in ``sql``, whether it may name others, and names that it repeats."""
    sql, vendor, known = key
    reading = read(sql, vendor)
    names = known.named_among(reading.names)
    others = any(known.by_lower_name.keys().isdisjoint(parts) for parts in reading.sources)
    return names, others, reading.repeated.intersection(name.lower() for name in names)


_known_sources = Memo(_sources)


def pins_of(query: Query, connection: BaseDatabaseWrapper) -> Pins | None:
    """Return what pins the query's own table, None where nothing provably does."""
    if query.combinator or query.extra_tables or query.is_empty():
        return None
    base = next(iter(query.alias_map), None)  # query.base_table would be noted, and kept
    table = tables().tables.get(query.alias_map[base].table_name) if base else None
    if base is None or table is None or connection.ops.quote_name(table.name).count(".") > 1:
        return None
    return _pins(table, _equalities(query.where, base, connection))


def _pins(table: Table, values: Mapping[str | None, Any]) -> Pins | None:
    """Return what pins a table of which only rows with these values are read, by column."""
    key = None
    if table.key is not None and table.key.name in values:
        key = table.key.text(values[table.key.name])
    scopes = tuple(
        (column.name, text)
        for column in table.scopes.values()
        if column.name in values and (text := column.text(values[column.name])) is not None
    )
    return Pins(table, key, scopes) if key is not None or scopes else None


# As Django's compiler writes a query that one row, or one value of a column, answers. Anything more
# in it, a second SELECT above all, and it is no longer of this form.
_PINNED = re.compile(
    r"""SELECT\ [^%]*?\ FROM\ (?P<table>(?P<quote>["`])[^"`%]+(?P=quote))(?P<joins>[^%]*)
    \ WHERE\ (?:\((?P<several>[^()]+)\)|(?P<one>[^()]+?))
    (?:\ ORDER\ BY\ [^%]+?)?(?:\ LIMIT\ [0-9]+)?(?:\ OFFSET\ [0-9]+)?""",
    re.VERBOSE,
)
_EQUALITY = re.compile(r"""(?P<table>["`][^"`]+["`])\.["`](?P<column>[^"`]+)["`] = %s""")
_OTHERS = re.compile(r"\b(?:UNION|INTERSECT|EXCEPT|GROUP|HAVING|FOR)\b")


def pins_of_text(sql: str, params: Any, connection: BaseDatabaseWrapper) -> Pins | None:
    """Return what pins a statement as the ORM writes it, None where nothing provably does."""
    if not isinstance(params, tuple | list) or len(params) > _MOST_EQUALITIES:
        return None
    form = _forms[sql, connection.vendor, tables()]
    if form is None or len(form.columns) != len(params):
        return None
    pins = _pins(form.table, dict(zip(form.columns, params, strict=True)))
    if pins is None or form.has_its_rows:
        return pins
    # A count has a row of its own, whether there is one to count or not.
    return Pins(pins.table, None, pins.scopes) if pins.scopes else None


@dataclass(frozen=True, slots=True)
class _Pinned:
    """A statement whose WHERE is nothing but columns of ``table``, each equal to a parameter."""

    table: Table
    columns: tuple[str, ...]
    has_its_rows: bool
    """Whether a row comes back for each that is found, and for nothing else: it calls nothing."""


def _pinned(key: tuple[str, str, Tables]) -> _Pinned | None:
    sql, _, known = key
    if len(sql) > _LONGEST_PINNED or _OTHERS.search(sql):
        return None
    if any(sql.count(word) != 1 for word in ("SELECT", " FROM ", " WHERE ")):
        return None  # and the pattern has one place for each to try
    found = _PINNED.fullmatch(sql)
    table = known.tables.get(found["table"][1:-1]) if found else None
    if found is None or table is None:
        return None
    columns = []
    for term in (found["several"] or found["one"]).split(" AND "):
        equality = _EQUALITY.fullmatch(term)
        if equality is None or equality["table"] != found["table"]:
            return None
        columns.append(equality["column"])
    if len(set(columns)) < len(columns):
        return None
    return _Pinned(table, tuple(columns), "(" not in sql[: sql.index(" FROM ")])


_MOST_EQUALITIES = 8
_LONGEST_PINNED = 4000
_forms = Memo(_pinned)


def _equalities(
    where: object, alias: str, connection: BaseDatabaseWrapper
) -> dict[str | None, Any]:
    """Return the columns of ``alias`` that every row found has a known value in.

    The value is the one that the database is sent: a field may convert the one in Python.
    """
    found: dict[str | None, Any] = {}
    for each in conjuncts(where):
        if isinstance(each, Exact | RelatedExact) and _is_django(each):
            column, value = each.lhs, each.rhs
            if isinstance(column, Col) and column.alias == alias and _is_value(value):
                convert = partial(each.get_db_prep_lookup, value, connection)
                with suppress(Exception):  # whatever a field of the host's does, it pins nothing
                    _, [found[column.target.column]] = converted(column.target, convert)
    return found


def _is_django(lookup: Any) -> bool:
    # A lookup of the host's own may mean something else by "exact".
    return lookup.lookup_name == "exact" and type(lookup).__module__.startswith("django.db.models.")


def _is_value(value: object) -> bool:
    return not hasattr(value, "resolve_expression") and not hasattr(value, "as_sql")
