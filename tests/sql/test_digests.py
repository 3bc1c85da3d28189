"""One digest for what Django sends, for what psycopg makes of it and for what PostgreSQL keeps."""

from __future__ import annotations

import pytest

from django_querybudget.sql.digests import LENGTH, statement_digest

SAME = [
    (
        'SELECT "a"."id" FROM "a" WHERE ("a"."n" = %s AND "a"."t" IN (%s, %s)) LIMIT 21',
        'SELECT "a"."id" FROM "a" WHERE ("a"."n" = $1 AND "a"."t" IN ($2, $3)) LIMIT $4',
        'SELECT "a"."id" FROM "a" WHERE ("a"."n" = $1 AND "a"."t" IN ($2 /*, ... */)) LIMIT $3',
    ),
    (
        'SELECT * FROM "a" WHERE "d" >= %s AND "u" = %s AND "j" @> %s',
        'SELECT * FROM "a" WHERE "d" >= $1::timestamptz AND "u" = $2::uuid AND "j" @> $3::jsonb',
    ),
    ("SELECT x FROM a WHERE (n = %s)", "SELECT x FROM a WHERE (n =  $1)"),
    ("UPDATE a SET n = %s, s = NULL", "UPDATE a SET n = $1, s = $2"),
    (
        'UPDATE "a" SET "on" = true WHERE "x" IS NOT NULL',
        'UPDATE "a" SET "on" = $1 WHERE "x" IS NOT NULL',
    ),
    (
        "INSERT INTO a (x, y) VALUES (%s, %s), (%s, %s)",
        "INSERT INTO a (x, y) VALUES ($1, $2::date)",
    ),
    (
        "INSERT INTO a (x) SELECT * FROM UNNEST((%s)::bigint[], (%s)::numeric(10, 2)[])",
        "INSERT INTO a (x) SELECT * FROM UNNEST(($1::int2[])::bigint[], ($2)::numeric(10, 2)[])",
    ),
    ("SELECT 1 AS a FROM b WHERE n %% %s = 0", "SELECT $1 AS a FROM b WHERE n % $2 = $3"),
    (
        "SELECT a FROM b WHERE c = %s",
        'DECLARE "_django_curs_1" NO SCROLL CURSOR WITH HOLD FOR SELECT a FROM b WHERE c = $1',
    ),
    ("SELECT a /* by us */ FROM b -- end", "SELECT a FROM   b"),
    ("SELECT n * -1 FROM a", "SELECT n * $1 FROM a"),
]
OTHERS = [
    ("SELECT a FROM b WHERE c IS NULL", "SELECT a FROM b WHERE c IS NOT NULL"),
    ("SELECT a FROM b WHERE c = %s", "SELECT a FROM b WHERE d = %s"),
    ("SELECT a FROM b", "SELECT a, c FROM b"),
    ('SELECT "a" FROM b', "SELECT 'a' FROM b"),
    ("SELECT a FROM b WHERE c = %s", "SELECT a FROM b WHERE c = d"),
    ("SELECT a::text FROM b", "SELECT a::date FROM b"),
]


@pytest.mark.parametrize("texts", SAME)
def test_one_statement_has_one_digest(texts: tuple[str, ...]) -> None:
    assert len({statement_digest(each) for each in texts}) == 1
    assert len(statement_digest(texts[0])) == LENGTH


@pytest.mark.parametrize("texts", OTHERS)
def test_others_have_others(texts: tuple[str, str]) -> None:
    assert statement_digest(texts[0]) != statement_digest(texts[1])


def test_a_statement_that_was_cut_is_known_by_its_beginning() -> None:
    columns = ", ".join(f'"jobs_job"."column_{number}"' for number in range(100))
    whole = f'SELECT {columns} FROM "jobs_job" WHERE "id" = %s'
    assert statement_digest(whole) == statement_digest(whole[:2_000])
    assert statement_digest(whole) != statement_digest(whole.replace("column_1", "other", 1))
