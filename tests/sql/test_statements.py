"""What statements do, by their tokens: every write is seen as one."""

from __future__ import annotations

import pytest

from django_querybudget.sql.statements import plain_calls, read

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
        ("postgresql", "((SELECT a FROM t) UNION (SELECT b FROM u))"),
        ("postgresql", "SELECT ';', a"), ("postgresql", 'SELECT ";" FROM t'),
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


TARGETS = [
    # What is written, and whether the statement can write to nothing else.
    ("postgresql", "UPDATE t SET a = 1", {"t"}, "t"),
    ("postgresql", 'UPDATE "S"."T" SET a = 1 FROM b', {"t"}, "t"),
    ("postgresql", "UPDATE ONLY t SET a = 1", {"t"}, ""),
    ("postgresql", "UPDATE t AS x SET a = 1", {"t"}, ""),
    ("postgresql", "DELETE FROM t", {"t"}, "t"),
    ("postgresql", "DELETE FROM s.t WHERE a = 1", {"t"}, "t"),
    ("postgresql", "DELETE FROM ONLY t", {"t"}, ""),
    ("postgresql", "DELETE FROM t USING b", {"t"}, ""),
    ("postgresql", "INSERT INTO t (a) SELECT a FROM b", {"t"}, "t"),
    ("postgresql", "INSERT INTO t SELECT a FROM b", {"t"}, ""),
    ("postgresql", "INSERT INTO t (a) VALUES (1) ON CONFLICT (a) DO UPDATE SET a = 2", {"t"}, "t"),
    ("postgresql", "INSERT INTO t (a) VALUES (1) ON CONFLICT DO NOTHING", {"t"}, "t"),
    ("postgresql", "MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN DELETE", {"t"}, ""),
    ("postgresql", "MERGE INTO t USING s ON a = b WHEN MATCHED THEN UPDATE SET a = 1", {"t"}, ""),
    ("postgresql", "TRUNCATE a, ONLY s.b, TABLE c CASCADE", {"a", "b", "c"}, ""),
    ("postgresql", "TRUNCATE TABLE a", {"a"}, ""),
    ("postgresql", "COPY s.t (a) FROM STDIN", {"t"}, ""),
    ("postgresql", "WITH x AS (UPDATE t SET a = 1 RETURNING a) DELETE FROM u", {"t", "u"}, ""),
    ("postgresql", "WITH x AS (DELETE FROM t) SELECT a FROM u", {"t"}, ""),
    ("postgresql", "UPDATE t SET a = (SELECT b FROM u FOR UPDATE)", {"t"}, "t"),
    ("postgresql", "UPDATE t SET a = 1 WHERE b IN (SELECT b FROM u FOR NO KEY UPDATE)", {"t"}, "t"),
    ("postgresql", "EXPLAIN ANALYZE DELETE FROM t", {"t"}, ""),
    ("postgresql", "SELECT a FROM t", set(), ""),
    ("postgresql", "SELECT a FROM t FOR UPDATE", set(), ""),
    ("postgresql", "UPDATE t x", {"t"}, ""),
    ("postgresql", 'DELETE FROM "only"', {"only"}, "only"),
    ("postgresql", "COPY (DELETE FROM t RETURNING *) TO STDOUT", {"t"}, ""),
    (
        "postgresql",
        "MERGE INTO t USING s ON a WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN DO NOTHING",
        {"t"},
        "",
    ),
    ("postgresql", "INSERT INTO t (copy, a) VALUES (1, 2)", {"t"}, ""),
    ("postgresql", 'INSERT INTO t (b) SELECT copy.a, "into", c FROM copy', {"t"}, ""),
    ("postgresql", 'UPDATE t "," SET a = 1', {"t"}, ""),
    ("postgresql", 'UPDATE t "." SET a = 1', {"t"}, ""),
    (
        "postgresql",
        "UPDATE t SET a = 1 WHERE b IN (SELECT b FROM u FOR UPDATE SKIP LOCKED)",
        {"t"},
        "t",
    ),
    (
        "postgresql",
        "UPDATE t SET a = 1 WHERE b IN (SELECT b FROM u FOR NO KEY UPDATE NOWAIT)",
        {"t"},
        "t",
    ),
    ("postgresql", 'INSERT INTO t (a) SELECT "into" b FROM u', {"t"}, "t"),
    ("postgresql", "PREPARE st AS UPDATE t SET a = 1", set(), ""),
    ("mysql", "INSERT INTO t (a) VALUES (1) ON DUPLICATE KEY UPDATE a = 2", {"t"}, "t"),
    ("sqlite", "UPDATE 't' SET a = 1", set(), ""),
    ("mysql", "UPDATE t, u SET t.a = 1, u.a = 2", {"t", "u"}, ""),
    ("mysql", "UPDATE `t` SET a = 1", {"t"}, "t"),
    ("mysql", "DELETE FROM t, u USING t INNER JOIN u", {"t", "u"}, ""),
    ("postgresql", "UPDATE t SET a = (WITH x AS (DELETE FROM u) SELECT 1)", {"t", "u"}, ""),
    ("sqlite", "UPDATE t SET a = 'x", {"t"}, ""),  # who knows what follows
    ("sqlite", "DELETE FROM t", {"t"}, "t"),
    ("sqlite", "UPDATE [T] SET a = 1", {"t"}, "t"),
    ("sqlite", "INSERT OR REPLACE INTO t (a) VALUES (1)", {"t"}, ""),
]


