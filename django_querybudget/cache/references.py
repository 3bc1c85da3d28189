"""Which foreign keys the database itself sees to, and which of their columns take no NULL.

What the models say is not enough: a table may have been made without its constraints.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from .asking import ask

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = ["certain_references"]

logger = logging.getLogger("django_querybudget")

_PLAIN = re.compile(r"[\w.$ -]+")

# Of PostgreSQL's tables of one name, in several schemas, all have to have it.
_ASKED = {
    "postgresql": (
        "SELECT a.attname::text, f.relname::text FROM pg_catalog.pg_constraint k"
        " JOIN pg_catalog.pg_class r ON r.oid = k.conrelid"
        " JOIN pg_catalog.pg_class f ON f.oid = k.confrelid"
        " JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid AND a.attnum = k.conkey[1]"
        " WHERE r.relname = '{table}' AND k.contype = 'f' AND k.convalidated AND a.attnotnull"
        " GROUP BY 1, 2 HAVING count(DISTINCT r.oid) = (SELECT count(*) FROM pg_catalog.pg_class"
        " WHERE relname = '{table}' AND relkind IN ('r', 'p', 'f'))"
    ),
    "mysql": (
        "SELECT k.COLUMN_NAME, k.REFERENCED_TABLE_NAME"
        " FROM information_schema.KEY_COLUMN_USAGE k JOIN information_schema.COLUMNS c"
        " ON c.TABLE_SCHEMA = k.TABLE_SCHEMA AND c.TABLE_NAME = k.TABLE_NAME"
        " AND c.COLUMN_NAME = k.COLUMN_NAME"
        " WHERE k.TABLE_SCHEMA = DATABASE() AND k.REFERENCED_TABLE_SCHEMA = DATABASE()"
        " AND k.TABLE_NAME = '{table}' AND c.TABLE_NAME = '{table}' AND c.IS_NULLABLE = 'NO'"
    ),
    "sqlite": (
        'SELECT k."from", k."table" FROM pragma_foreign_key_list(\'{table}\') k'
        ' JOIN pragma_table_info(\'{table}\') c ON c.name = k."from" WHERE c."notnull"'
    ),
}


def certain_references(connection: BaseDatabaseWrapper, table: str) -> frozenset[tuple[str, str]]:
    """Return the columns of ``table`` in which each row names one of another table, and that table.

    In small letters. The connection is open. None where the database refuses to say, which is told
    once: whoever asks remembers it. Raises :class:`RuntimeError` in a transaction that has failed.
    """
    sql = _ASKED.get(connection.vendor)
    if sql is None or not _PLAIN.fullmatch(table):
        return frozenset()
    try:
        rows = ask(connection, sql.format(table=table))
    except RuntimeError:  # the next transaction may ask
        raise
    except Exception as error:  # a driver may raise anything
        logger.warning("The foreign keys of %r are not told: %s", table, error)
        return frozenset()
    return frozenset((str(column).lower(), str(target).lower()) for column, target in rows)
