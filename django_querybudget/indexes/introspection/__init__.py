"""What indexes a database has, how large they are and whether anything reads them.

One module per vendor, each with a ``read_indexes(cursor, tables)`` and a
``read_usage(cursor, tables)``. Indexes need no rights beyond the tables' own; usage may.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from django.db import DatabaseError, transaction

from django_querybudget.exceptions import QueryBudgetError

from . import mysql, postgresql, sqlite
from .snapshot import DatabaseIndex, Introspection, Snapshot, Usage

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = [
    "DatabaseIndex",
    "Snapshot",
    "UnsupportedDatabase",
    "Usage",
    "check_supported",
    "read_snapshot",
]

_VENDORS: dict[str, Introspection] = {
    "postgresql": postgresql.PostgreSQLIntrospection(),
    "mysql": mysql.MySQLIntrospection(),
    "sqlite": sqlite.SQLiteIntrospection(),
}


class UnsupportedDatabase(QueryBudgetError):
    """This library cannot read the indexes of a database of this kind."""


def check_supported(connection: BaseDatabaseWrapper) -> None:
    """Raise :class:`UnsupportedDatabase` where the indexes of ``connection`` cannot be read."""
    if connection.vendor not in _VENDORS:
        raise UnsupportedDatabase(
            f"Database {connection.alias!r} is {connection.vendor!r}: indexes can be read on "
            f"PostgreSQL, MySQL, MariaDB and SQLite."
        )


def read_snapshot(connection: BaseDatabaseWrapper, tables: Sequence[str]) -> Snapshot:
    """Return the indexes of ``tables`` on ``connection``, with usage where it may be read.

    Raises:
        UnsupportedDatabase: the vendor is none of PostgreSQL, MySQL, MariaDB and SQLite.
        django.db.DatabaseError: the database cannot be reached, or its catalogue not be read.
    """
    check_supported(connection)
    vendor = _VENDORS[connection.vendor]
    with connection.cursor() as cursor:
        indexes = vendor.read_indexes(connection, cursor, tables)
    try:
        # In a savepoint where a transaction is open: a refused read must not spoil it.
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            usage = vendor.read_usage(connection, cursor, tables)
    except DatabaseError as error:
        usage = Usage(
            notes=(_unreadable(connection.alias, error, vendor.rights),),
        )
    return Snapshot(indexes=tuple(indexes), usage=usage)


def _unreadable(alias: str, error: DatabaseError, rights: str) -> str:
    return (
        f"Sizes and usage of {alias!r} could not be read, so unused indexes are not reported: "
        f"{str(error).strip()} {rights}"
    )
