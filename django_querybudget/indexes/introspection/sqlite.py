"""Indexes of SQLite, from its PRAGMAs. SQLite keeps no statistics of their use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import OperationalError

from django_querybudget.indexes.definitions import IndexDefinition, IndexOrigin

from .snapshot import DatabaseIndex, Usage

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

_SIZES = """
SELECT m.tbl_name, d.name, sum(d.pgsize)
FROM dbstat d JOIN sqlite_master m ON m.name = d.name AND m.type = 'index'
WHERE m.tbl_name IN ({}) GROUP BY 1, 2
"""


class _Column(NamedTuple):
    """A row of ``PRAGMA index_xinfo``."""

    position: int
    number: int
    name: str | None
    """None for an expression."""
    descending: int
    collation: str
    is_key: int
    """0 for what only leads to the row."""


class SQLiteIntrospection:
    """Reads ``PRAGMA index_list`` and ``index_xinfo``; sizes from ``dbstat`` where compiled in."""

    rights = ""

    def read_indexes(
        self, connection: BaseDatabaseWrapper, cursor: Any, tables: Sequence[str]
    ) -> list[DatabaseIndex]:
        """Return every index of ``tables``; a ``INTEGER PRIMARY KEY`` is the table and has none."""
        indexes = []
        for table in tables:
            cursor.execute(f"PRAGMA index_list({connection.ops.quote_name(table)})")
            for _, name, unique, origin, partial in cursor.fetchall():
                cursor.execute(f"PRAGMA index_xinfo({connection.ops.quote_name(name)})")
                keys = [each for each in map(_Column._make, cursor.fetchall()) if each.is_key]
                cursor.execute("SELECT sql FROM sqlite_master WHERE name = %s", [name])
                sql = (cursor.fetchone() or [None])[0] or ""
                expressions = any(each.name is None for each in keys)
                indexes.append(
                    DatabaseIndex(
                        definition=IndexDefinition(
                            table=table,
                            name=name,
                            # Without their text, two expressions are equal only where the
                            # whole statement is.
                            columns=tuple(each.name or sql for each in keys),
                            descending=tuple(bool(each.descending) for each in keys),
                            # Else it is the column's own collation.
                            opclasses=tuple(
                                each.collation if " COLLATE " in sql.upper() else ""
                                for each in keys
                            ),
                            origin=IndexOrigin.PRIMARY_KEY
                            if origin == "pk"
                            else IndexOrigin.DATABASE,
                            unique=bool(unique),
                            condition=sql.rpartition(" WHERE ")[2] if partial else "",
                            expressions=expressions,
                        ),
                        primary_key=origin == "pk",
                        internal=origin == "u",
                    )
                )
        return indexes

    def read_usage(
        self,
        connection: BaseDatabaseWrapper,
        cursor: Any,
        tables: Sequence[str],
    ) -> Usage:
        """Return the sizes, where this build of SQLite can tell them."""
        note = "SQLite does not count the use of indexes: unused ones are not reported."
        places = ", ".join(["%s"] * len(tables))
        try:
            cursor.execute(_SIZES.format(places), list(tables))
        except OperationalError:
            return Usage(notes=(note, "This build of SQLite has no dbstat: no sizes."))
        return Usage(
            sizes={(table, name): size for table, name, size in cursor.fetchall()}, notes=(note,)
        )
