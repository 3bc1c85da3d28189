"""Statements at random on the real databases: what they change is what was said of them.

``QUERYBUDGET_SEED`` repeats a run; a failure names its seed. ``QUERYBUDGET_STATEMENTS`` is how many
statements the long run tries on each database.
"""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pymysql
import pytest
from django.db import connections
from pymysql.constants import CLIENT

from django_querybudget.cache import tables
from django_querybudget.cache.writing import forms, statements
from django_querybudget.sql import lexer
from django_querybudget.sql.statements import plain_calls, read
from tests.cache.fuzz import MariaDB, PostgreSQL, Result, Sandbox, SQLite, fuzz
from tests.cache.grammar import TABLES, Grammar

COUNTS = {"default": 20_000, "postgres": 2_000, "mariadb": 2_000}
MANY = int(os.environ.get("QUERYBUDGET_STATEMENTS", "200000"))
OPENING: dict[str, Callable[[], Sandbox]] = {
    "default": SQLite,
    "postgres": lambda: PostgreSQL(
        psycopg.connect(**connections["postgres"].get_connection_params()), "public"
    ),
    "mariadb": lambda: MariaDB(
        pymysql.connect(
            **{
                **connections["mariadb"].get_connection_params(),
                "client_flag": CLIENT.MULTI_STATEMENTS,
            }
        ),
        str(connections["mariadb"].settings_dict["NAME"]),
    ),
}


@pytest.fixture
def sandbox(vendor_alias: str, db: None) -> Iterator[Sandbox]:
    del db
    opened = OPENING[vendor_alias]()
    yield opened
    opened.close()
    opened.connection.close()


@pytest.fixture(autouse=True)
def modelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the sandbox's tables be those of models."""
    known = tables.Tables()
    for name in TABLES:
        known.tables[name] = tables.Table(name, tables.Column("id", int), {})
        known.by_lower_name[name] = name
        known._words[name].add(name)
    monkeypatch.setattr(tables, "_tables", known)


def said_by(alias: str) -> Callable[[str], set[str] | None]:
    connection = connections[alias]

    def said(sql: str) -> set[str] | None:
        form = forms.form_of(sql, connection)
        return None if form is None else set(statements.effect(form, (), False, "d").tags)

    return said


def run(sandbox: Sandbox, alias: str, count: int) -> Result:
    seed = int(os.environ.get("QUERYBUDGET_SEED") or secrets.randbits(32))
    result = fuzz(sandbox, said_by(alias), count, seed)
    print(f"{alias}: {result}, QUERYBUDGET_SEED={seed}")  # noqa: T201  # with a failure
    assert [sql for sql, _, _ in result.missed] == []
    # A run in which the database refuses most, or changes nothing, would prove nothing.
    assert result.failed < count * 0.3
    assert result.changed > count * 0.2
    assert result.more < (count - result.failed) * 0.6
    return result


def test_no_write_is_missed(sandbox: Sandbox, vendor_alias: str) -> None:
    run(sandbox, vendor_alias, COUNTS[vendor_alias])


@pytest.mark.slow
def test_no_write_is_missed_among_many(sandbox: Sandbox, vendor_alias: str) -> None:
    run(sandbox, vendor_alias, MANY)


def _no_functions(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(forms, "may_write", lambda *_: frozenset())
    patch.setattr(forms, "plain_calls", lambda _: None)


def _another_vendors_lexer(patch: pytest.MonkeyPatch) -> None:
    others = {"sqlite": "mysql", "postgresql": "mysql", "mysql": "sqlite"}
    patch.setattr(
        lexer, "_PATTERNS", {vendor: lexer._PATTERNS[other] for vendor, other in others.items()}
    )


@pytest.mark.parametrize("plant", [_no_functions, _another_vendors_lexer])
def test_the_fuzz_finds_what_is_missed(
    plant: Callable[[pytest.MonkeyPatch], None],
    sandbox: Sandbox,
    vendor_alias: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant(monkeypatch)
    read.__globals__["_readings"].forget()
    try:
        assert fuzz(sandbox, said_by(vendor_alias), 1_500, 1).missed
    finally:
        monkeypatch.undo()
        read.__globals__["_readings"].forget()


@pytest.mark.parametrize("vendor", ["sqlite", "postgresql", "mysql"])
def test_the_quick_look_says_what_the_long_one_does(vendor: str) -> None:
    grammar = Grammar(vendor, random.Random(7))  # noqa: S311 - the same each time
    looked = 0
    for _ in range(4_000):
        sql = grammar.text().strip()
        calls: Any = plain_calls(sql)
        if calls is not None:
            looked += 1
            found = read(sql, vendor).statements
            assert all(not each.verbs and not each.opaque for each in found), sql
            assert calls >= frozenset[str]().union(*(each.calls for each in found)), sql
    assert looked > 30