@pytest.mark.parametrize(("vendor", "sql", "targets", "alone"), TARGETS)
def test_what_a_write_is_to(vendor: str, sql: str, targets: set[str], alone: str) -> None:
    (found,) = read(sql, vendor).statements
    assert (found.targets, found.alone) == (targets, alone)


@pytest.mark.parametrize(
    ("vendor", "sql", "opaque"),
    [
        ("postgresql", "UPDATE U&\"a!0062\" UESCAPE '!' SET a = 1", "UESCAPE"),
        ("mysql", "SELECT uescape FROM t", ""),
        ("postgresql", "UPDATE %s SET a = 1", "a parameter that is a name"),
        ("postgresql", "UPDATE t SET a = %s", ""),
        ("sqlite", "SELECT 'a", "unclosed quotes or comment"),
        ("postgresql", "SELECT 1 INTO t", "SELECT INTO"),
        ("mysql", "SELECT 1 INTO @t", ""),
        ("postgresql", "WITH x AS (INSERT INTO t SELECT 1) SELECT 1", ""),
        ("postgresql", "COMMIT PREPARED 'a'", "COMMIT PREPARED"),
        ("postgresql", "PREPARE TRANSACTION 'a'", ""),
        ("postgresql", "DECLARE c CURSOR FOR SELECT a FROM t", ""),
        ("postgresql", "EXPLAIN CREATE TABLE t AS SELECT 1", ""),
        ("postgresql", "EXPLAIN ANALYZE CREATE TABLE t AS SELECT 1", "EXPLAIN CREATE"),
        ("postgresql", "EXPLAIN (ANALYSE) EXECUTE st", "EXPLAIN EXECUTE"),
        ("mysql", "SET a = 1, b = CALL", ""),
        ("mysql", "SET STATEMENT a=9 FOR CALL p()", "SET CALL"),
        ("mysql", "SET STATEMENT a=9 FOR SELECT 1", ""),
        ("mysql", "BEGIN NOT ATOMIC CALL p(); END", "BEGIN NOT ATOMIC"),
        ("postgresql", "DO $$ BEGIN END $$", "DO"),
        ("mysql", "DO SLEEP(1)", ""),
        ("postgresql", "LOAD 'library'", "LOAD"),
        ("postgresql", "CALL p()", "CALL"),
        ("mysql", "LOAD DATA INFILE 'x' INTO TABLE t", ""),
        ("mysql", "ANALYZE CALL p()", "ANALYZE CALL"),
        ("postgresql", "ANALYSE t", ""),
        ("mysql", "DESC t", ""),
        ("postgresql", "VALUES (1)", ""),
        ("postgresql", "TABLE t", ""),
        ("postgresql", "FETCH 1 FROM c", ""),
        ("postgresql", "BEGIN", ""),
        ("postgresql", "BEGIN ISOLATION LEVEL SERIALIZABLE", ""),
        ("postgresql", "ROLLBACK NOT", ""),  # nobody's SQL
        ("postgresql", "COMMIT", ""),
        ("postgresql", "COMMIT PREPARED", "COMMIT PREPARED"),  # nobody's SQL
        ("postgresql", "ROLLBACK PREPARED 'a'", ""),
        ("sqlite", "SELECT a, b; SELECT 'a", ""),
        ("postgresql", "(", "a statement that begins with no word"),
        ("postgresql", "%s", "a statement that begins with no word"),
        ("postgresql", f"{'X' * 50} t", "X" * 40),
    ],
)
def test_why_it_may_write_what_it_does_not_name(vendor: str, sql: str, opaque: str) -> None:
    assert read(sql, vendor).statements[0].opaque == opaque


