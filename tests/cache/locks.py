"""Who waits for a lock of another's, as the database says: no test has to guess by a clock.

SQLite and MariaDB are told not to wait at all: an actor then says itself that it would have to,
and tries again when the test says so. PostgreSQL ends the transaction of whoever does not wait
long enough; there one waits in earnest, and its own list of locks tells.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any

from django.db import OperationalError, connections


def options(vendor: str) -> dict[str, Any]:
    """Return what to put into an actor's OPTIONS."""
    if vendor == "sqlite":
        return {"timeout": 0}
    if vendor == "mysql":
        return {"init_command": "SET SESSION innodb_lock_wait_timeout = 0"}
    return {}


def would_wait(error: OperationalError) -> bool:
    """Whether the statement was refused because it had to wait."""
    return "database is locked" in str(error) or error.args[0] == 1205


def waiting(alias: str) -> int:
    """Return how many connections to the database wait for a lock now, on PostgreSQL."""
    connection = connections[alias]
    if connection.vendor != "postgresql":
        return 0
    connection.ensure_connection()
    with closing(connection.create_cursor()) as cursor:  # past the library
        cursor.execute(
            "SELECT count(DISTINCT pid) FROM pg_locks JOIN pg_stat_activity USING (pid) "
            "WHERE NOT granted AND datname = current_database()"
        )
        return int(cursor.fetchone()[0])
