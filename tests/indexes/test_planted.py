"""Ten missing, five redundant and five useless indexes: found exactly, and nothing else."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests import settings

ROOT = Path(__file__).resolve().parents[2]
WORKLOAD = "tests.indexes.planted.shop.workload"

MISSING = {
    'shop.Customer models.Index(fields=["referral_code"])',
    'shop.Customer models.Index(fields=["country", "created_at"])',
    'shop.Order models.Index(fields=["status", "channel"])',
    'shop.Order models.Index(fields=["coupon"])',
    'shop.Order models.Index(fields=["total"])',
    'shop.Item models.Index(fields=["sku", "warehouse"])',
    'shop.Item models.Index(fields=["warehouse", "quantity"])',
    'shop.Event models.Index(fields=["kind", "subject_id", "happened_at"])',
    'shop.Event models.Index(fields=["happened_at"])',
    'shop.Visit models.Index(fields=["customer_id"])',
}

REDUNDANT = {
    ("redundant", "redundant_unique"),
    ("redundant", "redundant_foreign_key"),
    ("duplicate", "redundant_duplicate"),
    ("prefix", "redundant_prefix"),
    ("redundant", "redundant_by_hand"),
}

USELESS = {
    ("unused", "useless_last_login"),
    ("unused", "useless_note_code"),
    ("unused", "useless_batch"),
    ("unused", "useless_severity"),
    ("unused", "useless_agent"),
}

# The cause of the tenth missing index, which the audit finds without any query.
UNINDEXED = {("unindexed-foreign-key", "(customer_id)")}


_ENTRY = ("ENGINE", "NAME", "USER", "PASSWORD", "HOST", "PORT")


class Shop:
    """The planted project on one database, run as a process of its own."""

    def __init__(self, database: dict[str, Any]) -> None:
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "DJANGO_SETTINGS_MODULE": "tests.indexes.planted.settings",
            "PLANTED_DATABASE": json.dumps(database, default=str),
        }

    def run(self, *arguments: str, code: int = 0, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, "-W", "error", *arguments],
            cwd=ROOT,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def manage(self, *arguments: str, code: int = 0, **environment: str) -> str:
        return self.run("-m", "django", *arguments, code=code, **environment)

    def plant(self) -> None:
        self.run("-m", "tests.indexes.planted.plant")

    def findings(self, *arguments: str) -> set[tuple[str, str]]:
        answer = json.loads(self.manage("querybudget", "indexes", "--json", *arguments))
        (database,) = answer["databases"]
        assert database["problems"] == []
        return {(finding["kind"], finding["index"]) for finding in database["findings"]}


def advised(output: str) -> list[str]:
    """Return ``model line`` for each advised index that ``output`` has."""
    found, model = [], ""
    for line in output.splitlines():
        if line.endswith(".Meta.indexes"):
            model = line.removesuffix(".Meta.indexes")
        elif match := re.fullmatch(r"    (models\.Index\(.*\)),", line):
            found.append(f"{model} {match[1]}")
    return found


@pytest.fixture
def sqlite_shop(tmp_path: Path) -> Shop:
    return Shop({"ENGINE": "django.db.backends.sqlite3", "NAME": tmp_path / "shop.sqlite3"})


@pytest.fixture
def postgres_shop(postgres_url: str) -> Iterator[Shop]:
    name = f"planted_{uuid.uuid4().hex[:12]}"
    entry = {**settings.DATABASES["postgres"], "NAME": name}
    with psycopg.connect(postgres_url, autocommit=True) as server:
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield Shop({key: entry[key] for key in _ENTRY if key in entry})
        server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def shop(request: pytest.FixtureRequest) -> Shop:
    shop: Shop = request.getfixturevalue(f"{request.param}_shop")
    return shop


both = pytest.mark.parametrize("shop", ["sqlite", "postgres"], indirect=True)


@both
def test_the_advisor_finds_the_ten_by_djangos_runner(shop: Shop) -> None:
    output = shop.manage("querybudget", "advise", "--", "test", WORKLOAD)
    found = advised(output)
    assert set(found) == MISSING
    assert len(found) == 10
    assert "views: orders-by-coupon" in output


@both
def test_the_advisor_finds_the_ten_by_pytest(shop: Shop) -> None:
    output = shop.run(
        *("-m", "pytest", "-q", "-p", "django_querybudget.contrib.pytest_indexes"),
        *("--ds", "tests.indexes.planted.settings", "--querybudget-indexes"),
        *("-p", "no:cacheprovider", "--confcutdir", "tests/indexes/planted"),
        "tests/indexes/planted/shop/workload.py",
    )
    found = advised(output)
    assert set(found) == MISSING
    assert len(found) == 10


@both
def test_with_the_ten_there_is_no_more_advice(shop: Shop) -> None:
    output = shop.manage(
        *("querybudget", "advise", "--fail", "--", "test", WORKLOAD), PLANTED_CURED="1"
    )
    assert advised(output) == []
    assert "0 indexes missing" in output


def test_the_audit_finds_the_redundant_and_the_useless_on_postgresql(postgres_shop: Shop) -> None:
    postgres_shop.plant()
    assert postgres_shop.findings() == REDUNDANT | USELESS | UNINDEXED


def test_the_audit_finds_the_redundant_on_sqlite(sqlite_shop: Shop) -> None:
    sqlite_shop.plant()
    assert sqlite_shop.findings() == REDUNDANT | UNINDEXED


def test_the_system_check_finds_those_that_models_declare(sqlite_shop: Shop) -> None:
    sqlite_shop.plant()
    done = subprocess.run(
        [sys.executable, "-m", "django", "check"],
        cwd=ROOT,
        env=sqlite_shop.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.findall(r"\(querybudget\.(\w+)\) The index (\w+) ", done.stderr)
    assert set(found) == {
        ("W031", "redundant_unique"),
        ("W031", "redundant_foreign_key"),
        ("W030", "redundant_duplicate"),
        ("I031", "redundant_prefix"),
    }
    assert "querybudget.W032" in done.stderr
