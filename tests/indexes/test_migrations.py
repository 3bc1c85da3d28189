"""``--write-migration``: what it writes runs, can be run again, and is free of this library."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.indexes.planted.project import ROOT, Shop

MODELS = """
from django.db import models


class Parcel(models.Model):
    code = models.CharField(max_length=10)
    weight = models.IntegerField()
    {more}
    class Meta:
        indexes = [{indexes}]
"""

CODE = 'models.Index(fields=["code"], name="parcel_code")'
WEIGHT = 'models.Index(fields=["weight", "-code"], name="parcel_weight")'


class Depot(Shop):
    """A project in a folder of its own, with one app that has migrations."""

    def __init__(self, folder: Path, database: dict[str, Any]) -> None:
        super().__init__(database)
        app = folder / "depot"
        (app / "migrations").mkdir(parents=True)
        (app / "__init__.py").write_text("urlpatterns = []\n")
        (app / "migrations" / "__init__.py").touch()
        (folder / "depot_settings.py").write_text(
            "from tests.indexes.planted.settings import *\n"
            'INSTALLED_APPS = ["django_querybudget", "depot"]\n'
            'ROOT_URLCONF = "depot"\n'
        )
        self.models, self.migrations = app / "models.py", app / "migrations"
        self.environment |= {
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)]),
            "DJANGO_SETTINGS_MODULE": "depot_settings",
        }

    def declare(self, *indexes: str, more: str = "") -> None:
        self.models.write_text(MODELS.format(indexes=", ".join(indexes), more=more))

    def write(self, code: int = 0) -> str:
        return self.manage("querybudget", "indexes", "--write-migration", code=code)

    def written(self) -> list[Path]:
        return sorted(path for path in self.migrations.glob("0*.py") if "0001" not in path.name)


def start(depot: Depot) -> Depot:
    depot.declare()
    depot.run(
        "-c",
        "import django; django.setup()\n"
        "from django.core.management import call_command\n"
        "call_command('makemigrations', 'depot'); call_command('migrate')",
    )
    return depot


@pytest.fixture
def sqlite_depot(tmp_path: Path) -> Depot:
    name = str(tmp_path / "depot.sqlite3")
    return start(Depot(tmp_path, {"ENGINE": "django.db.backends.sqlite3", "NAME": name}))


@pytest.fixture
def postgres_depot(tmp_path: Path, postgres_shop: Shop) -> Depot:
    return start(Depot(tmp_path, json.loads(postgres_shop.environment["PLANTED_DATABASE"])))


@pytest.fixture
def server(postgres_depot: Depot, postgres_url: str) -> Any:
    name = json.loads(postgres_depot.environment["PLANTED_DATABASE"])["NAME"]
    with psycopg.connect(postgres_url, dbname=name, autocommit=True) as connection:
        yield connection


def validity(server: psycopg.Connection[Any]) -> dict[str, bool]:
    rows = server.execute(
        "SELECT c.relname, i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
        "WHERE c.relname LIKE 'parcel%'"
    )
    return dict(rows.fetchall())


class TestPostgreSQL:
    def test_builds_and_drops_concurrently(
        self, postgres_depot: Depot, server: psycopg.Connection[Any]
    ) -> None:
        postgres_depot.declare(CODE, WEIGHT)
        postgres_depot.write()
        first, second = postgres_depot.written()
        for path in (first, second):
            text = path.read_text()
            assert text.count("AddIndexConcurrently(") == 1
            assert "atomic = False" in text
            assert "import django_querybudget" not in text
            assert "from django_querybudget" not in text
        postgres_depot.manage("makemigrations", "--check")
        postgres_depot.manage("migrate")
        assert validity(server) == {"parcel_code": True, "parcel_weight": True}
        postgres_depot.declare(WEIGHT)
        postgres_depot.write()
        assert "RemoveIndexConcurrently(" in postgres_depot.written()[-1].read_text()
        postgres_depot.manage("migrate")
        assert validity(server) == {"parcel_weight": True}
        postgres_depot.manage("migrate", "depot", "0001")
        assert validity(server) == {}

    def test_a_run_after_one_that_failed(
        self, postgres_depot: Depot, server: psycopg.Connection[Any]
    ) -> None:
        """A unique build over equal rows fails, and leaves an INVALID index as any failure does."""
        postgres_depot.declare(CODE)
        postgres_depot.write()
        server.execute("INSERT INTO depot_parcel (code, weight) VALUES ('a', 1), ('a', 2)")
        with pytest.raises(psycopg.errors.UniqueViolation):
            server.execute("CREATE UNIQUE INDEX CONCURRENTLY parcel_code ON depot_parcel (code)")
        assert validity(server) == {"parcel_code": False}
        assert postgres_depot.findings() == {("invalid", "parcel_code")}
        postgres_depot.manage("migrate")
        assert validity(server) == {"parcel_code": True}
        assert postgres_depot.findings() == set()

    def test_a_valid_index_of_the_name_is_not_dropped(
        self, postgres_depot: Depot, server: psycopg.Connection[Any]
    ) -> None:
        postgres_depot.declare(CODE)
        postgres_depot.write()
        server.execute("CREATE INDEX parcel_code ON depot_parcel (code)")
        errors = postgres_depot.errors("-m", "django", "migrate", code=1)
        assert 'relation "parcel_code" already exists' in errors
        assert validity(server) == {"parcel_code": True}


class TestElsewhere:
    def test_plain_operations_in_one_file(self, sqlite_depot: Depot) -> None:
        sqlite_depot.declare(CODE, WEIGHT)
        sqlite_depot.write()
        (path,) = sqlite_depot.written()
        assert path.read_text().count("migrations.AddIndex(") == 2
        sqlite_depot.manage("migrate")
        assert sqlite_depot.findings() == set()
        sqlite_depot.manage("makemigrations", "--check")

    def test_nothing_to_do(self, sqlite_depot: Depot) -> None:
        assert "No index changes" in sqlite_depot.write()
        assert sqlite_depot.written() == []

    def test_other_changes_come_first(self, sqlite_depot: Depot) -> None:
        sqlite_depot.declare(CODE, more="color = models.CharField(max_length=9, default='')")
        errors = sqlite_depot.errors(
            "-m", "django", "querybudget", "indexes", "--write-migration", code=2
        )
        assert "depot has changes besides indexes: Add field color to parcel" in errors
        assert "makemigrations depot" in errors
        assert sqlite_depot.written() == []

    def test_an_index_that_waits_for_migrate_is_missing(self, sqlite_depot: Depot) -> None:
        sqlite_depot.declare(CODE)
        sqlite_depot.manage("makemigrations", "depot")
        assert sqlite_depot.findings() == {("missing", "parcel_code")}
