"""A record as of a site that has lived for an hour: for the tests in a browser, and pictures."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.cache import caches
from django.test.utils import override_settings

from django_querybudget.production import process
from django_querybudget.production.process import ProcessRecord
from django_querybudget.production.record import Cost, Remark, Said, ShapeAt, series_key
from django_querybudget.production.store import MINUTE
from django_querybudget.sql.digests import statement_digest

SETTINGS: dict[str, Any] = {
    "PRODUCTION": {"ALIAS": "default", "INTERVAL": 60}, "CACHE": {}, "RELEASE": "2026.11.2",
}  # fmt: skip

# Name, method, requests a minute, queries before and after the deploy, ms a query, budget.
VIEWS = (
    ("jobs:list", "GET", 14, 42, 4, 1.9, 10),
    ("jobs:detail", "GET", 30, 6, 6, 0.7, 10),
    ("accounts:profile", "GET", 9, 11, 11, 1.1, 10),
    ("payment:checkout", "POST", 2, 23, 23, 2.2, 25),
    ("rating:reviews", "GET", 6, 3, 9, 1.6, None),
    ("jobs:apply", "POST", 1, 14, 14, 1.2, 20),
    ("api:search", "GET", 12, 2, 2, 3.1, 5),
    ("/health/<str:probe>/", "GET", 40, 1, 1, 0.1, None),
    ("admin:index", "GET", 1, 9, 9, 0.6, None),
)
SHAPES = (
    (
        "SELECT … FROM {0} INNER JOIN accounts_customuser ON (…) WHERE {0}.status = ? LIMIT ?",
        "{1}/views.py:31",
    ),
    (
        "SELECT … FROM accounts_profile WHERE accounts_profile.user_id = ? LIMIT ?",
        "{1}/serializers.py:52",
    ),
    ("SELECT COUNT(*) AS __count FROM {0} WHERE {0}.status = ?", "{1}/views.py:38"),
)  # fmt: skip


class Clock:
    """What the record takes for the time."""

    def __init__(self, now: float) -> None:
        self.now = now

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


@contextmanager
def an_hour_of_a_site(
    now: float, *, minutes: int = 60, more: tuple[str, ...] = ()
) -> Iterator[None]:
    """Fill the default cache with an hour of requests, two releases of them, up to ``now``.

    ``more`` are names of views beside them, a hostile client's say.
    """
    caches["default"].clear()
    chance, clock, real = random.Random(7), Clock(now), process.time  # noqa: S311  # no secret
    vars(process)["time"] = clock
    try:
        records = {name: ProcessRecord("default") for name in ("2026.11.1", "2026.11.2")}
        for minute in range(minutes):
            clock.now = now - (minutes - 1 - minute) * MINUTE.seconds
            release = "2026.11.1" if minute < minutes * 3 // 5 else "2026.11.2"
            with override_settings(QUERYBUDGET={**SETTINGS, "RELEASE": release}):
                record = records[release]
                for row in VIEWS:
                    _a_minute(record, row, minute, chance, new=release == "2026.11.2")
                for name in more:
                    record.add(series_key("view", name, "GET"), _values(2, 0.001, None), [])
                record.add(series_key("task", "send_invoices"), _values(18, 0.04, None), [])
                _shapes(record, more)
                record.flush()
        with override_settings(QUERYBUDGET=SETTINGS):
            yield
    finally:
        vars(process)["time"] = real
        caches["default"].clear()


def _a_minute(
    record: ProcessRecord, row: tuple[Any, ...], minute: int, chance: random.Random, *, new: bool
) -> None:
    name, method, often, before, after, milliseconds, budget = row
    wave = 1 + 0.35 * math.sin(minute / 9) + chance.uniform(-0.15, 0.15)
    for _ in range(max(1, round(often * wave))):
        queries = max(0, round((after if new else before) * chance.uniform(0.8, 1.2)))
        seconds = queries * milliseconds * chance.uniform(0.7, 1.6) / 1000
        hits = chance.choice((0, 1, 1, 1)) if name in ("jobs:list", "api:search") else None
        record.add(
            series_key("view", name, method), _values(queries, seconds, budget, hits), [], budget
        )


def _values(queries: int, seconds: float, budget: int | None, hits: int | None = None) -> Any:
    over = None if budget is None else int(queries > budget)
    reads = (0, 0, 0) if hits is None else (hits, 1 - hits, 1)
    loops = 1 if queries > 30 else 0
    return (queries, seconds, queries * 4, max(0, queries - 20), loops, over, *reads)


def _shapes(record: ProcessRecord, more: tuple[str, ...]) -> None:
    """Add what the queries were: shapes, the loop of jobs:list, the reasons of bypasses."""
    pending = record._pending.record
    for key, series in pending.series.items():
        app = key.name.partition(":")[0].strip("/") or "site"
        for number, (sql, place) in enumerate(SHAPES):
            text = sql.format(f"{app}_{app.rstrip('s')}", app)
            if key.name in more:
                text = f"SELECT {key.name} FROM t"
            shape = ShapeAt(text, place.format("", app), statement_digest(text))
            queries = int(series.total("queries") * (0.05, 0.9, 0.05)[number])
            cost = Cost(max(1, queries), series.seconds * (0.1, 0.8, 0.1)[number])
            pending.add_shape(series, shape, cost)
        if key.name == "jobs:list" and series.total("nplusone"):
            loop = Remark("nplusone", "load Job.client row by row", "jobs/serializers.py:52")
            advice = (
                "Write, at jobs/views.py:31 in JobList.get_queryset (saves 38 queries):\n"
                '  Job.objects.filter(status="open").select_related("client__profile")'
            )
            pending.add_remark(series, loop, Said(int(series.total("nplusone")), advice))
        if series.total("cache_bypasses"):
            times = int(series.total("cache_bypasses"))
            reasons = ("inside of a transaction that wrote jobs_job", "the rows have no order")
            for reason, share in zip(reasons, (3, 1), strict=True):
                said = Said(max(1, times * share // 4))
                pending.add_remark(series, Remark("bypass", reason), said)
