"""What the tests of hosts share: the migrations that a set of models would get."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState
from django.db.models import Model
from psycopg import sql

from tests import settings
from tests.indexes.own_servers import CountingMariaDB, HypoPG
from tests.indexes.planted.project import ENTRY, Shop

Changes = Callable[[type[Model] | None, type[Model]], list[Operation]]


def state_of(model: type[Model] | None) -> ProjectState:
    state = ProjectState()
    if model is not None:
        for parent in model._meta.parents:
            state.add_model(ModelState.from_model(parent))
        state.add_model(ModelState.from_model(model))
    return state


@pytest.fixture
def changes() -> Changes:
    """The operations that lead from one model to another of the same name, as written to files."""

    def detect(before: type[Model] | None, after: type[Model]) -> list[Operation]:
        detector = MigrationAutodetector(state_of(before), state_of(after))
        found = detector._detect_changes()
        return [op for migrations in found.values() for m in migrations for op in m.operations]

    return detect


@pytest.fixture
def sqlite_shop(tmp_path: Path) -> Shop:
    return Shop({"ENGINE": "django.db.backends.sqlite3", "NAME": tmp_path / "shop.sqlite3"})


@contextmanager
def own_database(url: str, server: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Make a database for one test on the server at ``url``; yield its entry for DATABASES."""
    name = f"planted_{uuid.uuid4().hex[:12]}"
    entry = {**server, "NAME": name}
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield {key: entry[key] for key in ENTRY if key in entry}
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def postgres_shop(postgres_url: str) -> Iterator[Shop]:
    with own_database(postgres_url, settings.DATABASES["postgres"]) as database:
        yield Shop(database)


HYPOPG = HypoPG(settings.RUN)


@pytest.fixture
def hypopg_shop() -> Iterator[Shop]:
    HYPOPG.start()
    with own_database(HYPOPG.url(), HYPOPG.settings()) as database:
        yield Shop(database)


MARIADB = CountingMariaDB(settings.RUN)


@pytest.fixture
def mariadb_shop() -> Iterator[Shop]:
    import pymysql

    MARIADB.start()
    name = f"planted_{uuid.uuid4().hex[:12]}"
    with pymysql.connect(unix_socket=MARIADB.socket, user="root") as connection:
        connection.cursor().execute(f"CREATE DATABASE {name}")
        yield Shop({**MARIADB.settings(), "NAME": name})
        connection.cursor().execute(f"DROP DATABASE {name}")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests whose server this machine does not have; CI has to have it."""
    for server, fixture in ((HYPOPG, "hypopg_shop"), (MARIADB, "mariadb_shop")):
        if server.program():
            continue
        without = [item for item in items if fixture in getattr(item, "fixturenames", ())]
        if without and os.environ.get("CI") == "true":
            raise pytest.UsageError(
                f"{len(without)} tests need {server.title}, which CI has to have: {server.hint}"
            )
        items[:] = [item for item in items if item not in without]
        config.hook.pytest_deselected(items=without)


@pytest.fixture
def shop(request: pytest.FixtureRequest) -> Shop:
    shop: Shop = request.getfixturevalue(f"{request.param}_shop")
    return shop
