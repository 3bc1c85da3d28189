"""What the tests of hosts share: the migrations that a set of models would get."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState
from django.db.models import Model
from psycopg import sql

from tests import settings
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


@pytest.fixture
def postgres_shop(postgres_url: str) -> Iterator[Shop]:
    name = f"planted_{uuid.uuid4().hex[:12]}"
    entry = {**settings.DATABASES["postgres"], "NAME": name}
    with psycopg.connect(postgres_url, autocommit=True) as server:
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield Shop({key: entry[key] for key in ENTRY if key in entry})
        server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def shop(request: pytest.FixtureRequest) -> Shop:
    shop: Shop = request.getfixturevalue(f"{request.param}_shop")
    return shop
