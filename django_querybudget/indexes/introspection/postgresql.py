"""Indexes of PostgreSQL, from its catalogue and its cumulative statistics."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django_querybudget.indexes.definitions import IndexDefinition, IndexOrigin

from .snapshot import DatabaseIndex, Usage

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

# pg_get_indexdef with a column number gives that column's text, expressions included.
_INDEXES = """
SELECT t.relname, c.relname, i.indisunique, i.indisprimary, i.indisvalid AND i.indisready,
       am.amname, coalesce(pg_get_expr(i.indpred, i.indrelid), ''), i.indexprs IS NOT NULL,
       i.indnkeyatts,
       ARRAY(SELECT coalesce(a.attname::text, pg_get_indexdef(i.indexrelid, k.n::int, true))
             FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, n)
             LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
                                     AND k.attnum > 0
             ORDER BY k.n),
       ARRAY(SELECT (o.flags & 1) = 1 FROM unnest(i.indoption::int2[]) WITH ORDINALITY
             AS o(flags, n) ORDER BY o.n),
       ARRAY(SELECT concat(CASE WHEN oc.opcdefault THEN '' ELSE oc.opcname::text END,
                           ' COLLATE ' || co.collname)
             FROM unnest(i.indclass::oid[], i.indcollation::oid[], i.indkey::int2[])
                  WITH ORDINALITY AS k(oid, collation_oid, attnum, n)
             JOIN pg_opclass oc ON oc.oid = k.oid
             LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
             LEFT JOIN pg_collation co ON co.oid = k.collation_oid
                                      AND co.oid <> coalesce(a.attcollation, 0)
             ORDER BY k.n),
       concat_ws(' ', CASE WHEN con.condeferrable THEN 'deferrable' END,
                 substring(pg_get_indexdef(i.indexrelid) FROM 'NULLS NOT DISTINCT')),
       EXISTS (SELECT 1 FROM pg_constraint x
               WHERE x.conindid = i.indexrelid AND x.contype = 'x')
FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_class t ON t.oid = i.indrelid
JOIN pg_am am ON am.oid = c.relam
LEFT JOIN pg_constraint con ON con.conindid = i.indexrelid AND con.contype IN ('p', 'u')
WHERE t.relname = ANY(%s) AND pg_table_is_visible(t.oid) AND i.indislive
ORDER BY t.relname, c.relname
"""

_USAGE = """
SELECT t.relname, c.relname, pg_relation_size(c.oid), s.idx_scan
FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_class t ON t.oid = i.indrelid
LEFT JOIN pg_stat_user_indexes s ON s.indexrelid = i.indexrelid
WHERE t.relname = ANY(%s) AND pg_table_is_visible(t.oid)
"""

_TABLES = """
SELECT s.relname, greatest(s.n_live_tup, c.reltuples::bigint),
       s.seq_scan + coalesce(s.idx_scan, 0)
FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid
WHERE s.relname = ANY(%s) AND pg_table_is_visible(c.oid)
"""

_STATISTICS = """
SELECT stats_reset, pg_postmaster_start_time(), pg_is_in_recovery(),
       (SELECT count(*) FROM pg_stat_replication)
FROM pg_stat_database WHERE datname = current_database()
"""


class PostgreSQLIntrospection:
    """Reads ``pg_index``, ``pg_stat_user_indexes`` and ``pg_stat_database``."""

    rights = "Grant the user pg_read_all_stats."

    def read_indexes(
        self,
        connection: BaseDatabaseWrapper,
        cursor: Any,
        tables: Sequence[str],
    ) -> list[DatabaseIndex]:
        """Return every index of ``tables`` in the search path."""
        cursor.execute(_INDEXES, [list(tables)])
        return [_index(row) for row in cursor.fetchall()]

    def read_usage(
        self,
        connection: BaseDatabaseWrapper,
        cursor: Any,
        tables: Sequence[str],
    ) -> Usage:
        """Return sizes, scans, and what to know about where they were counted."""
        cursor.execute(_USAGE, [list(tables)])
        rows = cursor.fetchall()
        cursor.execute(_TABLES, [list(tables)])
        table_rows = cursor.fetchall()
        cursor.execute(_STATISTICS)
        reset, started, is_replica, replicas = cursor.fetchone()
        since = reset or started
        notes = []
        if is_replica:
            notes.append(
                "This server is a replica: an index that only the primary's queries use looks "
                "unused here. Compare with the primary before you drop one."
            )
        elif replicas:
            notes.append(
                f"{replicas} replicas read from this server: their scans are not counted here. "
                f"Compare with them before you drop an index."
            )
        if reset is None:
            notes.append(
                "The statistics were never reset; the server started "
                f"{started:%Y-%m-%d %H:%M} UTC, and they may be older."
            )
        return Usage(
            sizes={(table, name): size for table, name, size, _ in rows},
            scans={(table, name): scans for table, name, _, scans in rows if scans is not None},
            table_rows={table: count for table, count, _ in table_rows},
            table_reads={table: reads for table, _, reads in table_rows},
            age_days=(datetime.now(tz=UTC) - since).total_seconds() / 86400,
            since=f"since {since.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
            notes=tuple(notes),
        )


def _index(row: Sequence[Any]) -> DatabaseIndex:
    (table, name, unique, primary, valid, method, condition, expressions, keys) = row[:9]
    columns, descending, opclasses, variant, exclusion = row[9:]
    return DatabaseIndex(
        definition=IndexDefinition(
            table=table,
            name=name,
            columns=tuple(columns[:keys]),
            descending=tuple(descending[:keys]),
            origin=IndexOrigin.PRIMARY_KEY if primary else IndexOrigin.DATABASE,
            unique=unique,
            method=method,
            condition=condition,
            opclasses=tuple(opclasses[:keys]),
            include=tuple(columns[keys:]),
            expressions=expressions,
            variant=variant,
        ),
        valid=valid,
        primary_key=primary,
        internal=exclusion,
    )
