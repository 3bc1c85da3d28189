"""Runs statements at random, and compares what they change with what was said of them."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.cache.grammar import TABLES, Grammar

ROWS = [(1, 10, "a"), (2, 20, "b"), (3, 30, "c\\")]
Said = Callable[[str], "set[str] | None"]
Contents = Mapping[str, frozenset[tuple[Any, ...]]]


@dataclass
class Result:
    """What came of a run."""

    ran: int = 0
    failed: int = 0
    changed: int = 0
    quiet: int = 0
    missed: list[tuple[str, set[str], set[str] | None]] = field(default_factory=list)
    more: int = 0
    """Statements of which more was said than they changed."""
    everything: int = 0
    errors: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        done = max(self.ran - self.failed, 1)
        return (
            f"{self.ran} statements, {self.failed} refused by the database, {self.changed} changed "
            f"rows, {len(self.missed)} missed; {self.more / done:.1%} renewed more than they "
            f"changed, {self.everything / done:.1%} everything"
        )


class Sandbox:
    """A database in which each statement is undone."""

    vendor: str
    schema = "main"

    def close(self) -> None:
        """Leave nothing behind."""

    def contents(self) -> Contents:
        raise NotImplementedError

    def run(self, sql: str) -> Contents | None:
        """Run a statement and undo it; return the rows after it, None if it was refused."""
        raise NotImplementedError


class SQLite(Sandbox):
    vendor = "sqlite"

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        execute = self.connection.execute
        for table in TABLES:
            execute(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, n INTEGER, t TEXT)")
            self.connection.executemany(f"INSERT INTO {table} VALUES (?, ?, ?)", ROWS)

        def fz_write(value: Any) -> Any:
            execute("UPDATE fz_c SET n = n + 1")
            return value

        self.connection.create_function("fz_write", 1, fz_write)
        self.connection.create_function("fz_read", 1, lambda value: value)
        self.before = self.contents()

    def contents(self) -> Contents:
        return {
            table: frozenset(self.connection.execute(f"SELECT * FROM {table}")) for table in TABLES
        }

    def run(self, sql: str) -> Contents | None:
        connection = self.connection
        connection.execute("BEGIN")
        count = connection.total_changes
        try:
            for _ in connection.execute(sql):
                pass
        except (sqlite3.Error, sqlite3.Warning):
            return None
        else:
            return self.before if connection.total_changes == count else self.contents()
        finally:
            connection.execute("ROLLBACK")


class Server(Sandbox):
    """A database behind a driver's connection, outside of autocommit."""

    routines: tuple[str, ...]

    def __init__(self, connection: Any, schema: str) -> None:
        self.connection = connection
        self.schema = schema
        self.close()
        for table in TABLES:
            self.execute(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, n INTEGER, t TEXT)")
            with connection.cursor() as cursor:
                cursor.executemany(f"INSERT INTO {table} VALUES (%s, %s, %s)", ROWS)
        self.execute(*self.routines)
        self.connection.commit()
        self.before = self.contents()

    def close(self) -> None:
        self.connection.rollback()
        self.execute(*self.removal)
        self.execute(*(f"DROP TABLE IF EXISTS {table}" for table in TABLES))
        self.connection.commit()

    removal: tuple[str, ...]

    def execute(self, *statements: str) -> None:
        for sql in statements:
            with self.connection.cursor() as cursor:
                cursor.execute(sql)
                while cursor.nextset():
                    pass

    def contents(self) -> Contents:
        found = {}
        with self.connection.cursor() as cursor:
            for table in TABLES:
                cursor.execute(f"SELECT * FROM {table}")
                found[table] = frozenset(cursor.fetchall())
        return found

    def run(self, sql: str) -> Contents | None:
        try:
            self.execute(sql)
            return self.contents()
        except Exception as error:  # as the driver says
            if "lost" in str(error).lower() or "closed" in str(error).lower():
                raise
            return None
        finally:
            self.connection.rollback()


class PostgreSQL(Server):
    vendor = "postgresql"
    removal = (
        "DROP FUNCTION IF EXISTS fz_write(int), fz_read(int), fz_rows(int)",
        "DROP PROCEDURE IF EXISTS fz_proc()",
    )
    routines = (
        """CREATE OR REPLACE FUNCTION fz_write(x int) RETURNS int LANGUAGE plpgsql AS
        $$ BEGIN UPDATE public.fz_c SET n = n + 1; RETURN x; END $$""",
        "CREATE OR REPLACE FUNCTION fz_read(x int) RETURNS int LANGUAGE sql STABLE AS 'SELECT x'",
        """CREATE OR REPLACE FUNCTION fz_rows(x int) RETURNS TABLE (id int, n int, t text)
        LANGUAGE plpgsql AS
        $$ BEGIN UPDATE public.fz_c SET n = fz_c.n + x; RETURN QUERY SELECT 1, 1, 'a'; END $$""",
        """CREATE OR REPLACE PROCEDURE fz_proc() LANGUAGE plpgsql AS
        $$ BEGIN UPDATE public.fz_a SET n = fz_a.n + 1; END $$""",
        "PREPARE fz_st AS UPDATE fz_b SET n = n + 1",
    )


class MariaDB(Server):
    vendor = "mysql"
    removal = (
        "DROP FUNCTION IF EXISTS fz_write",
        "DROP FUNCTION IF EXISTS fz_read",
        "DROP PROCEDURE IF EXISTS fz_proc",
    )
    routines = (
        """CREATE FUNCTION fz_write(x int) RETURNS int MODIFIES SQL DATA
        BEGIN UPDATE fz_c SET n = n + 1; RETURN x; END""",
        "CREATE FUNCTION fz_read(x int) RETURNS int RETURN x",
        "CREATE PROCEDURE fz_proc() UPDATE fz_a SET n = n + 1",
    )


def fuzz(sandbox: Sandbox, said: Said, count: int, seed: int) -> Result:
    """Run ``count`` statements; ``said`` tells of one what it renews, as tags of ``d``."""
    grammar = Grammar(sandbox.vendor, random.Random(seed), sandbox.schema)  # noqa: S311 - the same each time
    result = Result()
    before = sandbox.contents()
    for _ in range(count):
        sql = grammar.text()
        result.ran += 1
        told = said(sql)
        after = sandbox.run(sql)
        if after is None:
            result.failed += 1
            continue
        changed = {table for table in TABLES if after[table] != before[table]}
        result.changed += bool(changed)
        if not all(_is_covered(table, before[table], after[table], told) for table in changed):
            result.missed.append((sql, changed, told))
        if told:
            renewed = {tag.split(":")[2] for tag in told if tag[:4] == "d:t:"}
            result.everything += "d:*" in told
            result.more += "d:*" in told or "d:?" in told or not renewed <= changed
    return result


def _is_covered(
    table: str, before: frozenset[Any], after: frozenset[Any], told: set[str] | None
) -> bool:
    if told is None:
        return False
    if "d:*" in told:
        return True
    if f"d:t:{table}" not in told:
        return False
    keys = {row[0] for row in before - after}  # changed or removed
    return f"d:b:{table}" in told or all(f"d:r:{table}:{key}" in told for key in keys)
