"""What PostgreSQL itself has counted: :func:`read_statements` asks ``pg_stat_statements``.

Asked only by who looks at the page or the report, on a connection of its own: nothing is asked in
a request's transaction, and what fails there aborts nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connections

__all__ = ["MOST_STATEMENTS", "Statement", "Statements", "postgresql_aliases", "read_statements"]

MOST_STATEMENTS = 500
"""So many statements are read, those that took the database longest."""
LONGEST_SECONDS = 2
"""What the questions may take, each; and what connecting may."""
_LONGEST_TEXT = 2_000

_EXTENSION = """
SELECT e.extversion, quote_ident(n.nspname), current_user
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
WHERE e.extname = 'pg_stat_statements'
"""
# Of this database alone; what a function or a cursor ran is in the time of its caller already.
_STATEMENTS = """
SELECT left(s.query, {longest}), s.calls, s.total_exec_time / 1000, s.rows,
       s.shared_blks_hit, s.shared_blks_read,
       sum(s.total_exec_time) OVER () / 1000, sum(s.shared_blks_hit) OVER (),
       sum(s.shared_blks_read) OVER (), count(*) OVER (),
       count(*) FILTER (WHERE s.queryid IS NULL) OVER ()
FROM {schema}.pg_stat_statements s
WHERE s.toplevel AND s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY s.total_exec_time DESC, s.queryid LIMIT {most}
"""
_INFO = "SELECT dealloc, stats_reset FROM {schema}.pg_stat_statements_info"


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, as PostgreSQL tells them apart."""

    text: str
    """With ``$1`` for each constant; empty where it may not be read."""
    calls: int
    seconds: float
    rows: int
    blocks_hit: int
    """Blocks that were in PostgreSQL's own cache."""
    blocks_read: int
    """Blocks that were not."""


@dataclass(frozen=True, kw_only=True)
class Statements:
    """What one database has counted, the costliest statements first."""

    alias: str
    statements: tuple[Statement, ...] = ()
    number: int = 0
    """How many statements there are; of them at most :data:`MOST_STATEMENTS` are here."""
    seconds: float = 0.0
    """Of all statements."""
    blocks_hit: int = 0
    blocks_read: int = 0
    since: datetime | None = None
    """When the counting began."""
    problems: tuple[str, ...] = ()
    """What is missing, each with the way out."""


def postgresql_aliases() -> list[str]:
    """Return the aliases of the PostgreSQL databases; one of each database."""
    found: dict[tuple[str, ...], str] = {}
    for alias in connections:
        if connections[alias].vendor == "postgresql":
            settings = connections[alias].settings_dict
            where = tuple(str(settings.get(name)) for name in ("HOST", "PORT", "NAME"))
            found.setdefault(where, alias)
    return list(found.values())


def read_statements(alias: str) -> Statements:
    """Return what the database ``alias`` has counted. Raises nothing: see ``problems``."""
    try:
        with _own_connection(alias) as ask:
            return _read(alias, ask)
    except Exception as error:  # the host's database: any driver's errors, on any day
        return Statements(alias=alias, problems=(_problem(alias, error),))


def _read(alias: str, ask: Callable[[str], list[tuple[Any, ...]]]) -> Statements:
    extension = ask(_EXTENSION)
    if not extension:
        return Statements(alias=alias, problems=(_not_there(alias),))
    version, schema, user = extension[0]
    if tuple(map(int, str(version).split("."))) < (1, 9):
        update = (
            f"pg_stat_statements of {alias!r} is {version}, and 1.9 is needed: "
            "ALTER EXTENSION pg_stat_statements UPDATE;"
        )
        return Statements(alias=alias, problems=(update,))
    forgotten, since = ask(_INFO.format(schema=schema))[0]
    rows = ask(_STATEMENTS.format(schema=schema, longest=_LONGEST_TEXT, most=MOST_STATEMENTS))
    if not rows:
        return Statements(alias=alias, since=since)
    *_, seconds, hit, read, number, hidden = rows[0]
    return Statements(
        alias=alias,
        statements=tuple(
            Statement("" if text is None or text == _HIDDEN else text, *numbers[:5])
            for text, *numbers in rows
        ),
        number=number,
        seconds=seconds,
        blocks_hit=int(hit),
        blocks_read=int(read),
        since=since,
        problems=tuple(_remarks(alias, user, forgotten, hidden)),
    )


_HIDDEN = "<insufficient privilege>"


def _remarks(alias: str, user: str, forgotten: int, hidden: int) -> Iterator[str]:
    if hidden:
        yield (
            f"{hidden} statements of other users cannot be read in {alias!r}: "
            f"GRANT pg_read_all_stats TO {user};"
        )
    if forgotten:
        yield (
            f"{alias!r} has forgotten its rarest statements {forgotten} times: raise "
            "pg_stat_statements.max, or the shares below are of less than all."
        )


def _not_there(alias: str) -> str:
    return (
        f"{alias!r} does not count its statements: put pg_stat_statements into "
        "shared_preload_libraries, restart PostgreSQL, and run "
        "CREATE EXTENSION pg_stat_statements;"
    )


def _problem(alias: str, error: Exception) -> str:
    code = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    if code == "55000":  # the extension is made, the library is not loaded
        return _not_there(alias)
    if code == "42501":
        return (
            f"pg_stat_statements of {alias!r} may not be read: GRANT pg_read_all_stats, and SELECT "
            "on the view, to the user of Django."
        )
    if code == "57014":
        return f"pg_stat_statements of {alias!r} took longer than {LONGEST_SECONDS} s; ask again."
    told = (str(error).strip().splitlines() or [""])[0][:200]
    return f"{alias!r} cannot be asked: {type(error).__name__}: {told}"


@contextmanager
def _own_connection(alias: str) -> Iterator[Callable[[str], list[tuple[Any, ...]]]]:
    """Yield a function that asks the database ``alias``, in a transaction that ends with the block.

    The driver's own connection, past Django's: it is none of those that are counted or tested.
    """
    wrapper: Any = connections[alias].copy()
    wrapper.settings_dict.get("OPTIONS", {}).pop("pool", None)
    parameters = wrapper.get_connection_params()
    parameters.setdefault("connect_timeout", LONGEST_SECONDS)
    connection = wrapper.get_new_connection(parameters)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION READ ONLY")
            # Local: behind PgBouncer the connection is another's afterwards.
            cursor.execute(f"SET LOCAL statement_timeout = '{LONGEST_SECONDS}s'")

            def ask(sql: str) -> list[tuple[Any, ...]]:
                cursor.execute(sql)
                rows: list[tuple[Any, ...]] = cursor.fetchall()
                return rows

            yield ask
    finally:
        connection.close()
