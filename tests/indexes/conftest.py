"""What the tests of hosts share: the migrations that a set of models would get."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.apps.registry import Apps
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState
from django.db.models import Model

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
def no_apps() -> Apps:
    return Apps()
