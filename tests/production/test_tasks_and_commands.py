"""Tasks and commands that tell of themselves, and what keeps them from being told twice."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import re
import weakref
from collections.abc import Iterator
from io import StringIO
from typing import Any

import django
import pytest
from django.core.cache import caches
from django.core.management import ManagementUtility, base, call_command
from django.db import connection
from django.test.utils import override_settings

from django_querybudget import NPlusOneError, QueryBudgetExceeded, production, query_budget
from django_querybudget.production import tasks_and_commands
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
    assert {"runserver", "shell", "test", "querybudget"} <= tasks_and_commands.NOT_MEASURED
    assert {
        "db_worker",
        "rqworker",
        "runworker",
    } <= tasks_and_commands.NOT_MEASURED  # their tasks are


def test_a_command_called_by_code_belongs_to_its_caller(record: ProcessRecord) -> None:
    with production.measured("task", "nightly"):
        call_command("showmigrations", "jobs", stdout=StringIO())
    record.flush()
    assert list(counted()) == ["task nightly"]


def work(kind: str, *numbers: int, error: type[Exception] | None = None) -> int:
    """Ask for each number from one line, in a block that is measured; return how often."""
    with production.measured(kind, "nightly") as log:
        for number in numbers:
            Industry.objects.filter(pk=number).count()
        if error is not None:
            raise error
    return log.count


def test_a_block_is_held_to_its_budget_without_a_record(settings: Any) -> None:
    settings.QUERYBUDGET = {"BUDGETS": {"task nightly": 1, "*": 0}, "NPLUSONE": "raise"}
    assert work("message", 1, 2) == 2
    told = re.escape("task nightly: 2 queries executed, budget is 1")
    with pytest.raises(QueryBudgetExceeded, match=told):
        work("task", 1, 2)
    with pytest.raises(NPlusOneError, match=re.escape("command nightly: N+1")):
        work("command", 1, 2, 3)
    with pytest.raises(LookupError):  # over no other
        work("task", 1, 2, 3, error=LookupError)


def test_what_outlives_a_block_adds_nothing_and_holds_nothing() -> None:
    with production.measured("task", "nightly") as log:
        Industry.objects.count()
        outliving = contextvars.copy_context()  # as a task has it that is begun here
    outliving.run(Industry.objects.count)
    assert log.count == 1
    held = weakref.ref(log)
    del log
    gc.collect()
    assert held() is None
    del outliving


def test_nothing_is_measured_where_the_library_is_off(settings: Any) -> None:
    settings.QUERYBUDGET = {"BUDGETS": {"task nightly": 0}, "ENABLED": False}
    with production.measured("task", "nightly") as log:
        Industry.objects.count()
    assert log.count == 0


if django.VERSION >= (6, 0):
    from django.tasks import TaskResultStatus, task

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

    @query_budget(1)
    @task
    def above(times: int) -> int:
        return sum(Industry.objects.count() for _ in range(times))

    @task
    @query_budget(1)
    def below(times: int) -> int:
        return sum(Industry.objects.count() for _ in range(times))

    @query_budget(1)
    @task
    async def above_async(times: int) -> int:
        return sum([await Industry.objects.acount() for _ in range(times)])

    NAME = f"task {__name__}.counts"

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize("decorated", [above, below, above_async])
    def test_a_budget_stands_above_or_below_djangos_decorator(
        decorated: Any, record: ProcessRecord
    ) -> None:
        assert decorated.enqueue(1).status == TaskResultStatus.SUCCESSFUL
        failed = decorated.enqueue(2)
        assert failed.status == TaskResultStatus.FAILED
        assert "2 queries executed, budget is 1" in failed.errors[0].traceback
        assert decorated.get_backend().enqueue(decorated, [0], {}).return_value == 0
        record.flush()
        ((key, series),) = read_picture(3600).whole.series.items()
        assert key.title == f"task {decorated.module_path}"
        assert (series.requests, series.total("queries"), series.total("violations")) == (3, 3, 1)
        assert series.budget == 1

    def test_a_budget_by_the_settings_is_told_and_fails_no_task(
        record: ProcessRecord, settings: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        settings.QUERYBUDGET = {**settings.QUERYBUDGET, "BUDGETS": {NAME: 1}, "NPLUSONE": "off"}
        with caplog.at_level(logging.WARNING, "django_querybudget"):
            assert counts.enqueue(2).status == TaskResultStatus.SUCCESSFUL
        assert f"{NAME}: 2 queries executed, budget is 1" in caplog.text

    def test_djangos_tasks_are_measured(record: ProcessRecord) -> None:
        counts.enqueue(2)
        counts.enqueue(3)
        fails.enqueue()
        assert tasks_and_commands._tasks == {}
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
        def broken(*arguments: Any, **options: Any) -> Any:
            raise ZeroDivisionError

        monkeypatch.setattr(tasks_and_commands, "Work", broken)
        with caplog.at_level(logging.ERROR, "django_querybudget"):
            assert counts.enqueue(1).return_value == 0
        assert "could not measure a task" in caplog.text

    def test_tasks_that_never_finish_are_bounded(
        record: ProcessRecord, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tasks_and_commands, "_MOST_RUNNING", 2)
        result = counts.enqueue(0)
        for number in range(3):
            object.__setattr__(result, "id", str(number))
            tasks_and_commands._task_started(result)
        assert len(tasks_and_commands._tasks) == 2
        for number in (1, 0):
            object.__setattr__(result, "id", str(number))
            tasks_and_commands._task_finished(result)
        assert tasks_and_commands._tasks == {}
