"""Tasks and commands that tell of themselves, and what keeps them from being told twice."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from io import StringIO
from typing import Any

import django
import pytest
from django.core.cache import caches
from django.core.management import ManagementUtility, base, call_command
from django.db import connection
from django.test.utils import override_settings

from django_querybudget import production
from django_querybudget.production import programs
from django_querybudget.production.process import ProcessRecord
from django_querybudget.production.reading import read_picture
from jobs.models import Industry
from tests.production.conftest import SECTION

pytestmark = pytest.mark.django_db


def counted() -> dict[str, tuple[int, float]]:
    found = read_picture(3600).whole.series
    return {key.title: (each.requests, each.total("queries")) for key, each in found.items()}


@pytest.fixture
def starting(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the app begin to measure where Django sets up, as it does in a process of its own."""
    monkeypatch.setattr(django, "setup", production.start)
    # A command closes them at its end; the test's transaction goes on.
    monkeypatch.setattr(base.connections, "close_all", lambda: None)
    caches["default"].clear()
    with override_settings(QUERYBUDGET={"PRODUCTION": SECTION}):
        yield
        production.stop()
    caches["default"].clear()


def run(*arguments: str) -> None:
    ManagementUtility(["manage.py", *arguments]).execute()


def test_the_command_that_a_process_was_started_with_is_measured(
    starting: None, capsys: pytest.CaptureFixture[str]
) -> None:
    run("showmigrations", "jobs", "--skip-checks")
    assert production.current_record() is not None
    production.stop()  # as at the process's end
    ((title, (requests, queries)),) = counted().items()
    assert (title, requests) == ("command showmigrations", 1)
    assert queries >= 1
    assert "jobs" in capsys.readouterr().out


def test_what_serves_asks_or_checks_is_not(
    starting: None, capsys: pytest.CaptureFixture[str]
) -> None:
    run("check", "--list-tags")
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    production.stop()
    assert counted() == {}
    assert {"runserver", "shell", "test", "querybudget"} <= programs.NOT_MEASURED


def test_a_command_called_by_code_belongs_to_its_caller(record: ProcessRecord) -> None:
    with production.measured("task", "nightly"):
        call_command("showmigrations", "jobs", stdout=StringIO())
    record.flush()
    assert list(counted()) == ["task nightly"]


if django.VERSION >= (6, 0):
    from django.tasks import task

    @task
    def counts(times: int) -> int:
        return sum(Industry.objects.count() for _ in range(times))

    @task
    def fails() -> None:
        Industry.objects.count()
        raise ValueError("no")

    @task
    async def awaits() -> int:
        return await Industry.objects.acount()

    NAME = f"task {__name__}.counts"

    def test_djangos_tasks_are_measured(record: ProcessRecord) -> None:
        counts.enqueue(2)
        counts.enqueue(3)
        fails.enqueue()
        assert programs._tasks == {}
        record.flush()
        assert counted() == {NAME: (2, 5), f"task {__name__}.fails": (1, 1)}

    @pytest.mark.django_db(transaction=True)
    def test_an_async_task_is_measured(record: ProcessRecord) -> None:
        asyncio.run(awaits.aenqueue())
        record.flush()
        assert counted() == {f"task {__name__}.awaits": (1, 1)}

    def test_a_defect_of_ours_ends_no_task(
        record: ProcessRecord, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def broken(*arguments: Any) -> Any:
            raise ZeroDivisionError

        monkeypatch.setattr(programs, "Scope", broken)
        with caplog.at_level(logging.ERROR, "django_querybudget"):
            assert counts.enqueue(1).return_value == 0
        assert "could not measure a task" in caplog.text

    def test_tasks_that_never_finish_are_bounded(
        record: ProcessRecord, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(programs, "_MOST_RUNNING", 2)
        result = counts.enqueue(0)
        for number in range(3):
            object.__setattr__(result, "id", str(number))
            programs._task_started(result)
        assert len(programs._tasks) == 2
        for number in (1, 0):
            object.__setattr__(result, "id", str(number))
            programs._task_finished(result)
        assert programs._tasks == {}
