"""The 22 documented indexes of the demo, from the models to the tables."""

from __future__ import annotations

import io
from importlib import import_module
from pathlib import Path

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connections, models
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.operations import AddIndex, RemoveIndex
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from tests.indexes.documented import NAMES


@pytest.mark.parametrize("label", NAMES)
def test_the_models_declare_them(label: str) -> None:
    indexes = apps.get_model(label)._meta.indexes
    assert {index.name: index.fields for index in indexes} == NAMES[label]


def test_they_are_twenty_two() -> None:
    assert sum(map(len, NAMES.values())) == 22


def test_the_tables_have_them(vendor_alias: str) -> None:
    connection = connections[vendor_alias]
    found: dict[str, dict[str, list[str]]] = {}
    with connection.cursor() as cursor:
        for label in NAMES:
            table = apps.get_model(label)._meta.db_table
            constraints = connection.introspection.get_constraints(cursor, table)
            found[label] = {
                name: constraint["columns"]
                for name, constraint in constraints.items()
                if constraint["index"] and name in NAMES[label]
            }
    assert found == NAMES


@pytest.mark.django_db(databases=["default", "other", "postgres", "mariadb"])
def test_makemigrations_has_nothing_to_do() -> None:
    out = io.StringIO()
    call_command("makemigrations", check=True, dry_run=True, stdout=out)
    assert "No changes detected" in out.getvalue()


def project(*, indexes: str) -> ProjectState:
    """The demo's models with no documented indexes, with hand-written ones, or as they are."""
    state = ProjectState.from_apps(apps)
    for label, names in NAMES.items():
        options = state.models[tuple(label.lower().split("."))].options
        written = [models.Index(fields=fields, name=name) for name, fields in names.items()]
        options["indexes"] = {"none": [], "written": written, "mixin": options["indexes"]}[indexes]
    return state


def operations(before: ProjectState, after: ProjectState) -> list[Operation]:
    changes = MigrationAutodetector(before, after)._detect_changes()
    return [op for migrations in changes.values() for m in migrations for op in m.operations]


def test_from_hand_written_to_the_mixins_and_back_changes_nothing() -> None:
    written, mixin = project(indexes="written"), project(indexes="mixin")
    assert operations(written, mixin) == []
    assert operations(mixin, written) == []


def test_from_none_adds_twenty_two_and_back_removes_them() -> None:
    documented = sorted(name for names in NAMES.values() for name in names)
    added = operations(project(indexes="none"), project(indexes="mixin"))
    assert {type(operation) for operation in added} == {AddIndex}
    assert sorted(operation.index.name for operation in added) == documented
    removed = operations(project(indexes="mixin"), project(indexes="none"))
    assert {type(operation) for operation in removed} == {RemoveIndex}
    assert sorted(operation.name for operation in removed) == documented


def test_migrations_do_not_import_the_library() -> None:
    for app in ("accounts", "payment", "rating"):
        folder = Path(import_module(f"{app}.migrations").__path__[0])
        for path in folder.glob("*.py"):
            assert "querybudget" not in path.read_text(), path
