"""What statements do, by their tokens: every write is seen as one."""

from __future__ import annotations

import pytest

from django_querybudget.sql.statements import read

WRITES = [
    # PostgreSQL
    ("postgresql", r"WITH s AS (SELECT replace(a,'\','/')), u AS (UPDATE t SET a=1) SELECT 1", "t"),
    ("postgresql", "WITH s AS (SELECT $a1$ it's $a1$), u AS (DELETE FROM t) SELECT 1", "t"),
    ("postgresql", "/* a /* nested ' */ */ UPDATE t SET a = 1", "t"),
    ("postgresql", "-- a comment\rUPDATE t SET a = 1", "t"),
    ("postgresql", r'UPDATE U&"t\005Ft" SET a = 1', "t_t"),
    ("postgresql", r'UPDATE u&"\+000074" SET a = 1', "t"),
    ("postgresql", "UPDATE PUBLIC . T SET a = 1", "t"),
    ("postgresql", "UPDATE ONLY t* SET a = 1", "t"),
    ("postgresql", "SELECT 1; UPDATE t SET a = 1", "t"),
    ("postgresql", "SET LOCAL work_mem = '8MB'; DELETE FROM t", "t"),
    ("postgresql", "EXPLAIN (ANALYZE, COSTS off) UPDATE t SET a = 1", "t"),
    ("postgresql", "EXPLAIN ANALYSE DELETE FROM t", "t"),
    ("postgresql", "MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN DELETE", "t"),
    ("postgresql", "COPY t FROM STDIN", "t"),
    ("postgresql", "COPY (DELETE FROM t RETURNING *) TO STDOUT", "t"),
    ("postgresql", "TRUNCATE a, t", "t"),
    ("postgresql", "SELECT E'\\'' , 1; UPDATE t SET a = 1", "t"),
    ("postgresql", f"UPDATE {'t' * 63}x SET a = 1", "t" * 63),
    # MySQL and MariaDB
    ("mysql", "SET STATEMENT max_statement_time=9 FOR UPDATE t SET a = 1", "t"),
    ("mysql", "# comment 'x\nUPDATE t SET a = 1", "t"),
    ("mysql", "-- comment 'x\nUPDATE t SET a = 1", "t"),
    ("mysql", "ANALYZE UPDATE t SET a = 1", "t"),
    ("mysql", "ANALYZE FORMAT=JSON UPDATE t SET a = 1", "t"),
    ("mysql", "DESC ANALYZE UPDATE t SET a = 1", "t"),
    ("mysql", "EXPLAIN ANALYZE DELETE FROM t", "t"),
    ("mysql", "WITH x AS (SELECT 1) DELETE FROM t", "t"),
    ("mysql", "/*!50000 UPDATE t SET a = 1 */", "t"),
    ("mysql", "/*M!100100 UPDATE */ t SET a = 1", "t"),
    ("mysql", "REPLACE t (a) VALUES (1)", "t"),
    ("mysql", "SELECT REPLACE(a, 'b', 'c') FROM b; REPLACE INTO t VALUES (1)", "t"),
    ("mysql", r"SELECT 'a\'; -- '; UPDATE t SET a = 1", "t"),
    ("mysql", "LOAD DATA INFILE 'x' INTO TABLE t", "t"),
    ("mysql", 'UPDATE "t" SET a = 1', "t"),
    # SQLite
    ("sqlite", "WITH x AS (SELECT 1) REPLACE INTO t VALUES (1)", "t"),
    ("sqlite", "\ufeffUPDATE t SET a = 1", "t"),
    ("sqlite", " \ufeff -- a\n\ufeff UPDATE [t] SET a = 1", "t"),
    ("sqlite", "UPDATE 't' SET a = 1", "t"),
    ("sqlite", "INSERT OR REPLACE INTO `t` VALUES (1)", "t"),
    ("sqlite", "-- a\r b\nUPDATE t SET a = 1", "t"),
    ("sqlite", r"WITH x AS (SELECT '\') DELETE FROM t", "t"),
]  # fmt: skip


@pytest.mark.parametrize(("vendor", "sql", "table"), WRITES)
def test_a_write_names_its_table(vendor: str, sql: str, table: str) -> None:
    found = read(sql, vendor).statements
    assert any(table in each.names for each in found if each.verbs)


OPAQUE = [
    ("postgresql", "CALL p()"), ("postgresql", "UPDATE other SET a = 1; CALL p()"),
    ("postgresql", "SELECT 1; EXECUTE st"), ("postgresql", "EXPLAIN ANALYZE EXECUTE st"),
    ("postgresql", "COMMIT PREPARED 'a'"), ("postgresql", "DO $a1$ BEGIN END $a1$"),
    ("postgresql", "SELECT 1 INTO t"), ("postgresql", "EXPLAIN ANALYZE CREATE TABLE t AS SELECT 1"),
    ("postgresql", "UPDATE %s SET a = 1"), ("postgresql", "INSERT INTO %(table)s VALUES (1)"),
    ("postgresql", "UPDATE U&\"a!0062\" UESCAPE '!' SET a = 1"), ("postgresql", "NONSENSE t"),
    ("postgresql", "IMPORT FOREIGN SCHEMA a FROM SERVER b INTO c"),
    ("mysql", "EXECUTE IMMEDIATE 'UPDATE t SET a = 1'"), ("mysql", "XA COMMIT 'a'"),
    ("mysql", "SET STATEMENT max_statement_time=9 FOR CALL p()"),
    ("mysql", "BEGIN NOT ATOMIC CALL p(); END"), ("mysql", "IF 1 THEN UPDATE t SET a = 1; END IF"),
    ("mysql", "/*!50000 SELECT */ /*!99999 1 */"), ("mysql", "%s"),
    ("sqlite", "CREATE TABLE a (b)"),
]  # fmt: skip


