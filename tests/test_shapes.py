"""Fingerprints made short."""

from __future__ import annotations

import pytest

from django_querybudget.sql.shortening import shortened


@pytest.mark.parametrize(
    ("fingerprint", "short"),
    [
        (
            'SELECT "jobs_job"."id", "jobs_job"."title", "jobs_job"."budget" FROM "jobs_job"',
            "SELECT … FROM jobs_job",
        ),
        (
            "SELECT `jobs_job`.`id`, `jobs_job`.`title`, `jobs_job`.`budget` FROM `jobs_job`",
            "SELECT … FROM jobs_job",
        ),
        ('SELECT COUNT(*) AS "__count" FROM "a"', "SELECT COUNT(*) AS __count FROM a"),
        (
            'SELECT DISTINCT "a"."id", (SELECT COUNT(*) FROM "b" WHERE "b"."a" = ?) FROM "a"',
            "SELECT DISTINCT … FROM a",
        ),
        (
            'SELECT "a"."id", "a"."x", "a"."y", "a"."z" FROM "a" INNER JOIN "b" ON ("a"."x" = ?)',
            "SELECT a.id, a.x, a.y, a.z FROM a INNER JOIN b ON (…)",
        ),
        ('INSERT INTO "a" ("x", "y") VALUES (...)', "INSERT INTO a (…) VALUES (...)"),
        ('UPDATE "a" SET "x" = ? WHERE "a"."id" = ?', "UPDATE a SET x = ? WHERE a.id = ?"),
        ("SELECT ?", "SELECT ?"),
        ("PRAGMA foreign_keys", "PRAGMA foreign_keys"),
    ],
)
def test_quotes_and_column_lists_go(fingerprint: str, short: str) -> None:
    assert shortened(fingerprint) == short


def test_a_long_one_is_cut_to_its_width() -> None:
    text = shortened(f"UPDATE a SET {', '.join(f'column_{n} = ?' for n in range(50))}", width=60)
    assert len(text) == 60
    assert text.endswith(" …")
