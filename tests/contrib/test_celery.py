"""Celery's tasks: each counted by its name, in every pool, and held to a budget in either order."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Timer
from typing import Any

import pytest
from celery import Celery, Task, current_app, states
from celery.contrib.testing.worker import start_worker
from celery.signals import setup_logging
from django.apps import apps
from django.core.cache import caches
from django.test.utils import override_settings

from accounts.models import CustomUser
from django_querybudget import QueryBudgetExceeded, query_budget
from django_querybudget.contrib.celery import receivers
from django_querybudget.production.process import ProcessRecord
from django_querybudget.production.reading import read_picture
from django_querybudget.recording import hook
from django_querybudget.signals import nplusone_found
from django_querybudget.work import measured_work
from jobs.models import Industry, Job
from tests.contrib import celery_tasks as tasks
from tests.production.conftest import record

__all__ = ["record"]

pytestmark = pytest.mark.django_db

ROOT = Path(__file__).parent.parent.parent
HERE = "tests.contrib.celery_tasks."


@pytest.fixture(autouse=True)
def measured() -> Iterator[None]:
    """Listen as the app does, and find nothing left when all is over."""
    receivers.connect()
    yield
    receivers.disconnect()
    assert measured_work.get() is None
    assert hook._recorders.get() == ()


@pytest.fixture
def logging_left_alone() -> Iterator[None]:
    """A worker sets up the process's logging, unless somebody says that he does."""

    def set_up(**_: Any) -> None:
        """Do nothing."""

    setup_logging.connect(set_up)
    yield
    setup_logging.disconnect(set_up)


def counted() -> dict[str, tuple[int, float, float]]:
    """Return the runs, the queries and the exceeded budgets of each task in the record."""
    return {
        key.title.removeprefix(f"task {HERE}"): (
            each.requests,
            each.total("queries"),
            each.total("violations"),
        )
        for key, each in read_picture(3600).whole.series.items()
    }


def test_a_task_is_counted_by_its_name(record: ProcessRecord) -> None:
    assert tasks.counts.apply(args=[2]).get() == 0
    assert tasks.counts.apply(args=[3]).get() == 0
    record.flush()
    assert counted() == {"counts": (2, 5, 0)}


def test_a_task_that_raises_is_counted_and_raises_what_it_did(record: ProcessRecord) -> None:
    result = tasks.fails.apply(args=[2])
    assert (result.state, str(result.result)) == (states.FAILURE, "no such gig")
    with pytest.raises(LookupError, match="no such gig"):
        tasks.fails.apply(args=[1], throw=True)
    record.flush()
    assert counted() == {"fails": (2, 3, 0)}


def test_each_try_is_a_run_of_its_own(record: ProcessRecord) -> None:
    assert tasks.retries.apply(args=[2]).get() == 2
    record.flush()
    assert counted() == {"retries": (3, 6, 0)}


def test_a_task_in_a_task_is_counted_apart_and_in_it(record: ProcessRecord) -> None:
    tasks.nests.apply(args=[3])
    record.flush()
    assert counted() == {"nests": (1, 5, 0), "counts": (1, 3, 0)}


