"""Is the advice worth it on real data? PostgreSQL's costs, by HypoPG or by a rolled back build."""

from __future__ import annotations

import re

import pytest

from tests.indexes.planted.project import Shop

pytestmark = pytest.mark.once

WORKLOAD = "tests.indexes.planted.shop.workload"
WIDE = "tests.indexes.planted.shop.wide"


def advise(shop: Shop, *options: str, tests: str = WORKLOAD, code: int = 0) -> str:
    return shop.manage("querybudget", "advise", *options, "--", "test", tests, code=code)


def indexes(shop: Shop) -> str:
    return shop.run(
        "-c",
        "import django; django.setup()\n"
        "from django.db import connection\n"
        "with connection.cursor() as c:\n"
        "    c.execute('SELECT indexname FROM pg_indexes ORDER BY 1')\n"
        "    print(c.fetchall())",
    )


def verdicts(output: str) -> dict[str, bool]:
    found = re.findall(r"(models\.Index\(.*?\)),.*?\n        ((?:not )?worth it) on", output, re.S)
    return {line: verdict == "worth it" for line, verdict in found}


class TestHypoPG:
    def test_all_ten_are_worth_it(self, hypopg_shop: Shop) -> None:
        hypopg_shop.plant()
        _enable(hypopg_shop)
        before = indexes(hypopg_shop)
        output = advise(hypopg_shop, "--verify", "default")
        found = verdicts(output)
        assert len(found) == 10
        assert all(found.values())
        assert indexes(hypopg_shop) == before

    def test_one_that_saves_nothing_is_not_advised(self, hypopg_shop: Shop) -> None:
        hypopg_shop.plant()
        _enable(hypopg_shop)
        output = advise(hypopg_shop, "--verify", "default", tests=WIDE)
        assert verdicts(output) == {
            'models.Index(fields=["sku"])': True,
            'models.Index(fields=["quantity"])': False,
        }
        assert "1 index missing" in output
        assert output.index("Not worth an index") < output.index('["quantity"]')


def _enable(shop: Shop) -> None:
    shop.run(
        "-c",
        "import django; django.setup()\n"
        "from django.db import connection\n"
        "connection.cursor().execute('CREATE EXTENSION hypopg')",
    )


class TestCreateAndRollback:
    def test_builds_and_leaves_nothing(self, postgres_shop: Shop) -> None:
        postgres_shop.plant()
        before = indexes(postgres_shop)
        output = advise(postgres_shop, "--verify", "default", "--create-and-rollback", tests=WIDE)
        assert verdicts(output) == {
            'models.Index(fields=["sku"])': True,
            'models.Index(fields=["quantity"])': False,
        }
        assert indexes(postgres_shop) == before

    def test_is_not_done_unasked(self, postgres_shop: Shop) -> None:
        postgres_shop.plant()
        errors = postgres_shop.errors(
            *("-m", "django", "querybudget", "advise", "--verify", "default"),
            *("--", "test", WIDE),
            code=2,
        )
        assert "HypoPG is not installed in 'default'" in errors
        assert "Ran " not in errors
        assert "CREATE EXTENSION hypopg" in errors
        assert "--create-and-rollback" in errors


def test_a_database_without_costs(sqlite_shop: Shop) -> None:
    sqlite_shop.plant()
    errors = sqlite_shop.errors(
        *("-m", "django", "querybudget", "advise", "--verify", "default", "--", "test", WIDE),
        code=2,
    )
    assert "Only PostgreSQL's planner tells what an index would save" in errors
    assert "Ran " not in errors, "it is known before the tests run"


class TestArguments:
    @pytest.mark.parametrize("arguments", [[], ["--"], ["--", "runserver"], ["--", "tests"]])
    def test_what_to_run_has_to_be_said(self, sqlite_shop: Shop, arguments: list[str]) -> None:
        errors = sqlite_shop.errors("-m", "django", "querybudget", "advise", *arguments, code=2)
        assert "manage.py querybudget advise -- test" in errors

    def test_an_unknown_database_to_verify_on(self, sqlite_shop: Shop) -> None:
        errors = sqlite_shop.errors(
            *("-m", "django", "querybudget", "advise", "--verify", "nowhere", "--", "test", WIDE),
            code=2,
        )
        assert "'nowhere'" in errors

    def test_fail(self, sqlite_shop: Shop) -> None:
        errors = sqlite_shop.errors(
            "-m", "django", "querybudget", "advise", "--fail", "--", "test", WIDE, code=1
        )
        assert "2 indexes are missing" in errors

    def test_tests_that_fail_fail(self, sqlite_shop: Shop) -> None:
        output = sqlite_shop.manage(
            "querybudget", "advise", "--", "test", "tests.indexes.planted.shop.broken", code=1
        )
        assert "0 indexes missing" in output

    def test_a_runner_that_is_not_djangos(self, sqlite_shop: Shop) -> None:
        errors = sqlite_shop.errors(
            *("-m", "django", "querybudget", "advise", "--", "test", WIDE),
            code=2,
            PLANTED_TEST_RUNNER="unittest.TextTestRunner",
        )
        assert "unittest.TextTestRunner" in errors
        assert "pytest --querybudget-indexes" in errors
