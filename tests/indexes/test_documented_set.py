"""The 22 documented indexes of the demo, from the models to the tables."""

from __future__ import annotations

import io

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connections

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


def test_migrations_do_not_import_the_library() -> None:
    from importlib import import_module
    from pathlib import Path

    for app in ("accounts", "payment", "rating"):
        folder = Path(import_module(f"{app}.migrations").__path__[0])
        for path in folder.glob("*.py"):
            assert "querybudget" not in path.read_text(), path