@pytest.mark.parametrize(
    ("vendor", "sql", "verbs", "removes"),
    [
        ("postgresql", "UPDATE t SET a = 1", {"UPDATE"}, False),
        ("postgresql", "INSERT INTO t (a) VALUES (1)", {"INSERT"}, False),
        ("postgresql", "DELETE FROM t", {"DELETE"}, True),
        ("postgresql", "TRUNCATE t", {"TRUNCATE"}, True),
        ("mysql", "REPLACE INTO t VALUES (1)", {"REPLACE"}, True),
        ("postgresql", "MERGE INTO t USING s ON a = b WHEN MATCHED THEN DELETE",
         {"MERGE", "DELETE"}, True),
        ("postgresql", "INSERT INTO t (a) VALUES (1) ON CONFLICT (a) DO UPDATE SET a = 2",
         {"INSERT", "UPDATE"}, False),
        ("postgresql", "SELECT a FROM t FOR UPDATE", set(), False),
        ("postgresql", "SELECT a FROM t FOR NO KEY UPDATE", set(), False),
        ("postgresql", "SELECT a KEY UPDATE", {"UPDATE"}, False),  # nobody's SQL: to be sure
        ("postgresql", "MERGE INTO t USING s ON a = b WHEN MATCHED THEN UPDATE SET a = 1",
         {"MERGE", "UPDATE"}, True),
        ("postgresql", "SELECT a NO b UPDATE", {"UPDATE"}, False),
        ("postgresql", "SELECT a FOR DELETE", {"DELETE"}, True),
        ("postgresql", "SELECT t.update FROM t", set(), False),
        ("postgresql", 'SELECT "UPDATE" FROM t', set(), False),
        ("postgresql", "COPY (SELECT 1) TO STDOUT", {"COPY"}, False),
        ("postgresql", "DECLARE c CURSOR FOR SELECT copy FROM t", set(), False),
        ("postgresql", "DECLARE c CURSOR FOR SELECT a FROM t FOR UPDATE", set(), False),
        ("postgresql", "PREPARE a AS DELETE FROM t", set(), False),
        ("postgresql", "EXPLAIN DELETE FROM t", set(), False),
        ("postgresql", "EXPLAIN ANALYZE DELETE FROM t", {"DELETE"}, True),
        ("postgresql", "COMMIT AND CHAIN UPDATE", set(), False),
    ],
)  # fmt: skip
def test_what_writes_in_it(vendor: str, sql: str, verbs: set[str], removes: bool) -> None:
    (found,) = read(sql, vendor).statements
    assert (found.verbs, found.removes) == (verbs, removes)


