"""One query of our own over a host's connection, which its transaction does not notice.

On the driver's cursor: no execute wrapper hears of it, and it is in no count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = ["ask"]

_IDLE, _IN_TRANSACTION = 0, 2  # libpq's PQTRANS_IDLE and PQTRANS_INTRANS


def ask(connection: BaseDatabaseWrapper, sql: str) -> Sequence[Sequence[Any]]:
    """Return the rows of ``sql``, which only reads, over an open connection.

    Raises whatever the driver does, and :class:`RuntimeError` in a transaction that has failed.
    On PostgreSQL an error would abort the host's transaction: inside of one, a savepoint is put
    around the query.
    """
    driver: Any = connection.connection
    if connection.vendor != "postgresql":
        return _rows(driver, sql)
    status = int(driver.info.transaction_status)
    if status == _IDLE:
        try:
            return _rows(driver, sql)
        finally:
            if not driver.autocommit:
                driver.rollback()  # of nothing but this query
    if status != _IN_TRANSACTION:
        raise RuntimeError("the connection is in a transaction that has failed")
    _rows(driver, "SAVEPOINT querybudget_ask", fetch=False)
    try:
        return _rows(driver, sql)
    except BaseException:
        _rows(driver, "ROLLBACK TO SAVEPOINT querybudget_ask", fetch=False)
        raise
    finally:
        _rows(driver, "RELEASE SAVEPOINT querybudget_ask", fetch=False)


def _rows(driver: Any, sql: str, *, fetch: bool = True) -> Sequence[Sequence[Any]]:
    cursor = driver.cursor()
    try:
        cursor.execute(sql)
        return cursor.fetchall() if fetch else ()
    finally:
        cursor.close()