def test_a_budget_by_the_settings_is_told_and_fails_no_task(
    record: ProcessRecord, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.QUERYBUDGET = {
        **settings.QUERYBUDGET,
        "NPLUSONE": "off",
        "BUDGETS": {f"task {HERE}*": 4, f"task {HERE}counts": 1, "*": 0},
    }
    with caplog.at_level(logging.WARNING, "django_querybudget"):
        assert tasks.counts.apply(args=[3]).state == states.SUCCESS
        assert tasks.retries.apply(args=[4]).state == states.SUCCESS
    (message,) = [each.getMessage() for each in caplog.records]
    assert message.startswith(f"task {HERE}counts: 3 queries executed, budget is 1\n")
    assert "tests/contrib/celery_tasks.py" in message
    record.flush()
    assert counted() == {"counts": (1, 3, 1), "retries": (3, 12, 0)}
    series = {key.name: each for key, each in read_picture(3600).whole.series.items()}
    assert series[f"{HERE}counts"].budget == 1


def test_n_plus_one_queries_are_told_as_those_of_views(
    record: ProcessRecord, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.QUERYBUDGET = {**settings.QUERYBUDGET, "NPLUSONE": "raise"}
    industry = Industry.objects.create(name="Music")
    for number in range(4):
        client = CustomUser.objects.create(username=str(number), email=f"{number}@example.org")
        Job.objects.create(title=str(number), client=client, industry=industry, budget=1)
    told: list[tuple[str, str]] = []

    def receive(report: Any, findings: Any, **_: Any) -> None:
        told.extend((report.name, str(each.fix.code)) for each in findings)

    nplusone_found.connect(receive)
    try:
        with caplog.at_level(logging.WARNING, "django_querybudget"):
            assert tasks.loops.apply().state == states.SUCCESS
    finally:
        nplusone_found.disconnect(receive)
    line = 'Job.objects.select_related("client")'
    assert told == [(f"task {HERE}loops", line)]
    assert line in caplog.text
    record.flush()
    series = {key.name: each for key, each in read_picture(3600).whole.series.items()}
    assert series[f"{HERE}loops"].total("nplusone") == 1


@pytest.mark.parametrize(
    "name",
    [
        "below",
        "above",
        "above_bound",
        "above_autoretry",
        "above_shared",
        "below_shared",
        "above_shared_named",
        "above_class",
    ],
)
def test_a_budget_stands_in_either_order(name: str, record: ProcessRecord) -> None:
    task: Any = getattr(tasks, name)
    assert isinstance(task, Task)
    assert task.apply(args=[2], throw=True).get() == 0
    with pytest.raises(QueryBudgetExceeded, match="3 queries executed, budget is 2"):
        task.apply(args=[3], throw=True)
    with pytest.raises(QueryBudgetExceeded):
        task(3)  # a plain call
    result = task.apply(args=[3])
    assert (result.state, type(result.result)) == (states.FAILURE, QueryBudgetExceeded)
    assert callable(task.delay)
    record.flush()
    title = task.name.removeprefix(HERE)
    title = title if title in tasks.__dict__ else f"task {title}"
    assert counted() == {title: (3, 8, 2)}  # a plain call is no run


def test_what_is_only_to_be_logged_is_logged_once(
    record: ProcessRecord, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "django_querybudget"):
        assert tasks.above_logged.apply(args=[3]).state == states.SUCCESS
    (message,) = [each.getMessage() for each in caplog.records]
    assert message.startswith(f"{HERE}above_logged: 3 queries executed, budget is 2")
    record.flush()
    assert counted() == {"above_logged": (1, 3, 1)}


def test_to_decorate_a_task_makes_no_app_read_its_settings() -> None:
    app = Celery("apart", set_as_current=False, fixups=[])

    @query_budget(1)
    @app.task(name="apart.lazy")
    def lazy() -> None:
        """Say so."""

    assert not app.finalized
    assert not app.configured
    assert lazy.__doc__ == "Say so."
    assert app.tasks["apart.lazy"] is lazy._get_current_object()


def test_a_shared_task_of_an_app_that_is_made_later_has_its_budget() -> None:
    later = Celery("later", set_as_current=False, fixups=[])
    task = later.tasks["shop.shared"]
    assert task is not tasks.app.tasks["shop.shared"]
    with pytest.raises(QueryBudgetExceeded):
        task.apply(args=[3], throw=True)


def test_another_proxy_of_celerys_is_refused() -> None:
    with pytest.raises(TypeError, match="below the task's decorator"):
        query_budget(1)(current_app)


def test_nothing_is_measured_where_the_library_is_off(
    record: ProcessRecord, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.QUERYBUDGET = {
        **settings.QUERYBUDGET,
        "ENABLED": False,
        "BUDGETS": {f"task {HERE}counts": 1},
    }
    tasks.counts.apply(args=[3])
    record.flush()
    assert (counted(), caplog.text) == ({}, "")


def test_a_defect_of_ours_ends_no_task(
    record: ProcessRecord, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*arguments: Any, **options: Any) -> Any:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(receivers, "TaskRun", broken)
        assert tasks.counts.apply(args=[1], throw=True).get() == 0
    assert "could not measure the task" in caplog.text
    monkeypatch.setattr(receivers, "enforce_work", broken)
    assert tasks.counts.apply(args=[1], throw=True).get() == 0


def test_names_are_bounded(record: ProcessRecord) -> None:
    app = Celery("bounded", set_as_current=False, fixups=[])
    app.task(tasks.ask, name="x" * 10_000).apply(args=[1])
    record.flush()
    assert list(counted()) == ["task " + "x" * 199 + "…"]


def test_the_app_listens(record: ProcessRecord) -> None:
    receivers.disconnect()
    with override_settings(
        INSTALLED_APPS=["django_querybudget", "django_querybudget.contrib.celery"]
    ):
        assert apps.get_app_config("querybudget_celery").verbose_name
    tasks.counts.apply(args=[1])
    record.flush()
    assert counted() == {"counts": (1, 1, 0)}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("pool", ["solo", "threads"])
def test_a_worker_counts_what_its_tasks_query(
    pool: str,
    record: ProcessRecord,
    monkeypatch: pytest.MonkeyPatch,
    logging_left_alone: None,
) -> None:
    monkeypatch.setenv("CELERY_SKIP_CHECKS", "1")  # they ask every database
    with start_worker(
        tasks.app, pool=pool, concurrency=2, perform_ping_check=False, loglevel="ERROR"
    ):
        # Each with another number of queries: what one thread asks is in no other's count.
        results = [tasks.counts.delay(number) for number in range(6)]
        failing = tasks.fails.delay(2)
        assert [each.get(timeout=20, interval=0.02) for each in results] == [0] * 6
        with pytest.raises(LookupError):
            failing.get(timeout=20, interval=0.02)
        timers = [Timer(delay, tasks.wakes.delay) for delay in (0.1, 0.2, 0.3)]
        for timer in timers:
            timer.start()
    for timer in timers:
        timer.join()
    tasks.app.control.purge()
    record.flush()
    found = counted()
    assert found.pop("wakes", (0, 0, 0))[1] == 0
    assert found == {"counts": (6, 15, 0), "fails": (1, 2, 0)}


@pytest.mark.slow
@pytest.mark.once
def test_a_prefork_worker_loses_nothing_when_its_processes_end(redis_url: str) -> None:
    broker = redis_url.replace("unix://", "redis+socket://").replace("?db=", "?virtual_host=")
    shared = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": redis_url}
    worker = subprocess.Popen(
        [sys.executable, ROOT / "tests/contrib/celery_worker.py", broker, redis_url],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    app = Celery("sender", broker=broker, backend=broker, set_as_current=False, fixups=[])
    try:
        # More than the processes may run: they are replaced meanwhile.
        results = [app.send_task("shop.ticks", [number % 4]) for number in range(20)]
        assert [each.get(timeout=60) for each in results] == [number % 4 for number in range(20)]
        worker.send_signal(signal.SIGTERM)
        printed, _ = worker.communicate(timeout=60)
    finally:
        worker.kill()
        app.close()
    with override_settings(CACHES={"default": {**shared, "KEY_PREFIX": "prefork"}}):
        found = counted()
        caches["default"].clear()
    assert found == {"task shop.ticks": (20, 30, 5)}, printed
    assert "shop.ticks: 3 queries executed, budget is 2" in printed