@pytest.mark.parametrize(
    ("vendor", "sql", "names"),
    [
        ("postgresql", """SELECT "A" FROM S.t WHERE c = 'd'""",
         {"select", "a", "from", "s", "t", "where", "c"}),
        ("sqlite", "UPDATE 'T' SET a = 1", {"update", "t", "set", "a"}),
        ("mysql", 'UPDATE "T" SET a = 1', {"update", "t", "set", "a"}),
        ("mysql", f"DO '{'x' * 256}'", {"do", "x" * 256}),
        ("mysql", f"DO '{'x' * 257}'", {"do"}),
        ("postgresql", f"TABLE {'x' * 64}", {"table", "x" * 64, "x" * 63}),
        ("postgresql", f"TABLE {'é' * 40}", {"table", "é" * 40, "é" * 31}),
        ("postgresql", "TABLE " + "\U00010000" * 16,
         {"table", "\U00010000" * 15, "\U00010000" * 16}),
        ("postgresql", "TABLE " + "\ud800" * 64, {"table", "\ud800" * 64, "?" * 63}),
        ("sqlite", f"TABLE {'x' * 64}", {"table", "x" * 64}),
    ],
)  # fmt: skip
def test_what_may_name_a_table(vendor: str, sql: str, names: set[str]) -> None:
    assert read(sql, vendor).names == names


@pytest.mark.parametrize(
    ("sql", "unsteady"),
    [
        ("SELECT a, CURRENT_DATE FROM t WHERE b = LOCALTIME", ("CURRENT_DATE", "LOCALTIME")),
        ("SELECT * FROM t TABLESAMPLE SYSTEM (1)", ("TABLESAMPLE",)),
        ("SELECT date(), date(a), datetime('now'), date", ("date()", "'now'")),
        ("SELECT time(b, ), unixepoch( )", ("unixepoch()",)),
        ("SELECT timestamp ' Today '", ("' Today '",)),
        ("SELECT 'nowhere', a FROM t", ()),
        ("SELECT a FROM t", ()),
        ('SELECT "today", fn() FROM t', ()),
        ("SELECT 'tomorrow', 'yesterday', 'allballs'", ("tomorrow", "yesterday", "allballs")),
    ],
)
def test_what_may_be_another_at_the_next_run(sql: str, unsteady: tuple[str, ...]) -> None:
    found = read(sql, "sqlite").unsteady
    assert tuple(each.strip("'") for each in found) == tuple(each.strip("'") for each in unsteady)


def test_a_variable_may_be_another_at_the_next_run() -> None:
    assert read("SELECT @a", "mysql").unsteady == ("@a",)


@pytest.mark.parametrize(
    ("sql", "repeated"),
    [
        ('SELECT "t"."a" FROM "t"', set()),  # a name before a dot says of which table
        ('SELECT "t"."a" FROM "t" INNER JOIN "T" u ON (1)', {"t"}),
        ("SELECT a FROM t WHERE a = 1", {"a"}),
        ("SELECT 't', t FROM u", set()),
        ("SELECT t FROM t.", set()),  # no SQL
    ],
)
def test_names_that_stand_more_than_once(sql: str, repeated: set[str]) -> None:
    assert read(sql, "postgresql").repeated == repeated


@pytest.mark.parametrize(
    ("sql", "sources"),
    [
        ("SELECT a) FROM t, u", {("t",), ("u",)}),
        ("SELECT a FROM t WHERE b IN (1, 2), c", {("t",)}),
        ("SELECT a FROM (t, u), v WHERE d, e", {("t",), ("u",), ("v",)}),
        ("SELECT a FROM ONLY s.t ORDER BY b, c", {("s", "t")}),
        ("SELECT a FROM s.t", {("s", "t")}),
        ("WITH x AS (SELECT 1), y AS (SELECT 2) SELECT 3", set()),
        ('SELECT "from", a FROM t* x', {("t",)}),
        ("SELECT a FROM %s, t", {("t",)}),
        ("DELETE FROM T RETURNING a, b", {("t",)}),
        ("SELECT a FROM t JOIN u ON b = c, v", {("t",), ("u",)}),
        ("SELECT a FROM t UNION SELECT b, c FROM u", {("t",), ("u",)}),
    ],
)
def test_more_sources(sql: str, sources: set[tuple[str, ...]]) -> None:
    assert read(sql, "postgresql").sources == sources


