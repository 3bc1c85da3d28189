"""cache.writing.statements: what a statement writes, by its text and parameters."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from django.db import connections

from django_querybudget.cache import tables, tags
from django_querybudget.cache.writing.exact_forms import UNKNOWN, assigned_columns
from django_querybudget.cache.writing.forms import form_of
from django_querybudget.cache.writing.statements import effect

ALIASES = {"sqlite": "default", "postgresql": "postgres", "mysql": "mariadb"}
JOBS = {"d:t:jobs_job"}
# An INSERT that does not tell the foreign keys by which lists are pinned.
ANY_JOBS = {"d:t:jobs_job", "d:V:jobs_job"}
ALL_JOBS = {"d:t:jobs_job", "d:b:jobs_job", "d:V:jobs_job"}
PAYMENTS = {"d:t:payment_payment"}
ANY_PAYMENTS = {"d:t:payment_payment", "d:V:payment_payment"}
ALL_PAYMENTS = {
    "d:t:payment_payment", "d:b:payment_payment", "d:S:payment_payment", "d:V:payment_payment"
}  # fmt: skip
EVERYTHING = {"d:*"}


def written(
    sql: str | None, params: Any = (), many: bool = False, vendor: str | None = None
) -> set[str] | None:
    vendor = vendor or ("mysql" if "`" in (sql or "") or "/*!" in (sql or "") else "sqlite")
    form = form_of(sql, connections[ALIASES[vendor]])
    if form is None:
        return None
    found = set(effect(form, params, many, "d").tags)
    # Each table goes with its twin: it is left out, once that is certain.
    known = {f"d:t:{name}": table.known for name, table in tables.tables().tables.items()}
    twins = {f"{tag.replace(':t:', ':k:', 1)}:{known[tag]}" for tag in found if known.get(tag)}
    assert {tag for tag in found if tag.startswith("d:k:")} == twins
    return found - twins


@pytest.mark.parametrize(
    ("sql", "params", "expected"),
    [
        ('INSERT INTO "jobs_job" ("title") VALUES (%s)', ["a"], ANY_JOBS),
        ('INSERT INTO "jobs_job" ("title") VALUES (%s) RETURNING "jobs_job"."id"', ["a"],
         ANY_JOBS),
        ('INSERT INTO "jobs_job" ("a", "b") VALUES (%s, %s), (%s, %s)', [1, 2, 3, 4],
         ANY_JOBS),
        ("INSERT INTO `jobs_job` (`title`) VALUES (%s)", ["a"], ANY_JOBS),
        ('INSERT INTO "jobs_job" ("a") SELECT * FROM UNNEST((%s)::int[])', [[1]], ANY_JOBS),
        ('UPDATE "jobs_job" SET "title" = %s WHERE "jobs_job"."id" = %s', ["a", 7],
         JOBS | {"d:r:jobs_job:7", "d:c:jobs_job:title"}),
        ('UPDATE "jobs_job" SET "budget" = ("jobs_job"."budget" + %s) WHERE "jobs_job"."id" = %s',
         [1, 7], JOBS | {"d:r:jobs_job:7", "d:c:jobs_job:budget"}),
        ('DELETE FROM "jobs_job" WHERE "jobs_job"."id" IN (%s, %s)', [7, 8],
         JOBS | {"d:r:jobs_job:7", "d:r:jobs_job:8"}),
        ('DELETE FROM "jobs_job" WHERE "jobs_job"."id" = %s', (7,), JOBS | {"d:r:jobs_job:7"}),
    ],
)  # fmt: skip
def test_the_orms_own_forms_are_writes_of_known_rows(
    sql: str, params: Any, expected: set[str]
) -> None:
    assert written(sql, params) == expected


@pytest.mark.parametrize(
    ("sql", "params"),
    [
        ('UPDATE "jobs_job" SET "title" = %s', ["a"]),
        ('UPDATE "jobs_job" SET "title" = %s WHERE "jobs_job"."title" = %s', ["a", "b"]),
        ('UPDATE "jobs_job" SET "id" = %s WHERE "jobs_job"."id" = %s', [8, 7]),
        ('UPDATE "jobs_job" SET "title" = %s WHERE "jobs_job"."id" = %s', ["a", "no number"]),
        ('UPDATE "jobs_job" SET "title" = %s WHERE "jobs_job"."id" = %s', None),
        ('INSERT INTO "jobs_job" ("id") VALUES (%s) ON CONFLICT("id") DO UPDATE SET "a" = 1', [1]),
        ('INSERT INTO "jobs_job" ("a") VALUES (%s) ON CONFLICT("a") DO UPDATE SET "b" = (1)', [1]),
        ("INSERT INTO `jobs_job` (`id`) VALUES (%s) ON DUPLICATE KEY UPDATE `id` = VALUES(`id`)",
         [1]),
        ('INSERT OR REPLACE INTO "jobs_job" ("id") VALUES (%s)', [1]),
        ('UPDATE "jobs_job" SET "title" = %s WHERE "jobs_job"."budget" = %s', ["a", 7]),
        ('DELETE FROM "jobs_job" WHERE "jobs_job"."budget" IN (%s)', [7]),
        # Where a backslash escapes, the rest of it is a comment.
        ("UPDATE `jobs_job` SET `title` = '\\'' -- ' WHERE `jobs_job`.`id` = %s", [7]),
        ("insert into Jobs_Job (title) values ('a')", []),
        ("update jobs_job set title = 'a' where id = 1", []),
        ("/* a */ DELETE FROM jobs_job", []),
        ("WITH old AS (SELECT 1) UPDATE jobs_job SET title = 'a'", []),
        ("TRUNCATE jobs_job", []),
        ("COPY jobs_job FROM STDIN", []),
        ("SELECT 1; DELETE FROM jobs_job", []),
        ("EXPLAIN ANALYZE DELETE FROM jobs_job", []),
        ("/*!50000 UPDATE jobs_job SET title = 'a' */", []),
    ],
)  # fmt: skip
def test_anything_else_is_of_unknown_extent(sql: str, params: Any) -> None:
    found = written(sql, params)
    assert found is not None
    assert found >= ALL_JOBS


SOME_JOBS = JOBS | {"d:b:jobs_job", "d:v:jobs_job:client_id:5", "d:w:jobs_job:industry_id"}
ACROSS = ' WHERE "jobs_job"."client_id" = %s'


@pytest.mark.parametrize(
    ("sql", "params", "expected"),
    [
        ('UPDATE "jobs_job" SET "title" = %s' + ACROSS, ["a", 5], SOME_JOBS),
        ('UPDATE "jobs_job" SET "title" = NULL' + ACROSS, ["5"], SOME_JOBS),
        ('UPDATE "jobs_job" SET "budget" = ("jobs_job"."budget" + %s)' + ACROSS, [1, 5],
         SOME_JOBS),
        ('UPDATE "jobs_job" SET "industry_id" = %s' + ACROSS, [3, 5], SOME_JOBS),
        (('UPDATE "jobs_job" SET "title" = %s WHERE ("jobs_job"."budget" > %s'
         ' AND "jobs_job"."client_id" = %s AND NOT ("jobs_job"."status" = %s))'), ["a", 1, 5, "b"],
         SOME_JOBS),
        ('UPDATE "jobs_job" SET "title" = %s WHERE "jobs_job"."client_id" IN (%s, %s)',
         ["a", 5, 6], SOME_JOBS | {"d:v:jobs_job:client_id:6"}),
        ("UPDATE `jobs_job` SET `title` = %s WHERE `jobs_job`.`client_id` = %s", ["a", 5],
         SOME_JOBS),
        # It is the other one that is left as it is.
        (('UPDATE "jobs_job" SET "client_id" = %s WHERE ("jobs_job"."client_id" = %s'
         ' AND "jobs_job"."industry_id" = %s)'), [6, 5, 7],
         JOBS | {"d:b:jobs_job", "d:v:jobs_job:industry_id:7", "d:w:jobs_job:client_id"}),
    ],
)  # fmt: skip
def test_rows_with_one_value_in_a_foreign_key(sql: str, params: Any, expected: set[str]) -> None:
    assert written(sql, params) == expected
    assert written(sql, params, many=True) == ALL_JOBS


@pytest.mark.parametrize(
    ("sql", "params", "expected"),
    [
        (('UPDATE "jobs_job" SET "title" = %s WHERE ("jobs_job"."id" = %s'
         ' AND "jobs_job"."budget" = %s)'), ["a", 7, 5],
         {"d:r:jobs_job:7", "d:c:jobs_job:title"}),
        (('UPDATE "jobs_job" SET "title" = %s WHERE ("jobs_job"."client_id" = %s'
         ' AND "jobs_job"."id" = %s)'), ["a", 5, 7], {"d:r:jobs_job:7", "d:c:jobs_job:title"}),
        (('UPDATE "jobs_job" SET "client_id" = %s WHERE ("jobs_job"."id" IN (%s, %s)'
         ' AND NOT ("jobs_job"."budget" = %s))'), [6, 7, 8, 5],
         {"d:r:jobs_job:7", "d:r:jobs_job:8", "d:v:jobs_job:client_id:6",
          "d:c:jobs_job:client_id"}),
        ('DELETE FROM "jobs_job" WHERE ("jobs_job"."id" = %s AND "jobs_job"."client_id" = %s)',
         [7, 5], {"d:r:jobs_job:7"}),
    ],
)  # fmt: skip
def test_rows_by_their_keys_and_a_condition(sql: str, params: Any, expected: set[str]) -> None:
    found = written(sql, params)
    assert found is not None
    assert found >= JOBS | expected
    assert {tag for tag in found if ":jobs_job" in tag} == JOBS | expected
    assert written(sql, params, many=True) == found - expected | ALL_JOBS


def test_rows_that_a_condition_may_leave_out_are_not_locked_for_their_scopes() -> None:
    """Who writes them by their keys alone has them locked, where scopes are declared."""
    sql = (
        'UPDATE "payment_payment" SET "amount" = %s WHERE ("payment_payment"."id" = %s'
        ' AND "payment_payment"."amount" = %s)'
    )
    assert written(sql, [1, 7, 5]) == ALL_PAYMENTS


def test_as_many_values_of_a_foreign_key_as_are_told_apart() -> None:
    for number in (tags.MANY_VALUES, tags.MANY_VALUES + 1):
        places = ", ".join(["%s"] * number)
        sql = f'UPDATE "jobs_job" SET "title" = %s WHERE "jobs_job"."client_id" IN ({places})'
        found = written(sql, ["a", *range(number)])
        assert found is not None
        assert ("d:V:jobs_job" in found) is (number > tags.MANY_VALUES)


def test_rows_that_the_database_deletes_with_others_of_a_foreign_key() -> None:
    where = ' WHERE "relations_entry"."ledger_id" = %s'
    deleted = written('DELETE FROM "relations_entry"' + where, [1])
    updated = written('UPDATE "relations_entry" SET "text" = %s' + where, ["a", 1])
    assert deleted is not None
    assert updated is not None
    assert {"d:v:relations_entry:ledger_id:1"} <= deleted & updated
    assert {"d:b:relations_remark", "d:V:relations_remark"} <= deleted
    assert not any("relations_remark" in tag for tag in updated)


def test_a_delete_by_a_foreign_key_takes_rows_of_other_tables_with_it() -> None:
    sql = 'DELETE FROM "relations_book" WHERE "relations_book"."author_id" IN (%s, %s)'
    found = written(sql, [1, 2])
    assert found is not None
    assert found >= {
        "d:v:relations_book:author_id:1", "d:v:relations_book:author_id:2",
        "d:w:relations_book:editor_id", "d:w:relations_book:reader_id",
    }  # fmt: skip
    assert "d:V:relations_book" not in found
    assert "d:w:relations_book:author_id" not in found


@pytest.mark.parametrize(
    ("sql", "params"),
    [
        ('UPDATE "jobs_job" SET "client_id" = %s' + ACROSS, [6, 5]),
        ('UPDATE "jobs_job" SET "id" = %s' + ACROSS, [6, 5]),
        ('UPDATE "jobs_job" SET "CLIENT_ID" = %s' + ACROSS, [6, 5]),
        ('UPDATE "jobs_job" SET "title" = %s' + ACROSS, ["a", "x"]),
        ('UPDATE "jobs_job" SET "title" = %s' + ACROSS, ["a", None]),
        ('UPDATE "jobs_job" SET "title" = %s' + ACROSS, ["a"]),
        ('UPDATE "jobs_job" SET "title" = %s' + ACROSS, {"a": 1}),
        ('UPDATE "jobs_job" SET "title" = \'%%s\'' + ACROSS, [5]),
        ('UPDATE "jobs_job" SET "title" = %s WHERE NOT ("jobs_job"."client_id" = %s)', ["a", 5]),
        ('UPDATE "jobs_job" SET "title" = %s WHERE "jobs_job"."client_id" IS NULL', ["a"]),
        ('UPDATE "jobs_job" SET "title" = %s WHERE "jobs_job"."client_id" >= %s', ["a", 5]),
        ('UPDATE "jobs_job" SET "title" = %s WHERE "jobs_job"."budget" = %s', ["a", 5]),
        (('UPDATE "jobs_job" SET "title" = %s WHERE ("jobs_job"."client_id" = %s'
         ' OR "jobs_job"."budget" = %s)'), ["a", 5, 1]),
        ('UPDATE "jobs_job" SET "title" = %s' + ACROSS + " OR 1 = 1", ["a", 5]),
        ('UPDATE "jobs_job" SET "title" = %s' + ACROSS + " RETURNING 1", ["a", 5]),
        ('UPDATE "jobs_job" SET "title" = (SELECT "name" FROM "jobs_industry" WHERE "id" = %s)'
         + ACROSS, [1, 5]),
        (('UPDATE "jobs_job" SET "title" = %s WHERE "jobs_job"."id" IN (SELECT U0."id" FROM'
         ' "jobs_job" U0 WHERE U0."client_id" = %s)'), ["a", 5]),
        (f'DELETE FROM "jobs_job" WHERE "jobs_job"."client_id" IN ({", ".join(["%s"] * 40)})',
         list(range(40))),
    ],
)  # fmt: skip
def test_rows_of_which_no_value_of_a_foreign_key_is_told(sql: str, params: Any) -> None:
    found = written(sql, params)
    assert found is not None
    assert found >= ALL_JOBS


def test_more_rows_than_are_told_apart_are_of_unknown_extent() -> None:
    places = ", ".join(["%s"] * 101)
    sql = f'DELETE FROM "jobs_job" WHERE "jobs_job"."id" IN ({places})'
    assert written(sql, list(range(101))) == ALL_JOBS
    sql = sql.replace(", %s", "", 1)
    assert written(sql, list(range(100))) == JOBS | {f"d:r:jobs_job:{key}" for key in range(100)}


@pytest.mark.parametrize(
    ("params", "many"),
    [
        ({"key": 7}, False),
        (["1", "2"], True),  # sqlite3 takes a string for a row of its characters
        ([("a", 7)], True),
    ],
)
def test_parameters_that_do_not_tell_the_rows(params: Any, many: bool) -> None:
    sql = 'DELETE FROM "jobs_job" WHERE "jobs_job"."id" = %s'
    assert written(sql, params, many) == ALL_JOBS
    insert = 'INSERT INTO "jobs_job" ("title") VALUES (%s)'
    assert written(insert, params, many) == ANY_JOBS  # no scope, whatever its rows are


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM jobs_job", "SAVEPOINT s1", "SET TRANSACTION READ ONLY",
        "PRAGMA table_info(a)", "SHOW TABLES", "COMMIT",
        "UPDATE django_session SET session_data = 'UPDATE'",
        'INSERT INTO "django_session" ("a") VALUES (%s)', "SELECT count(*) FROM jobs_job",
        "SELECT setting FROM pg_settings",
    ],
)  # fmt: skip
def test_what_writes_nothing_that_is_cached(sql: str) -> None:
    assert written(sql) is None


@pytest.mark.parametrize(
    "sql",
    [
        "CALL refresh()", "DO $$ BEGIN DELETE FROM jobs_job; END $$", "EXECUTE prepared",
        "ALTER TABLE jobs_job ADD COLUMN a int", "DROP TABLE jobs_job", "SELECT delete_all()",
        "SELECT * FROM delete_all(%s)", "REFRESH MATERIALIZED VIEW v", None,
    ],
)  # fmt: skip
def test_what_may_write_anything_renews_everything(sql: str | None) -> None:
    assert written(sql) == EVERYTHING


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        (None, "a statement that is no text"),
        ("CALL refresh()", "CALL"),
        ("SELECT delete_all()", "function delete_all"),
    ],
)
def test_the_statistics_are_told_why(
    sql: str | None, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    form = form_of(sql, connections["default"])
    assert form is not None
    assert form.everything == why
    assert not caplog.records  # no catalog was looked for in SQLite


def test_a_text_is_read_once() -> None:
    sql = "DELETE FROM jobs_job"
    for alias in ("default", "mariadb"):
        assert form_of(sql, connections[alias]) is form_of(sql, connections[alias])


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE legacy SET a = 1",
        'INSERT INTO "legacy" ("a") VALUES (%s)',
        'UPDATE "legacy" SET "a" = %s WHERE "legacy"."id" = %s',
    ],
)
def test_tables_of_no_model_have_a_tag_together(sql: str) -> None:
    assert written(sql, [1, 2]) == {"d:?"}


def test_rows_of_a_table_whose_key_is_text_are_not_told_apart() -> None:
    sql = 'UPDATE "relations_named" SET "value" = %s WHERE "relations_named"."name" = %s'
    assert written(sql, [1, "a"]) == {"d:t:relations_named", "d:b:relations_named"}


def test_what_can_write_to_one_table_alone_writes_to_no_other() -> None:
    read_too = "UPDATE jobs_job SET title = (SELECT name FROM jobs_industry LIMIT 1)"
    assert written(read_too) == ALL_JOBS
    # The database deletes entries with a ledger, but changes none with it.
    ledgers = {"d:t:relations_ledger", "d:b:relations_ledger"}
    assert written("UPDATE relations_ledger SET name = 'a'") == ledgers
    entries = {"d:t:relations_entry", "d:b:relations_entry"}
    deleted = written("DELETE FROM relations_ledger WHERE name = 'a'")
    assert deleted is not None
    assert deleted >= ledgers | entries


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ('INSERT INTO "relations_ledger" ("name") VALUES (%s)', None),
        ('UPDATE "relations_ledger" SET "name" = %s WHERE "relations_ledger"."id" = %s', None),
        ("UPDATE relations_ledger SET name = 'a'", None),
        (
            'DELETE FROM "relations_ledger" WHERE "relations_ledger"."id" IN (%s, %s)',
            {
                f"d:{kind}:relations_{table}"
                for kind in "tbV"
                for table in ("entry", "remark")
            },
        ),
    ],
)  # fmt: skip
def test_of_an_ignored_table_what_is_deleted_with_it_counts(
    sql: str, expected: set[str] | None, settings: Any
) -> None:
    settings.QUERYBUDGET = {"CACHE": {"IGNORED_TABLES": ["relations_ledger"]}}
    assert written(sql, [1, 2]) == expected


def test_the_table_of_a_database_cache_is_no_data(settings: Any) -> None:
    backend = "django.core.cache.backends.db.DatabaseCache"
    settings.CACHES = {**settings.CACHES, "own": {"BACKEND": backend, "LOCATION": "Own_Cache"}}
    settings.QUERYBUDGET = {"CACHE": {"SCOPES": {}}}
    sql = 'INSERT INTO "Own_Cache" ("cache_key", "value", "expires") VALUES (%s, %s, %s)'
    assert written(sql, ["a", "b", "c"]) is None
    assert written('DELETE FROM "Own_Cache" WHERE "cache_key" = %s', ["a"]) is None


@pytest.mark.parametrize(
    ("sql", "vendor", "called"),
    [
        ('INSERT INTO "relations_tag" ("word") VALUES (%s)', "sqlite", True),
        ("INSERT INTO relations_tag SELECT word FROM jobs_job", "sqlite", True),
        ("REPLACE INTO relations_tag (id) VALUES (1)", "sqlite", True),
        ("UPSERT INTO relations_tag (id) VALUES (1)", "postgresql", True),
        ("COPY relations_tag FROM STDIN", "sqlite", True),
        ("LOAD DATA INFILE 'tags' INTO TABLE relations_tag", "mysql", True),
        ("MERGE INTO relations_tag USING jobs_job ON true WHEN NOT MATCHED THEN INSERT VALUES (1)",
         "sqlite", True),
        ("UPDATE relations_tag SET word = DEFAULT", "sqlite", True),
        ("UPDATE relations_tag SET word = 'a'", "sqlite", False),
        ("DELETE FROM relations_tag", "sqlite", False),
    ],
)  # fmt: skip
def test_the_function_of_a_default_is_called(
    sql: str, vendor: str, called: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = tables.Tables()
    tag = replace(known.tables["relations_tag"], defaults=frozenset({"next_word"}))
    known.tables["relations_tag"] = tag
    monkeypatch.setattr(tables, "_tables", known)
    form = form_of(sql, connections[ALIASES[vendor]])
    assert form is not None
    assert (form.everything == "function next_word") is called


def test_truncate_reaches_all_tables_that_refer_to_it() -> None:
    found = written("TRUNCATE jobs_industry CASCADE")
    assert found is not None
    assert found >= ALL_JOBS | {"d:b:jobs_industry", "d:b:jobs_jobpicture"} | ALL_PAYMENTS


def test_an_insert_renews_the_scopes_of_its_rows() -> None:
    sql = 'INSERT INTO "payment_payment" ("payer_id", "recipient_id") VALUES (%s, %s), (%s, %s)'
    assert written(sql, [1, 2, 1, None]) == ANY_PAYMENTS | {
        "d:s:payment_payment:payer_id:1",
        "d:s:payment_payment:recipient_id:2",
    }
    assert written(sql, [None, 2, 1, 2]) == ANY_PAYMENTS | {
        "d:s:payment_payment:payer_id:1",
        "d:s:payment_payment:recipient_id:2",
    }
    assert written(sql, [[1, 2, 3, 4]], many=True) == ANY_PAYMENTS | {"d:S:payment_payment"}


def test_an_insert_of_lists_renews_the_scopes_of_its_rows() -> None:
    sql = (
        'INSERT INTO "payment_payment" ("payer_id", "recipient_id") '
        "SELECT * FROM UNNEST((%s)::bigint[], (%s)::bigint[])"
    )
    assert written(sql, [[1, 3], [2, None]]) == ANY_PAYMENTS | {
        "d:s:payment_payment:payer_id:1",
        "d:s:payment_payment:payer_id:3",
        "d:s:payment_payment:recipient_id:2",
    }
    for params in ([[1, 3], "23"], [[1, 3], [2, None]] * 2):
        assert written(sql, params) == ANY_PAYMENTS | {"d:S:payment_payment"}
    more = sql.replace("(%s)::bigint[])", "(%s)::bigint[] || ARRAY[7])")
    assert more != sql
    assert written(more, [[1, 3], [2, None]]) == ANY_PAYMENTS | {"d:S:payment_payment"}


@pytest.mark.parametrize(
    ("columns", "values", "params"),
    [
        ('"payer_id"', "%s", [1]),  # the other scope has its default
        ('"payer_id", "recipient_id"', "%s, %s", [1, "no number"]),
        ('"payer_id", "recipient_id"', "%s, (%s)", [1, 2]),
        ('"payer_id", "recipient_id"', "%s, %s", [1, 2, 3]),
    ],
)
def test_an_insert_whose_scopes_are_not_told(columns: str, values: str, params: Any) -> None:
    sql = f'INSERT INTO "payment_payment" ({columns}) VALUES ({values})'
    assert written(sql, params) == ANY_PAYMENTS | {"d:S:payment_payment"}


def test_more_scopes_than_are_told_apart_are_of_unknown_extent() -> None:
    start = 'INSERT INTO "payment_payment" ("payer_id", "recipient_id") VALUES '
    rows = [value for payer in range(100) for value in (payer, None)]
    assert written(start + ", ".join(["(%s, %s)"] * 100), rows) == ANY_PAYMENTS | {
        f"d:s:payment_payment:payer_id:{payer}" for payer in range(100)
    }
    assert written(start + ", ".join(["(%s, %s)"] * 101), [*rows, 100, None]) == ANY_PAYMENTS | {
        "d:S:payment_payment"
    }


def test_an_update_of_a_scoped_row_asks_for_its_old_scopes() -> None:
    sql = 'UPDATE "payment_payment" SET "status" = %s WHERE "payment_payment"."id" = %s'
    form = form_of(sql, connections["default"])
    assert form is not None
    write = effect(form, ["paid", 7], False, "d")
    assert write.old_scopes is not None
    assert write.old_scopes.keys == (7,)
    form = form_of('DELETE FROM "jobs_job" WHERE "jobs_job"."id" = %s', connections["default"])
    assert form is not None
    assert effect(form, [7], False, "d").old_scopes is None


def test_the_columns_that_an_update_assigns() -> None:
    where = ' WHERE "a"."id" = %s'
    assert assigned_columns('UPDATE "a" SET "x" = %s, "y" = %s' + where, [1, 2, 3]) == {
        "x": 1,
        "y": 2,
    }
    unknown = assigned_columns('UPDATE "a" SET "x" = ("a"."x" + %s)' + where, [1, 3])
    assert unknown == {"x": UNKNOWN}
    assert assigned_columns('UPDATE "a" SET "x""y" = %s, `p``q` = %s' + where, [1, 2, 3]) == {
        'x"y': 1,
        "p`q": 2,
    }
    null = assigned_columns('UPDATE "a" SET "x" = NULL, "y" = %s, "z" = NULL' + where, [2, 3])
    assert null == {"x": None, "y": 2, "z": None}  # as Django before 6.1 sets None
    assert assigned_columns('DELETE FROM "a"' + where, [3]) == {}


# Lists that a foreign key pins: a job has a client and an industry


def set_of(*columns: str) -> str:
    values = ", ".join(f'"{name}" = %s' for name in columns)
    return f'UPDATE "jobs_job" SET {values} WHERE "jobs_job"."id" = %s'


def null_for(column: str, sql: str) -> str:
    return sql.replace(f'"{column}" = %s', f'"{column}" = NULL')


ROW = JOBS | {"d:r:jobs_job:7"}


@pytest.mark.parametrize(
    ("sql", "params", "expected"),
    [
        # A full save() tells what each of its foreign keys is now: no list has to name a column.
        (set_of("client_id", "industry_id", "title"), [1, 2, "a", 7],
         {"d:v:jobs_job:client_id:1", "d:v:jobs_job:industry_id:2"}),
        (set_of("client_id", "industry_id"), [None, "2", 7], {"d:v:jobs_job:industry_id:2"}),
        # Before 6.1 Django writes NULL for None.
        (null_for("title", set_of("title", "client_id", "industry_id")), [1, 2, 7],
         {"d:v:jobs_job:client_id:1", "d:v:jobs_job:industry_id:2"}),
        (null_for("client_id", set_of("client_id", "title", "industry_id")), ["a", 2, 7],
         {"d:v:jobs_job:industry_id:2"}),
        (null_for("client_id", set_of("client_id", "title")), ["a", 7],
         {"d:c:jobs_job:client_id", "d:c:jobs_job:title"}),
        (null_for("client_id", set_of("client_id", "industry_id")), [1, 2, 7], {"d:V:jobs_job"}),
        # One that leaves a foreign key as it is may bring the row into lists by what it sets.
        (set_of("client_id", "title"), [1, "a", 7],
         {"d:v:jobs_job:client_id:1", "d:c:jobs_job:client_id", "d:c:jobs_job:title"}),
        (set_of("title", "status"), ["a", "b", 7], {"d:c:jobs_job:title", "d:c:jobs_job:status"}),
        # The value is not told.
        (set_of("client_id", "industry_id"), ["1_0", 2, 7], {"d:V:jobs_job"}),
        (set_of("client_id", "industry_id"), [1.5, 2, 7], {"d:V:jobs_job"}),
        (set_of("client_id", "industry_id"), [2**63, 2, 7], {"d:V:jobs_job"}),
        (set_of("client_id", "industry_id"), [True, 2, 7], {"d:V:jobs_job"}),
        (set_of("client_id", "industry_id"), [1, 2, 3, 7], {"d:V:jobs_job"}),
        (set_of("client_id").replace("= %s W", '= "jobs_job"."industry_id" W'), [7],
         {"d:V:jobs_job"}),
        (set_of("client_id").replace("= %s W", "= (%s) W"), [1, 7], {"d:V:jobs_job"}),
        (set_of("client_id", "client_id"), [1, 2, 7], {"d:V:jobs_job"}),
    ],
)  # fmt: skip
def test_an_update_of_a_row_renews_the_lists_that_it_may_come_into(
    sql: str, params: list[Any], expected: set[str]
) -> None:
    assert written(sql, params) == ROW | expected


@pytest.mark.parametrize(
    "text",
    [
        # SQLite and MySQL take a name in any letters; no model has the column; it has no quotes.
        '"CLIENT_ID" = %s', '"Id" = %s', '"no_column" = %s', "client_id = %s",
        '"client_id"=%s', '"client_id"  = %s', '"title" = %s, "client_id"=%s',
        '("client_id", "title") = (%s, %s)', '"title"[1] = %s', '"jobs_job"."client_id" = %s',
        # Where a text ends is not certain.
        """"title" = '\\', "client_id" = %s, "status" = '' """,
        '"title" = %s -- ', '"title" = %s /* */', '"title" = %s #', '"title" = %s)',
        '"title" = (%s', "", '"title" = %s), ("client_id" = %s',
    ],
)  # fmt: skip
def test_an_update_of_columns_that_are_not_certain_is_of_unknown_extent(text: str) -> None:
    sql = f'UPDATE "jobs_job" SET {text} WHERE "jobs_job"."id" = %s'
    assert written(sql, [*[1] * text.count("%s"), 7]) == ALL_JOBS


def test_an_update_to_expressions_tells_the_columns_that_it_sets() -> None:
    sql = (
        """UPDATE "jobs_job" SET "title" = CONCAT("jobs_job"."title", ', "client_id" = '), """
        """"budget" = (CASE WHEN ("jobs_job"."status" = %s) THEN 'it''s, "client_id" = 1' """
        """ELSE %s END) WHERE "jobs_job"."id" = %s"""
    )
    assert written(sql, ["a", "b", 7]) == ROW | {"d:c:jobs_job:title", "d:c:jobs_job:budget"}


def test_an_insert_that_gives_a_column_twice_tells_no_values() -> None:
    for again in ("client_id", "CLIENT_ID"):
        sql = f'INSERT INTO "jobs_job" ("client_id", "industry_id", "{again}") VALUES (%s, %s, %s)'
        assert written(sql, [1, 2, 3]) == JOBS | {"d:V:jobs_job"}


@pytest.mark.parametrize(
    ("values", "params", "expected"),
    [
        ("VALUES (%s, %s), (%s, %s)", [1, 2, 3, None],
         {"d:v:jobs_job:client_id:1", "d:v:jobs_job:client_id:3", "d:v:jobs_job:industry_id:2"}),
        ("SELECT * FROM UNNEST((%s)::int[], (%s)::int[])", [[1, 3], [2, 2]],
         {"d:v:jobs_job:client_id:1", "d:v:jobs_job:client_id:3", "d:v:jobs_job:industry_id:2"}),
        ("VALUES (%s, %s)", [1, "no number"], {"d:V:jobs_job"}),
        ("VALUES (%s, (%s))", [1, 2], {"d:V:jobs_job"}),
        ("VALUES (%s, %s)", [1, 2, 3], {"d:V:jobs_job"}),
        ("VALUES " + ", ".join(["(%s, %s)"] * 31), [each for n in range(31) for each in (n, 7)],
         {f"d:v:jobs_job:client_id:{n}" for n in range(31)} | {"d:v:jobs_job:industry_id:7"}),
        ("VALUES " + ", ".join(["(%s, %s)"] * 32), [each for n in range(32) for each in (n, 7)],
         {"d:V:jobs_job"}),
    ],
)  # fmt: skip
def test_an_insert_renews_the_lists_of_its_rows(
    values: str, params: list[Any], expected: set[str]
) -> None:
    sql = f'INSERT INTO "jobs_job" ("client_id", "industry_id") {values}'
    assert written(sql, params) == JOBS | expected
