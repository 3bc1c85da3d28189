"""RQ's jobs by the generic scope, as docs/how-to/tasks-and-commands.rst says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.test.utils import override_settings
from redis import Redis
from rq import Queue

from django_querybudget.production.process import ProcessRecord
from django_querybudget.production.reading import read_picture
from tests.contrib import rq_jobs
from tests.production.conftest import record

__all__ = ["record"]

pytestmark = pytest.mark.django_db

ROOT = Path(__file__).parent.parent.parent


def counted() -> dict[str, tuple[int, float]]:
    series = read_picture(3600).whole.series
    return {key.title: (each.requests, each.total("queries")) for key, each in series.items()}


def test_a_job_is_measured_and_held_to_its_budget(redis_url: str, record: ProcessRecord) -> None:
    with Redis.from_url(redis_url) as connection:
        queue = Queue(rq_jobs.QUEUE, connection=connection, is_async=False)
        assert queue.enqueue(rq_jobs.sends, 3).return_value() == 3
        failed = [queue.enqueue(rq_jobs.fails).latest_result()]
        for function in (rq_jobs.above, rq_jobs.below):
            assert queue.enqueue(function, 2).return_value() == 2
            failed.append(queue.enqueue(function, 3).latest_result())
    told = [str(each.exc_string).strip() for each in failed]  # type: ignore[union-attr]
    assert told[0].endswith("LookupError: no such gig")
    assert ["3 queries executed, budget is 2" in each for each in told[1:]] == [True, True]
    record.flush()
    assert counted() == {"task sends": (1, 3), "task fails": (1, 1)}


@pytest.mark.slow
@pytest.mark.once
def test_what_a_forked_job_flushes_is_in_the_record(redis_url: str) -> None:
    shared: Any = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": redis_url}
    with Redis.from_url(redis_url) as connection:
        queue = Queue(rq_jobs.QUEUE, connection=connection)
        jobs = [queue.enqueue(rq_jobs.sends_and_flushes, number) for number in range(3)]
        done = subprocess.run(
            [sys.executable, ROOT / "tests/contrib/rq_jobs.py", redis_url],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert [each.return_value(refresh=True) for each in jobs] == [0, 1, 2], done.stderr
    with override_settings(CACHES={"default": {**shared, "KEY_PREFIX": "rq"}}):
        assert counted() == {"task sends": (3, 3)}
        caches["default"].clear()
