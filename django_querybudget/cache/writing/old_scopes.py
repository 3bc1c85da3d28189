"""Which scopes a write of known rows touches, where a project declared scopes.

An UPDATE or DELETE by primary key does not say which scope values the rows had. Inside
``atomic()`` they are read, with the rows locked, just before the statement: nobody can change
them until the commit. Outside of it nobody can know, and all scopes of the table are renewed.

The read goes through a cursor of the driver, not through Django's: it is no query of the host's,
and it must not be answered by any cache.

Why the read cannot fail
    An error would abort the host's transaction (PostgreSQL), or roll it back behind its back
    (MySQL, after a deadlock). So it waits for nobody: ``SKIP LOCKED`` leaves out rows that another
    transaction has, and a row that is missing in the answer is one whose scopes are unknown. On
    PostgreSQL the catalog says before, in a query that cannot fail itself, whether the columns are
    there and may be read. A transaction with a snapshot, where a lock may be refused
    (``could not serialize access``), locks nothing: the condition stands in the query. A
    savepoint would do for all of these, and would cost two statements, a subtransaction each, and
    a multixact for the row.
"""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING, Any

from django_querybudget.cache import tags
from django_querybudget.cache.transactions import Mode, state_of

from .exact_forms import UNKNOWN, assigned_columns
from .statements import OldScopes, values_tags

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db.backends.base.base import BaseDatabaseWrapper

    from django_querybudget.cache.tables import Table

__all__ = ["changes_what_is_lockable", "written"]


def written(
    rows: OldScopes, connection: BaseDatabaseWrapper, mode: Mode, sql: str, params: Any
) -> frozenset[str]:
    """Return the tags of the scopes that the rows are in before and after the statement."""
    database = tags.database_name(connection.alias)
    table = rows.table
    unknown = frozenset({tags.any_scope_tag(database, table.name)})
    if mode is not Mode.ATOMIC or connection.needs_rollback:
        return unknown
    state = state_of(connection)
    if state.is_to_renew(*unknown) or state.is_to_renew(tags.bulk_tag(database, table.name)):
        return frozenset()  # as good as every scope of the table
    old = _read_locked(rows, connection)
    if old is None:
        return unknown
    new = assigned_columns(sql, params)
    found: set[str] = set()
    for place, column in enumerate(table.scopes.values()):
        values = [row[place] for row in old]
        if column.name in new:
            if new[column.name] is UNKNOWN:
                return unknown
            values.append(new[column.name])
        if (some := values_tags(database, table, column, values)) is None:
            return unknown
        found |= some
    return frozenset(found)


def _read_locked(
    rows: OldScopes, connection: BaseDatabaseWrapper
) -> Sequence[Sequence[Any]] | None:
    """Return the rows' scope columns, None where not all rows can be locked at once."""
    lock = _lock(connection)
    if lock is None or rows.table.key is None or not _is_lockable(rows.table, connection):
        return None
    keys = {_parameter(key) for key in rows.keys}
    columns = ", ".join(_quoted(column.name, connection) for column in rows.table.scopes.values())
    places = ", ".join(["%s"] * len(keys))
    sql = (
        f"SELECT {columns} FROM {_quoted(rows.table.name, connection)} "  # noqa: S608  # names are the models'
        f"WHERE {_quoted(rows.table.key.name, connection)} IN ({places}){lock}"
    )
    found = _execute(sql, tuple(keys), connection)
    return found if found is not None and len(found) == len(keys) else None


def _parameter(key: object) -> Any:
    """Return a key as a number where it is one, since a text may be refused."""
    return int(key) if isinstance(key, str) and key.lstrip("-").isdecimal() else key


def _quoted(name: str, connection: BaseDatabaseWrapper) -> str:
    return connection.ops.quote_name(name).replace("%", "%%")


def _execute(
    sql: str, params: tuple[Any, ...], connection: BaseDatabaseWrapper
) -> Sequence[Sequence[Any]] | None:
    cursor = connection.create_cursor()
    try:
        cursor.execute(sql, params)
        found: Sequence[Sequence[Any]] = cursor.fetchall()
    except Exception as error:  # the host's own statement comes next
        if connection.vendor == "mysql" and error.args[:1] in ((1205,), (1213,)):
            # The server may have rolled back all of the host's transaction: it must not go on.
            connection.needs_rollback = True
        return None
    else:
        return found
    finally:
        cursor.close()


_READ_COMMITTED = "pg_catalog.current_setting('transaction_isolation') = 'read committed'"


def _lock(connection: BaseDatabaseWrapper) -> str | None:
    """Return what locks the rows found as the write will, None where there is no such thing."""
    if connection.vendor == "sqlite":
        # A read that opens a deferred transaction would make the write fail with "database is
        # locked" where it would have waited; in an immediate one, all rows are locked already.
        mode = str(getattr(connection, "transaction_mode", None) or "").upper()
        return "" if mode in ("IMMEDIATE", "EXCLUSIVE") else None
    if connection.vendor == "postgresql":
        return f" AND {_READ_COMMITTED} FOR NO KEY UPDATE SKIP LOCKED"
    if connection.vendor == "mysql" and connection.features.has_select_for_update_skip_locked:
        return " FOR UPDATE SKIP LOCKED"
    return None


def _is_lockable(table: Table, connection: BaseDatabaseWrapper) -> bool:
    """Whether the table is as its model says, and this session may lock rows of it.

    Asked once for each connection, where an error would cost the transaction.
    """
    if connection.vendor != "postgresql":
        return True
    known = state_of(connection).lockable
    if known is None:
        return False
    # Of multi-tenant backends, which change the search path past the hook.
    name = (getattr(connection, "schema_name", None), table.name, *table.scopes)
    if name not in known:
        known[name] = _ask_catalog(table, connection)
    return known[name]


_CATALOG = """
SELECT count(*)
FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
WHERE c.oid = pg_catalog.to_regclass(%s) AND c.relkind IN ('r', 'p') AND NOT c.relrowsecurity
AND a.attname IN ({places}) AND (a.attname <> %s OR a.atttypid IN ({types}))
AND pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT')
AND pg_catalog.has_any_column_privilege(c.oid, 'UPDATE')
AND pg_catalog.current_setting('role') = 'none'
AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_settings WHERE name = 'search_path' AND setting <> reset_val
)
"""
# What was SET in this transaction may go with it: so it says no where anything is set.
_TYPES = {int: "20, 21, 23", uuid.UUID: "2950"}
"""The object ids of bigint, smallint, integer and uuid: they never change."""


def _ask_catalog(table: Table, connection: BaseDatabaseWrapper) -> bool:
    assert table.key is not None  # noqa: S101  # the callers' own condition
    columns = {table.key.name, *(column.name for column in table.scopes.values())}
    sql = _CATALOG.format(places=", ".join(["%s"] * len(columns)), types=_TYPES[table.key.type])
    params = (connection.ops.quote_name(table.name), *columns, table.key.name)
    return _execute(sql, params, connection) == [(len(columns),)]


_SESSION = re.compile(
    r"\b(?:SET|RESET)\s+(?:(?:SESSION|LOCAL)\s+)?(?:ROLE|AUTHORIZATION|SEARCH_PATH|ALL)\b"
    r"|\bSET_CONFIG\b|\bDISCARD\b",
    re.IGNORECASE,
)


def changes_what_is_lockable(sql: str) -> bool:
    """Whether the session may see other tables after ``sql``, or not be allowed to read them."""
    return _SESSION.search(sql) is not None
