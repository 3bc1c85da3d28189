"""A statement as text, whatever type a driver takes: :func:`sql_text`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = ["sql_text"]


def sql_text(sql: Any, connection: BaseDatabaseWrapper) -> str | None:
    """Return a statement that is sent as text, None where a driver's own type does not tell.

    Besides ``str``, psycopg takes bytes and what its module ``sql`` composes.
    """
    if isinstance(sql, str):
        return sql
    if isinstance(sql, bytes):
        return sql.decode(errors="replace")
    try:
        return str(sql.as_string(connection.connection))
    except Exception:  # a driver's type that cannot say what it is
        return None
