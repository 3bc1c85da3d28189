"""A real worker of Celery's, of a project of its own: ``celery_worker.py BROKER CACHE``."""

from __future__ import annotations

import sys

import django
from celery import Celery
from django.conf import settings

broker, cache = sys.argv[1:]
settings.configure(
    SECRET_KEY="x",
    INSTALLED_APPS=["django_querybudget", "django_querybudget.contrib.celery"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    CACHES={
        "default": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": cache,
            "KEY_PREFIX": "prefork",
        }
    },
    # Only the end of a process writes, then.
    QUERYBUDGET={"PRODUCTION": {"INTERVAL": 60}, "BUDGETS": {"task shop.ticks": 2}},
)
django.setup()

from django.db import connection  # noqa: E402  # settings first

app = Celery("shop", broker=broker, backend=broker)
app.conf.update(broker_connection_retry_on_startup=True, worker_hijack_root_logger=False)


@app.task(name="shop.ticks")
def ticks(times: int) -> int:
    with connection.cursor() as cursor:
        for _ in range(times):
            cursor.execute("SELECT 1")
    return times


app.worker_main(
    "worker --pool prefork --concurrency 2 --max-tasks-per-child 4 --loglevel WARNING "
    "--without-gossip --without-mingle --without-heartbeat".split()
)
