"""Ten missing, five redundant and five useless indexes: found exactly, and nothing else."""

from __future__ import annotations

import re

import pytest

from tests.indexes.planted.project import PLUGIN, Shop

pytestmark = pytest.mark.once

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


def advised(output: str) -> list[str]:
    """Return ``model line`` for each advised index that ``output`` has."""
    found, model = [], ""
    for line in output.splitlines():
        if line.endswith(".Meta.indexes"):
            model = line.removesuffix(".Meta.indexes")
        elif match := re.fullmatch(r"    (models\.Index\(.*\)),", line):
            found.append(f"{model} {match[1]}")
    return found


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
        *("-m", "pytest", "-q", *PLUGIN),
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


def test_the_audit_finds_the_redundant_and_the_useless_on_mariadb(mariadb_shop: Shop) -> None:
    """MariaDB has no conditional indexes, so "big" is there without its condition.

    And InnoDB drops its own index of a foreign key for a declared one: of "redundant_foreign_key"
    and "redundant_by_hand" there is no second.
    """
    mariadb_shop.plant()
    once = {("redundant", "redundant_foreign_key"), ("redundant", "redundant_by_hand")}
    assert mariadb_shop.findings() == (REDUNDANT - once) | USELESS | {("prefix", "placed")}


def test_the_audit_finds_the_redundant_on_sqlite(sqlite_shop: Shop) -> None:
    sqlite_shop.plant()
    assert sqlite_shop.findings() == REDUNDANT | UNINDEXED


def test_the_system_check_finds_those_that_models_declare(sqlite_shop: Shop) -> None:
    sqlite_shop.plant()
    messages = sqlite_shop.errors("-m", "django", "check")
    found = re.findall(r"\(querybudget\.(\w+)\) The index (\w+) ", messages)
    assert set(found) == {
        ("W031", "redundant_unique"),
        ("W031", "redundant_foreign_key"),
        ("W030", "redundant_duplicate"),
        ("I031", "redundant_prefix"),
    }
    assert "querybudget.W032" in messages
