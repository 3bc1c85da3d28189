"""Shapes, kinds and names of SQL text."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_querybudget.sql.fingerprints import (
    StatementKind,
    fingerprint,
    identifiers,
    statement_kind,
)


@pytest.mark.parametrize(
    ("sql", "shape"),
    [
        ("SELECT 1", "SELECT ?"),
        ("SELECT %s, %(name)s, $1, :name, -1.5e3, 0xFF", "SELECT ?, ?, ?, ?, -?, ?"),
        ("SELECT 'it''s', 'a\\'b', E'\\n', X'00'", "SELECT ?, ?, ?, ?"),
        ("SELECT $$a 'b' c$$, $tag$ $$ $tag$", "SELECT ?, ?"),
        ("SELECT a::text, a->>'b'", "SELECT a::text, a->>?"),
        ("SELECT *\n  FROM\tt  WHERE a = 1;", "SELECT * FROM t WHERE a = ?"),
        ("SELECT 1 -- a 'comment\nFROM t", "SELECT ? FROM t"),
        ("/* view='jobs' */ SELECT /* x */ a FROM t", "SELECT a FROM t"),
        ("SELECT '--no comment', '/*' FROM t", "SELECT ?, ? FROM t"),
        ("SELECT a FROM t LIMIT 20 OFFSET 40", "SELECT a FROM t LIMIT ? OFFSET ?"),
    ],
)
def test_literals_comments_and_white_space_are_taken_out(sql: str, shape: str) -> None:
    assert fingerprint(sql) == shape


def test_a_quoted_identifier_is_not_a_literal() -> None:
    assert fingerprint("""SELECT "a 1"."b" FROM `c 2`""") == """SELECT "a 1"."b" FROM `c 2`"""
    assert fingerprint('SELECT "a" FROM "t1"') != fingerprint('SELECT "a" FROM "t2"')


def test_digits_in_names_are_not_numbers() -> None:
    assert fingerprint("SELECT T3.id, U0.a2 FROM t1 T3") == "SELECT T3.id, U0.a2 FROM t1 T3"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT a FROM t WHERE b IN (%s)",
        "SELECT a FROM t WHERE b IN (%s, %s, %s)",
        "SELECT a FROM t WHERE b IN (1,2)",
        "SELECT a FROM t WHERE b IN ('x', 'y')",
        "SELECT a FROM t WHERE b IN (-1, - 2, NULL)",
        "SELECT a FROM t WHERE b IN (%s::int, %s::int)",
        "SELECT a FROM t WHERE b IN ((%s, %s), (%s, %s))",
    ],
)
def test_the_length_of_an_in_list_does_not_matter(sql: str) -> None:
    assert fingerprint(sql) == "SELECT a FROM t WHERE b IN (...)"


def test_an_in_of_a_subquery_is_kept() -> None:
    shape = fingerprint("SELECT a FROM t WHERE b IN (SELECT id FROM u WHERE c = 3)")
    assert shape == "SELECT a FROM t WHERE b IN (SELECT id FROM u WHERE c = ?)"


@pytest.mark.parametrize(
    "rows", ["(%s, %s)", "(%s, %s), (%s, %s)", "(1, lower('x')), (2, DEFAULT), (NULL, 3)"]
)
def test_the_number_of_rows_inserted_does_not_matter(rows: str) -> None:
    assert fingerprint(f"INSERT INTO t (a, b) VALUES {rows}") == (
        "INSERT INTO t (a, b) VALUES (...)"
    )


def test_names_of_savepoints_and_cursors_are_taken_out() -> None:
    assert fingerprint('SAVEPOINT "s140_x1"') == fingerprint('SAVEPOINT "s139_x22"')
    assert fingerprint("RELEASE SAVEPOINT `s1_x1`") == "RELEASE SAVEPOINT ?"
    first, second = (
        f'FETCH FORWARD 100 FROM "_django_curs_{number}_sync_1"' for number in (139, 140)
    )
    assert fingerprint(first) == fingerprint(second)


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("SELECT 1", StatementKind.READ),
        ("  (SELECT 1) UNION (SELECT 2)", StatementKind.READ),
        ("-- why\n/* who */ select 1", StatementKind.READ),
        ("SELECT a FROM t FOR UPDATE", StatementKind.READ),
        ("insert into t values (1)", StatementKind.WRITE),
        ("UPDATE t SET a = 1", StatementKind.WRITE),
        ("DELETE FROM t", StatementKind.WRITE),
        ("MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN DELETE", StatementKind.WRITE),
        ("REPLACE INTO t VALUES (1)", StatementKind.WRITE),
        ("TRUNCATE t", StatementKind.WRITE),
        ("CREATE INDEX i ON t (a)", StatementKind.SCHEMA),
        ("BEGIN", StatementKind.TRANSACTION),
        ("START TRANSACTION", StatementKind.TRANSACTION),
        ("SAVEPOINT s1", StatementKind.TRANSACTION),
        ("RELEASE SAVEPOINT s1", StatementKind.TRANSACTION),
        ("ROLLBACK TO SAVEPOINT s1", StatementKind.TRANSACTION),
        ("COMMIT;", StatementKind.TRANSACTION),
        ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", StatementKind.TRANSACTION),
        ("SET search_path TO x", StatementKind.OTHER),
        ("PRAGMA foreign_keys", StatementKind.OTHER),
        ("EXPLAIN SELECT 1", StatementKind.OTHER),
        ("", StatementKind.OTHER),
        ("?!", StatementKind.OTHER),
    ],
)
def test_the_kind_of_a_statement(sql: str, kind: StatementKind) -> None:
    assert statement_kind(sql) is kind


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("WITH a AS (SELECT 1) SELECT * FROM a", StatementKind.READ),
        ("WITH a AS (SELECT 1) INSERT INTO t SELECT * FROM a", StatementKind.WRITE),
        ("WITH a AS (DELETE FROM t RETURNING *) SELECT * FROM a", StatementKind.WRITE),
        ("WITH a AS (SELECT 1 FROM t FOR UPDATE) SELECT * FROM a", StatementKind.READ),
        ("WITH a AS (SELECT 1 FROM t FOR\nNO KEY UPDATE) SELECT * FROM a", StatementKind.READ),
        ("WITH a AS (SELECT 'delete') SELECT * FROM a -- update", StatementKind.READ),
        ('WITH "update" AS (SELECT 1) SELECT * FROM "update"', StatementKind.READ),
        ("WITH a AS (SELECT 1) REPLACE INTO t SELECT * FROM a", StatementKind.WRITE),
        ("WITH a AS (SELECT 1) INSERT OR REPLACE INTO t SELECT 1", StatementKind.WRITE),
        ("WITH a AS (SELECT 1) UPSERT  INTO t SELECT * FROM a", StatementKind.WRITE),
        ("WITH a AS (SELECT REPLACE(b, 'x', 'y') FROM t) SELECT 1", StatementKind.READ),
        ("WITH a AS (SELECT INSERT ('a', 1, 1, 'b')) SELECT 1", StatementKind.READ),
        ('WITH a AS (SELECT 1) INSERT "t" (a) SELECT 1', StatementKind.WRITE),
        ('WITH a AS (SELECT 1 AS "replace") SELECT a.replace, replace FROM a', StatementKind.READ),
    ],
)
def test_the_first_word_of_a_cte_says_nothing(sql: str, kind: StatementKind) -> None:
    assert statement_kind(sql) is kind


def test_identifiers_are_too_many_rather_than_too_few() -> None:
    sql = """SELECT "a b"."c" FROM "jobs""x", `m`, plain WHERE d = 'accounts_otp'"""
    assert {"a b", "c", 'jobs"x', "m", "plain", "d", "accounts_otp"} <= identifiers(sql)


SQL_TEXT = st.text(alphabet=" \n;,()'\"`%s$:?-/*\\abcSELECTINVALUES01.x", max_size=80)


@given(SQL_TEXT)
def test_any_text_has_a_shape_and_a_kind(sql: str) -> None:
    assert isinstance(fingerprint(sql), str)
    assert isinstance(statement_kind(sql), StatementKind)
    assert isinstance(identifiers(sql), frozenset)


@given(st.lists(st.integers(0, 10**9), min_size=1), st.integers(0, 10**9))
def test_no_value_is_left_in_a_shape(values: list[int], limit: int) -> None:
    listed = ", ".join(map(str, values))
    sql = f'SELECT "a" FROM "t" WHERE "b" IN ({listed}) LIMIT {limit}'
    assert fingerprint(sql) == 'SELECT "a" FROM "t" WHERE "b" IN (...) LIMIT ?'


@given(st.text(alphabet="abc '\n-/*%", max_size=30))
def test_a_text_literal_never_shows_in_a_shape(text: str) -> None:
    literal = "'" + text.replace("'", "''") + "'"
    assert fingerprint(f"SELECT a FROM t WHERE b = {literal} AND c = 1") == (
        "SELECT a FROM t WHERE b = ? AND c = ?"
    )


@pytest.mark.parametrize("comment", ["-" * 80, "-- " * 80, "/*a*/" * 80, "/*" * 80])
def test_a_statement_of_comments_alone_does_not_blow_up(comment: str) -> None:
    # Would take longer than the universe has existed if the comments could be cut up again.
    assert statement_kind(f"{comment}\n1") is StatementKind.OTHER
    assert statement_kind(comment) is StatementKind.OTHER


def test_a_word_of_a_comment_is_never_the_first_word() -> None:
    assert statement_kind("-- drop the table\n?") is StatementKind.OTHER
    assert statement_kind("/* a */ /* b */ SELECT 1 /* delete */") is StatementKind.READ


def test_the_escape_clause_of_sqlite_is_a_literal_of_its_own() -> None:
    like = "a LIKE %s ESCAPE '\\'"
    other = "b LIKE %s ESCAPE '\\'"
    assert fingerprint(f"SELECT 1 FROM t WHERE {like} AND {other}") == (
        "SELECT ? FROM t WHERE a LIKE ? ESCAPE ? AND b LIKE ? ESCAPE ?"
    )
    assert fingerprint(f"SELECT 1 FROM t WHERE {like} AND c = 1 AND {other}") != fingerprint(
        f"SELECT 1 FROM t WHERE {like} AND {other}"
    )
    hidden = f"WITH x AS (SELECT 1 FROM t WHERE {like}) DELETE FROM t WHERE {other}"
    assert statement_kind(hidden) is StatementKind.WRITE
    assert fingerprint("SELECT a LIKE %s ESCAPE '\\\\', 'x'") == "SELECT a LIKE ? ESCAPE ?, ?"


def test_a_long_text_is_not_kept_in_memory() -> None:
    tracemalloc.start()
    try:
        for number in range(10):
            sql = f"INSERT INTO t{number} VALUES " + ", ".join(["(%s, %s)"] * 20_000)
            assert fingerprint(sql) == f"INSERT INTO t{number} VALUES (...)"
            assert statement_kind(sql) is StatementKind.WRITE
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < len(sql) * 5


@pytest.mark.parametrize(
    ("piece", "number"),
    [
        ("\\'", 500_000), ("$a{}$ ", 50_000), ("/* a */ ", 50_000), ("' ", 9_001), ('" ', 9_001),
        ("VALUES (a (b) ", 20_000), ("IN (?, ?", 20_000), ("SELECT (", 20_000), ("-- ", 100_000),
    ],
)  # fmt: skip
def test_a_hostile_text_is_read_in_one_pass(piece: str, number: int) -> None:
    """One look at each character takes parts of a second; one for each other, minutes."""
    sql = "WITH " + "".join(piece.replace("{}", str(each)) for each in range(number))
    assert fingerprint(sql)[:4] == "WITH"
    assert isinstance(statement_kind(sql), StatementKind)
    assert identifiers(sql)


def test_a_list_that_is_not_closed_takes_linear_time() -> None:
    """Text that was cut, or that the database refuses: it took time exponential in its length."""
    for list_ in ("%s, " * 5_000, "(%s, %s), " * 2_000, "(%s, %s), " * 2_000 + "(%s, "):
        assert fingerprint(f"SELECT a FROM t WHERE a IN ({list_}").startswith("SELECT a FROM t")