@pytest.mark.parametrize(("vendor", "sql"), OPAQUE)
def test_what_does_not_tell_what_it_writes_may_write_anything(vendor: str, sql: str) -> None:
    assert any(each.opaque for each in read(sql, vendor).statements)


CALLS = [
    ("postgresql", "/* c */ SELECT fn()"), ("postgresql", "SELECT id FROM fn()"),
    ("postgresql", "WITH x AS (SELECT fn()) SELECT 1"), ("postgresql", "SET a = 1; SELECT fn()"),
    ("postgresql", 'SELECT "fn" (1)'), ("postgresql", "SELECT 1, FN(1)"),
    ("postgresql", "VALUES (1, fn())"), ("postgresql", "INSERT INTO t (a) VALUES (fn())"),
    ("postgresql", "INSERT INTO t (a) SELECT fn(a) FROM b"), ("postgresql", "EXPLAIN SELECT fn()"),
    ("postgresql", "UPDATE t SET a = fn(a)"), ("postgresql", "SELECT 1 WHERE EXISTS(SELECT fn())"),
    ("postgresql", "INSERT INTO t (a) VALUES (1) RETURNING fn(a)"),
    ("postgresql", "DECLARE c CURSOR FOR SELECT fn()"),
    ("postgresql", "SELECT DISTINCT ON (a) fn()"),
    ("postgresql", "SELECT CASE WHEN a THEN fn() END"),
    ("postgresql", "SELECT a FROM t, fn() x(y)"),
    ("postgresql", "SELECT fn/* a */ ()"), ("postgresql", "SELECT fn -- a\n ()"),
    ("postgresql", "SELECT a FROM t ORDER BY fn(a)"), ("postgresql", "SELECT ARRAY(SELECT fn())"),
    ("mysql", "SET @x = fn()"), ("mysql", "SELECT 1, fn()"), ("mysql", "DO fn()"),
    ("mysql", "SELECT `fn`()"), ("mysql", "SELECT STRAIGHT_JOIN fn()"),
    ("sqlite", "SELECT [fn](1)"),
]  # fmt: skip


@pytest.mark.parametrize(("vendor", "sql"), CALLS)
def test_a_function_is_seen_wherever_it_is_called(vendor: str, sql: str) -> None:
    assert "fn" in read(sql, vendor).calls


@pytest.mark.parametrize(
    ("sql", "calls"),
    [
        ('INSERT INTO "t" ("a") VALUES (%s)', set()),
        ("INSERT INTO s.t (a) VALUES (1)", set()),
        ('WITH "c" ("x") AS (SELECT 1) SELECT x FROM c', set()),
        ("WITH RECURSIVE c(x) AS (SELECT 1) SELECT a IN (1), b = ANY (c)", set()),
        ("SELECT s.fn(1), COUNT(*) FILTER (WHERE a) OVER (PARTITION BY b)", {"s.fn", "count"}),
        ("SELECT CAST(a AS numeric(10, 2))", {"cast"}),
        ("VACUUM t (a)", set()), ("SAVEPOINT s", set()), ("ANALYZE t (a)", set()),
    ],
)  # fmt: skip
def test_what_is_no_call(sql: str, calls: set[str]) -> None:
    assert read(sql, "postgresql").calls == calls


@pytest.mark.parametrize(
    ("vendor", "sql"),
    [
        ("postgresql", "SELECT a FROM t FOR UPDATE"),
        ("postgresql", "SELECT a FROM t FOR NO KEY UPDATE OF t SKIP LOCKED"),
        ("postgresql", "SELECT 'UPDATE t', $$DELETE FROM t$$, \"delete\" FROM t -- UPDATE"),
        ("postgresql", "EXPLAIN UPDATE t SET a = 1"),
        ("postgresql", "PREPARE st AS UPDATE t SET a = 1"),
        ("postgresql", "GRANT UPDATE ON t TO u"),
        ("postgresql", "ROLLBACK PREPARED 'a'"), ("postgresql", "LOCK TABLE t"), ("postgresql", ""),
        ("postgresql", "SELECT a LIKE 'x' ESCAPE '\\'"), ("postgresql", "; -- nothing"),
        ("mysql", "SELECT REPLACE(a, 'b', 'c'), INSERT('a', 1, 1, 'b'), TRUNCATE(1.5, 1) FROM t"),
        ("mysql", "SHOW CREATE TABLE t"), ("mysql", "DESCRIBE t"), ("mysql", "SET NAMES utf8mb4"),
        ("sqlite", "PRAGMA table_info(t)"), ("sqlite", "EXPLAIN QUERY PLAN DELETE FROM t"),
        ("sqlite", "SELECT [update], 'UPDATE' FROM t"),
    ],
)  # fmt: skip
def test_what_writes_nothing(vendor: str, sql: str) -> None:
    for each in read(sql, vendor).statements:
        assert (each.verbs, each.opaque) == (frozenset(), "")


@pytest.mark.parametrize(
    ("sql", "sources"),
    [
        ('SELECT a FROM "t" INNER JOIN "u" ON ("t"."a" = "u"."b")', {("t",), ("u",)}),
        ("SELECT a FROM s.t x, u WHERE b IN (SELECT c FROM v, w)",
         {("s", "t"), ("u",), ("v",), ("w",)}),
        ("SELECT a, b FROM (SELECT 1 FROM t) q, LATERAL u", {("t",), ("u",)}),
        ("SELECT EXTRACT(YEAR FROM t.a), b FROM t", {("t", "a"), ("t",)}),
    ],
)  # fmt: skip
def test_sources(sql: str, sources: set[tuple[str, ...]]) -> None:
    assert read(sql, "postgresql").sources == sources