@pytest.mark.parametrize(
    ("sql", "calls"),
    [
        ("SELECT fn()", {"fn"}),
        ("SELECT s.fn()", {"s.fn"}),
        ('SELECT "D"."S".FN (1)', {"d.s.fn"}),
        ("fn()", {"fn"}),
        ("fn() as", {"fn"}),
        ("s.fn()", {"s.fn"}),
        ("a.fn() s.fn()", {"a.fn", "s.fn"}),
        ("INSERT INTO a.b.fn (c) SELECT 1", set()),
        ("REPLACE INTO fn (a) SELECT other()", {"other"}),
        ("REINDEX fn(1)", set()),
        ("COMMIT fn()", set()),
        ("BEGIN fn()", set()),
        ("ANALYZE fn (a)", set()),
        ("PREPARE st AS SELECT fn()", {"fn"}),
        ('SELECT a FROM "into" fn ()', {"fn"}),
        ("SELECT (a).fn()", {"fn"}),
        ("SELECT a FROM s.t AS fn (b)", set()),
        ("SELECT fn(", {"fn"}),  # no SQL
    ],
)
def test_calls_by_their_names(sql: str, calls: set[str]) -> None:
    assert read(sql, "postgresql").calls == calls


def test_analyze_runs_a_statement_in_mariadb_alone() -> None:
    assert read("ANALYZE SELECT fn()", "mysql").calls == {"fn"}
    assert read("ANALYZE fn (a)", "sqlite").calls == set()


PLAIN = [
    ('SELECT "t"."a" FROM "t"', set()),
    ("SELECT `t`.`a`, COUNT(*) FROM `t`", {"count"}),
    ('SELECT COALESCE("a", Lower (b)) FROM "t" WHERE "a" IN (%s)', {"coalesce", "lower"}),
    ("SELECT t.a FROM t", set()),
    ("SELECT a FROM t FOR UPDATE", None),
    ("SELECT REPLACE(a, b, c)", None),
    ("SELECT 1 INTO t", None),
    ("SELECT 1 UESCAPE", None),
    ("SELECT CREATE", None),
    ('SELECT "fn"(1)', None),
    ("SELECT s.fn(1)", None),
    ("SELECT s . fn (1)", None),
    ("SELECT 'a'", None),
    ("SELECT 1 -- a", None),
    ("SELECT 1 /* a */", None),
    ("SELECT 1; SELECT 2", None),
    ("SELECT [a]", None),
    ("SELECT @a", None),
    ("SELECT $1", None),
    ("SELECT a # b", None),
    ("SELECT a\\b", None),
    ("\ufeffSELECT 1", None),
    ("select 1", None),
    ("SELECT\n1", None),
    ("UPDATE t SET a = 1", None),
]


@pytest.mark.parametrize(("sql", "calls"), PLAIN)
def test_a_quicker_look(sql: str, calls: set[str] | None) -> None:
    assert plain_calls(sql) == calls


@pytest.mark.parametrize(
    ("vendor", "sql", "is_one"),
    [
        ("mysql", "/*!50000 SELECT */ /*!99999 1 */", True),
        ("mysql", "SELECT /*!50000 1 */", False),
        ("mysql", "SELECT /*!50000 1 */ /*M!100100 + 1 */", True),
        ("postgresql", "SELECT /*!50000 1 */ /*!99999 2 */", False),
    ],
)
def test_two_executable_comments_may_run_or_not(vendor: str, sql: str, is_one: bool) -> None:
    found = {each.opaque for each in read(sql, vendor).statements}
    assert ("executable comments" in found) is is_one


def test_no_text_is_too_odd_to_read() -> None:
    for sql in ("(", "((", ")", ".", "fn(", "a.", "a.(", "INTO", "UPDATE", "TRUNCATE a,", ";;"):
        for vendor in ("sqlite", "postgresql", "mysql"):
            assert isinstance(read(sql, vendor).statements, tuple)
