"""What each statement changes of a session, by its text: as the databases' manuals have it.

:mod:`tests.cache.test_sessions` runs them; here are the forms that a manual has, one by one.
"""

from __future__ import annotations

from typing import Any

import pytest

from django_querybudget.cache.sessions.changes import changes_of
from django_querybudget.cache.sessions.kinds import Change, ChangeKind

POSTGRESQL, MYSQL, SQLITE = "postgresql", "mysql", "sqlite"
NOTHING: list[Change] = []


def given(name: str, value: str | None, *, local: bool | None = False) -> list[Change]:
    return [Change(ChangeKind.SET, name, value, local)]


def lost(what: str) -> list[Change]:
    return [Change(ChangeKind.LOSS, what)]


BY_TEXT: list[tuple[str, str, list[Change]]] = [
    # https://www.postgresql.org/docs/current/sql-set.html
    (POSTGRESQL, "SET search_path TO t1", given("search_path", "t1")),
    (POSTGRESQL, "SET search_path = t1, public", given("search_path", "t1 , public")),
    (POSTGRESQL, "SET SESSION search_path TO t1", given("search_path", "t1")),
    (POSTGRESQL, "SET LOCAL search_path TO t1", given("search_path", "t1", local=True)),
    (POSTGRESQL, "SET search_path TO DEFAULT", given("search_path", "")),
    (POSTGRESQL, "SET SCHEMA 't1'", given("search_path", "'t1'")),
    (POSTGRESQL, "SET NAMES 'LATIN1'", given("client_encoding", "'LATIN1'")),
    (POSTGRESQL, "SET TIME ZONE 'UTC'", given("timezone", "'UTC'")),
    (POSTGRESQL, "SET LOCAL TIME ZONE 'UTC'", given("timezone", "'UTC'", local=True)),
    (POSTGRESQL, "SET TIME ZONE LOCAL", given("timezone", "")),
    (POSTGRESQL, "SET TIME ZONE -7", given("timezone", "-7")),
    (POSTGRESQL, "SET app.tenant = '1'", given("app.tenant", "'1'")),
    (POSTGRESQL, "SET SEED TO 0.5", NOTHING),
    (POSTGRESQL, "SET XML OPTION DOCUMENT", NOTHING),
    (POSTGRESQL, "SET statement_timeout = 100", NOTHING),
    (POSTGRESQL, "SET LOCAL lock_timeout = 100", NOTHING),
    # https://www.postgresql.org/docs/current/sql-set-role.html, …-session-authorization.html
    (POSTGRESQL, "SET ROLE reader", given("role", "reader")),
    (POSTGRESQL, "SET SESSION ROLE 'reader'", given("role", "'reader'")),
    (POSTGRESQL, "SET LOCAL ROLE reader", given("role", "reader", local=True)),
    (POSTGRESQL, "SET ROLE NONE", given("role", "")),
    (POSTGRESQL, "SET role = reader", given("role", "reader")),
    (POSTGRESQL, "SET role TO reader", given("role", "reader")),
    (POSTGRESQL, "SET SESSION AUTHORIZATION 'paul'", given("session_authorization", "'paul'")),
    (
        POSTGRESQL, "SET LOCAL SESSION AUTHORIZATION paul",
        given("session_authorization", "paul", local=True),
    ),
    (
        POSTGRESQL, "SET SESSION SESSION AUTHORIZATION DEFAULT",
        given("session_authorization", ""),
    ),
    # https://www.postgresql.org/docs/current/sql-set-transaction.html, …-constraints.html
    (POSTGRESQL, "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", NOTHING),
    (POSTGRESQL, "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", NOTHING),
    (POSTGRESQL, "SET CONSTRAINTS ALL DEFERRED", NOTHING),
    # https://www.postgresql.org/docs/current/sql-reset.html, sql-discard.html
    (POSTGRESQL, "RESET search_path", given("search_path", "")),
    (POSTGRESQL, "RESET ALL", [Change(ChangeKind.RESET_ALL)]),
    (POSTGRESQL, "RESET ROLE", given("role", "")),
    (POSTGRESQL, "RESET SESSION AUTHORIZATION", given("session_authorization", "")),
    (POSTGRESQL, "RESET TIME ZONE", given("timezone", "")),
    (POSTGRESQL, "RESET statement_timeout", NOTHING),
    (POSTGRESQL, "DISCARD ALL", [Change(ChangeKind.DISCARD_ALL)]),
    (POSTGRESQL, "DISCARD PLANS", NOTHING),
    (POSTGRESQL, "DISCARD SEQUENCES", NOTHING),
    (POSTGRESQL, "DISCARD TEMP", given("temporary table ", "")),
    (POSTGRESQL, "DISCARD TEMPORARY", given("temporary table ", "")),
    # What is none of these forms may be anything.
    (POSTGRESQL, "SET", lost("SET")),
    (POSTGRESQL, "SET search_path", lost("SET")),
    (POSTGRESQL, "SET something other", lost("SET")),
    (POSTGRESQL, "RESET one two", lost("RESET")),
    (POSTGRESQL, "DO $$ BEGIN PERFORM 1; END $$", lost("DO")),
    (POSTGRESQL, "CALL p()", lost("CALL")),
    (POSTGRESQL, "EXECUTE prepared", lost("EXECUTE")),
    # https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADMIN-SET
    (
        POSTGRESQL, "SELECT set_config('search_path', 't1', false)",
        given("search_path", "'t1'"),
    ),
    (
        POSTGRESQL, "SELECT set_config('app.tenant', '1', true) AS tenant",
        given("app.tenant", "'1'", local=True),
    ),
    (
        POSTGRESQL, "SELECT set_config('a.b', '1', false), set_config('c.d', '2', true)",
        given("a.b", "'1'") + given("c.d", "'2'", local=True),
    ),
    (POSTGRESQL, "SELECT set_config('lock_timeout', '1', false)", NOTHING),
    (POSTGRESQL, "SELECT set_config('a.b', '1', false) FROM t", given("a.b", None, local=None)),
    (POSTGRESQL, "SELECT set_config('a.' || 'b', '1', false)", given("a.", None, local=None)),
    (POSTGRESQL, "SELECT set_config(name, '1', false) FROM t", lost("set_config")),
    # https://dev.mysql.com/doc/refman/8.4/en/set-variable.html, MariaDB's SET and SET ROLE
    (MYSQL, "SET time_zone = '+00:00'", given("time_zone", "'+00:00'")),
    (MYSQL, "SET SESSION sql_mode := 'ANSI'", given("sql_mode", "'ANSI'")),
    (MYSQL, "SET @@sql_mode = 'ANSI'", given("sql_mode", "'ANSI'")),
    (MYSQL, "SET @@session.sql_mode = 'ANSI'", given("sql_mode", "'ANSI'")),
    (MYSQL, "SET @@LOCAL.sql_mode = DEFAULT", given("sql_mode", "")),
    (MYSQL, "SET GLOBAL sql_mode = 'ANSI'", NOTHING),
    (MYSQL, "SET @@global.sql_mode = 'ANSI'", NOTHING),
    (MYSQL, "SET PERSIST sql_mode = 'ANSI'", NOTHING),
    (MYSQL, "SET @mine = 1", NOTHING),
    (
        MYSQL, "SET sql_mode = 'ANSI', SESSION time_zone = '+01:00', @mine = 1",
        given("sql_mode", "'ANSI'") + given("time_zone", "'+01:00'"),
    ),
    (
        MYSQL, "SET sql_mode = CONCAT('a', ',b'), autocommit = 1",
        given("sql_mode", "CONCAT ( 'a' , ',b' )"),
    ),
    (MYSQL, "SET NAMES utf8mb4", given("names", "utf8mb4")),
    (MYSQL, "SET CHARACTER SET utf8mb4", given("names", "SET utf8mb4")),
    (MYSQL, "SET ROLE reader", given("role", "reader")),
    (MYSQL, "SET SESSION TRANSACTION READ ONLY", NOTHING),
    (MYSQL, "SET PASSWORD = 'x'", NOTHING),
    (MYSQL, "SET autocommit = 0", NOTHING),
    (MYSQL, "SET sql_mode", lost("SET")),
    (MYSQL, "USE tenant_1", given("database", "tenant_1")),
    # https://www.sqlite.org/lang_attach.html, pragma.html
    (
        SQLITE, "ATTACH DATABASE 'a.db' AS other",
        given("attached other", "DATABASE 'a.db' AS other"),
    ),
    (SQLITE, "DETACH DATABASE other", given("attached other", "")),
    (SQLITE, "PRAGMA case_sensitive_like = 1", given("case_sensitive_like", "1")),
    (SQLITE, "PRAGMA case_sensitive_like(1)", given("case_sensitive_like", "1")),
    (SQLITE, "PRAGMA main.case_sensitive_like = 1", given("case_sensitive_like", "1")),
    (SQLITE, "PRAGMA foreign_keys = ON", NOTHING),
    (SQLITE, "PRAGMA table_info(t)", NOTHING),
    (SQLITE, "PRAGMA case_sensitive_like", NOTHING),
    # Of another vendor it is no statement, or another one.
    (SQLITE, "USE tenant_1", lost("USE")),
    (POSTGRESQL, "USE tenant_1", lost("USE")),
    # Tables that hide others.
    (
        SQLITE, "CREATE TEMP TABLE t (a)",
        [Change(ChangeKind.SCHEMA), *given("temporary table t", None)],
    ),
    (POSTGRESQL, "SELECT a INTO TEMP t FROM u", given("temporary table t", None)),
    (POSTGRESQL, "CREATE TABLE t (a int)", [Change(ChangeKind.SCHEMA)]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("vendor", "sql", "expected"), BY_TEXT, ids=[f"{vendor}: {sql}" for vendor, sql, _ in BY_TEXT]
)
def test_what_a_statement_changes(vendor: str, sql: str, expected: list[Change]) -> None:
    assert list(changes_of(sql, None, vendor)) == expected


@pytest.mark.parametrize(
    ("sql", "params", "expected"),
    [
        ("SELECT set_config(%s, 't1', false)", ["Search_Path"], given("search_path", "'t1'")),
        ("SELECT set_config(%s, 't1', false)", ["lock_timeout"], NOTHING),
        ("SELECT set_config('a.b', '1', %s)", [True], given("a.b", "'1'", local=True)),
        ("SELECT set_config('a.b', '1', %s)", ["yes"], given("a.b", "'1'", local=None)),
        ("SELECT set_config(%s, 't1', false)", None, lost("set_config")),
        ("SELECT set_config(%s, 't1', false)", [], lost("set_config")),
        ("SELECT set_config(%s, 't1', false)", [object()], lost("set_config")),
        ("SELECT set_config('a.b', %s, false)", [object()], given("a.b", None)),
        ("SELECT set_config('a.b', %s, false)", [], given("a.b", None)),
        ("SET search_path TO %s", None, given("search_path", None)),
    ],
)
def test_what_parameters_say(sql: str, params: Any, expected: list[Change]) -> None:
    assert list(changes_of(sql, params, POSTGRESQL)) == expected


def test_a_value_that_is_a_parameter_is_told_apart_by_value() -> None:
    sql = "SELECT set_config('app.tenant', %s, false)"
    (one,), (same,), (other,), (number,) = (
        changes_of(sql, [each], POSTGRESQL) for each in ("1", "1", "2", 1)
    )
    assert one == same
    assert len({one, other, number}) == 3
    assert None not in {one.value, other.value, number.value}


def test_a_long_statement_is_a_loss_only_where_it_may_change_something() -> None:
    long = f"/* {'a' * 20_000} */"
    assert list(changes_of(f"SET a = 1 {long}", None, POSTGRESQL)) == lost("a long statement")
    assert list(changes_of(f"ANALYZE {long}", None, POSTGRESQL)) == NOTHING
