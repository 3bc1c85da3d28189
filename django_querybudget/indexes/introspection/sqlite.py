"""Indexes of SQLite, from its PRAGMAs. SQLite keeps no statistics of their use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

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
                keys = [row for row in cursor.fetchall() if row[5]]
                cursor.execute("SELECT sql FROM sqlite_master WHERE name = %s", [name])
                sql = (cursor.fetchone() or [None])[0] or ""
                expressions = any(row[2] is None for row in keys)
                indexes.append(
                    DatabaseIndex(
                        definition=IndexDefinition(
                            table=table,
                            name=name,
                            # Without their text, two expressions are equal only where the
                            # whole statement is.
                            columns=tuple(row[2] or sql for row in keys),
                            descending=tuple(bool(row[3]) for row in keys),
                            # Else it is the column's own collation.
                            opclasses=tuple(
                                row[4] if " COLLATE " in sql.upper() else "" for row in keys
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
