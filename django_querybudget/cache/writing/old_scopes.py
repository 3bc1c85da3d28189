"""Which scopes a write of known rows touches, where a project declared scopes.

An UPDATE or DELETE by primary key does not say which scope values the rows had. Inside
``atomic()`` they are read, with the rows locked, just before the statement: nobody can change
them until the commit. Outside of it nobody can know, and all scopes of the table are renewed.

The read goes through a cursor of the driver, not through Django's: it is no query of the host's,
and it must not be answered by any cache.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django_querybudget.cache import tags
from django_querybudget.cache.transactions import Mode

from .statements import UNKNOWN, OldScopes, assigned_columns, scope_tags

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = ["written"]


def written(
    rows: OldScopes, connection: BaseDatabaseWrapper, mode: Mode, sql: str, params: Any
) -> frozenset[str]:
    """Return the tags of the scopes that the rows are in before and after the statement."""
    database = tags.database_name(connection.alias)
    table = rows.table
    unknown = frozenset({tags.any_scope_tag(database, table.name)})
    if mode is not Mode.ATOMIC or connection.needs_rollback:
        return unknown
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
        if (some := scope_tags(database, table, column, values)) is None:
            return unknown
        found |= some
    return frozenset(found)


def _read_locked(
    rows: OldScopes, connection: BaseDatabaseWrapper
) -> Sequence[Sequence[Any]] | None:
    """Return the rows' scope columns, None where they cannot be locked."""
    lock = _lock(connection)
    if lock is None or rows.table.key is None:
        return None
    quote = connection.ops.quote_name
    columns = ", ".join(quote(column.name) for column in rows.table.scopes.values())
    places = ", ".join(["%s"] * len(rows.keys))
    sql = (
        f"SELECT {columns} FROM {quote(rows.table.name)} "  # noqa: S608  # names are the models'
        f"WHERE {quote(rows.table.key.name)} IN ({places}){lock}"
    )
    cursor = connection.create_cursor()
    try:
        cursor.execute(sql, rows.keys)
        found: Sequence[Sequence[Any]] = cursor.fetchall()
    except Exception:  # noqa: BLE001  # a lock not had: the host's own statement will say so
        return None
    else:
        return found
    finally:
        cursor.close()


def _lock(connection: BaseDatabaseWrapper) -> str | None:
    """Return the clause that locks rows as the write will, None where there is no such thing."""
    if connection.vendor == "sqlite":
        # A read that opens a deferred transaction would make the write fail with "database is
        # locked" where it would have waited; in an immediate one, all rows are locked already.
        mode = str(getattr(connection, "transaction_mode", None) or "").upper()
        return "" if mode in ("IMMEDIATE", "EXCLUSIVE") else None
    return {"postgresql": " FOR NO KEY UPDATE", "mysql": " FOR UPDATE"}.get(connection.vendor)
