"""RQ's jobs; run as a program, ``rq_jobs.py REDIS``, it is their worker, which forks for each."""

from __future__ import annotations

import sys

from django.db import connection
from redis import Redis
from rq.decorators import job

from django_querybudget import query_budget
from django_querybudget.production import current_record, measured

QUEUE = "querybudget"
NOWHERE = Redis()  # a decorator wants one; the tests' queue has its own


def ask(times: int) -> int:
    with connection.cursor() as cursor:
        for _ in range(times):
            cursor.execute("SELECT 1")
    return times


def sends(times: int) -> int:
    with measured("task", "sends"):
        return ask(times)


def sends_and_flushes(times: int) -> int:
    try:
        return sends(times)
    finally:
        record = current_record()
        assert record is not None
        record.flush()


def fails() -> None:
    with measured("task", "fails"):
        ask(1)
        raise LookupError("no such gig")


@query_budget(2)
@job(QUEUE, connection=NOWHERE)
def above(times: int) -> int:
    return ask(times)


@job(QUEUE, connection=NOWHERE)
@query_budget(2)
def below(times: int) -> int:
    return ask(times)


if __name__ == "__main__":
    import django
    from django.conf import settings
    from rq import Queue, Worker

    (redis_url,) = sys.argv[1:]
    settings.configure(
        SECRET_KEY="x",
        INSTALLED_APPS=["django_querybudget"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        CACHES={
            "default": {
                "BACKEND": "django_redis.cache.RedisCache",
                "LOCATION": redis_url,
                "KEY_PREFIX": "rq",
            }
        },
        QUERYBUDGET={"PRODUCTION": {"INTERVAL": 60}},
    )
    django.setup()
    found = Redis.from_url(redis_url)
    Worker([Queue(QUEUE, connection=found)], connection=found).work(burst=True)
