"""Indexes of MySQL and MariaDB, from ``information_schema``."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from django_querybudget.indexes.definitions import IndexDefinition, IndexOrigin

from .snapshot import DatabaseIndex, Usage

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

_INDEXES = """
SELECT table_name, index_name, non_unique, column_name, collation, sub_part, index_type, {}
FROM information_schema.statistics
WHERE table_schema = DATABASE() AND table_name IN ({})
ORDER BY table_name, index_name, seq_in_index
"""


class _Column(NamedTuple):
    """A row of ``_INDEXES``."""

    table_name: str
    index_name: str
    non_unique: int
    name: str | None
    """None for an expression."""
    collation: str | None
    """``"A"``, ``"D"``, or None where it is not sorted."""
    sub_part: int | None
    """How many characters are in the index; None for all."""
    index_type: str
    expression: str | None


_SIZES = """
SELECT table_name, index_name, stat_value * @@innodb_page_size
FROM mysql.innodb_index_stats
WHERE database_name = DATABASE() AND stat_name = 'size' AND table_name IN ({})
"""

_TABLES = """
SELECT table_name, table_rows FROM information_schema.tables
WHERE table_schema = DATABASE() AND table_name IN ({})
"""

# count_read and not count_star: an insert writes every index of its table.
_SCANS = """
SELECT object_name, index_name, count_read
FROM performance_schema.table_io_waits_summary_by_index_usage
WHERE object_schema = DATABASE() AND index_name IS NOT NULL AND object_name IN ({})
"""

_READS = """
SELECT object_name, count_read FROM performance_schema.table_io_waits_summary_by_table
WHERE object_schema = DATABASE() AND object_name IN ({})
"""

_NOT_COUNTED = (
    "performance_schema is off, so the server does not count the use of indexes and unused ones "
    "are not reported. Turn it on in the server's configuration, and look again when every job "
    "and report has run."
)


class MySQLIntrospection:
    """Reads ``information_schema``; usage from ``performance_schema``, where it is on."""

    rights = (
        "Grant the user SELECT on mysql.innodb_index_stats (sizes) and on performance_schema.* "
        "(usage)."
    )

    def read_indexes(
        self, connection: BaseDatabaseWrapper, cursor: Any, tables: Sequence[str]
    ) -> list[DatabaseIndex]:
        """Return every index of ``tables`` in the connection's database."""
        # Only MySQL has indexes on expressions, and only it has the column to say so.
        expression = "NULL" if getattr(connection, "mysql_is_mariadb", True) else "expression"
        if not tables:
            return []
        cursor.execute(_INDEXES.format(expression, _places(tables)), list(tables))
        return [
            _index(table, name, list(columns))
            for (table, name), columns in groupby(
                map(_Column._make, cursor.fetchall()),
                key=lambda each: (each.table_name, each.index_name),
            )
        ]

    def read_usage(
        self,
        connection: BaseDatabaseWrapper,
        cursor: Any,
        tables: Sequence[str],
    ) -> Usage:
        """Return sizes, and scans where ``performance_schema`` is on."""
        if not tables:
            return Usage()
        places = _places(tables)
        cursor.execute(_SIZES.format(places), list(tables))
        sizes = {(table, name): int(size) for table, name, size in cursor.fetchall()}
        cursor.execute(_TABLES.format(places), list(tables))
        table_rows = {table: int(count or 0) for table, count in cursor.fetchall()}
        cursor.execute("SELECT @@performance_schema")
        if not cursor.fetchone()[0]:
            return Usage(
                sizes=sizes,
                table_rows=table_rows,
                notes=(_NOT_COUNTED,),
            )
        cursor.execute(_SCANS.format(places), list(tables))
        scans = {(table, name): int(count) for table, name, count in cursor.fetchall()}
        cursor.execute(_READS.format(places), list(tables))
        reads = {table: int(count) for table, count in cursor.fetchall()}
        cursor.execute("SHOW GLOBAL STATUS LIKE 'Uptime'")
        age = int(cursor.fetchone()[1]) / 86400
        return Usage(
            sizes=sizes,
            scans=scans,
            table_rows=table_rows,
            table_reads=reads,
            age_days=age,
            since=f"since the server started {age:.1f} days ago",
            notes=("Reads by replicas of this server are not counted here.",),
        )


def _places(tables: Sequence[str]) -> str:
    return ", ".join(["%s"] * len(tables))


def _index(table: str, name: str, columns: list[_Column]) -> DatabaseIndex:
    primary = name == "PRIMARY"
    return DatabaseIndex(
        definition=IndexDefinition(
            table=table,
            name=name,
            columns=tuple(each.name or str(each.expression) for each in columns),
            descending=tuple(each.collation == "D" for each in columns),
            origin=IndexOrigin.PRIMARY_KEY if primary else IndexOrigin.DATABASE,
            unique=not columns[0].non_unique,
            method=columns[0].index_type.lower(),
            # Only the first characters of the column are in the index.
            opclasses=tuple(f"({each.sub_part})" if each.sub_part else "" for each in columns),
            expressions=any(each.name is None for each in columns),
        ),
        primary_key=primary,
    )
