"""A record of production that a test begins, and that is flushed when the test says so."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import caches
from django.test.utils import override_settings

from django_querybudget import production
from django_querybudget.production.process import ProcessRecord
from tests import settings
from tests.production.own_servers import CountingPostgreSQL

COUNTING = CountingPostgreSQL(settings.RUN)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests whose server this machine does not have; CI has to have it."""
    if COUNTING.program():
        return
    without = [item for item in items if "counting" in getattr(item, "fixturenames", ())]
    if without and os.environ.get("CI") == "true":
        raise pytest.UsageError(
            f"{len(without)} tests need {COUNTING.title}, which CI has to have: {COUNTING.hint}"
        )
    items[:] = [item for item in items if item not in without]
    config.hook.pytest_deselected(items=without)


SECTION = {"ALIAS": "default", "INTERVAL": 60}


@pytest.fixture(autouse=True)
def _no_record_goes_on(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """End the threads of the records that a test makes: one would write into another test's."""
    made: list[ProcessRecord] = []
    begin = ProcessRecord._begin

    def noting(self: ProcessRecord) -> None:
        made.append(self)
        begin(self)

    monkeypatch.setattr(ProcessRecord, "_begin", noting)
    yield
    for each in made:
        if each._thread is not None:
            each._pending, each._dirty = each._begun(), False
            each.stop()


@pytest.fixture
def record() -> Iterator[ProcessRecord]:
    """The record of this process, in the default cache, a locmem one."""
    caches["default"].clear()
    with override_settings(QUERYBUDGET={"PRODUCTION": SECTION, "CACHE": {}}):
        yield production.start()
        production.stop()
    caches["default"].clear()


@pytest.fixture
def redis_record(redis_url: str) -> Iterator[ProcessRecord]:
    """The record of this process, in a real Redis through django-redis."""
    caches["redis"].clear()
    section: dict[str, Any] = {**SECTION, "ALIAS": "redis"}
    with override_settings(QUERYBUDGET={"PRODUCTION": section, "CACHE": {}}):
        yield production.start()
        production.stop()
    caches["redis"].clear()
