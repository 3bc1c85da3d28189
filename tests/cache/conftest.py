"""What the cache's proofs say at the end of a run: how many steps and orders they went through."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from django.db import connections

from django_querybudget.cache.reading import leases
from django_querybudget.cache.stores.chosen import _stores
from tests.cache import programs, random_programs, world
from tests.cache.own_redis import OwnRedis
from tests.cache.stage import Stage


@pytest.fixture
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnRedis]:
    """A Redis of the test's own, running."""
    # A short path: that of a socket has a limit of about a hundred characters.
    server = OwnRedis(tmp_path_factory.mktemp("r"))
    server.start()
    yield server
    server.stop(keep=False)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no lease end by its time: on a machine that stands still for a second, two make it."""
    for name in ("LEASE", "LONGEST", "WAIT"):
        monkeypatch.setattr(leases, name, 20.0)


@pytest.fixture
def stage(
    alias: str, isolation: str, redis_url: str, db: None, record_property: Any
) -> Iterator[Stage]:
    """A database that the test names, with its rows, for actors to meet on."""
    del db
    if connections[alias].vendor == "sqlite":
        programs._execute(alias, "PRAGMA journal_mode = WAL")
    world.fill(alias)
    # The keeper of a test before would refresh the pulse that the actors leave alone.
    for store in list(_stores.values()):
        store.retire()
    with redis.Redis.from_url(redis_url) as client:
        yield Stage(alias, isolation, client, record_property)


@pytest.fixture
def ground(first: str, redis_url: str, transactional_db: None) -> Iterator[None]:
    """What random programs begin with; ``first`` is the first database's alias."""
    del redis_url, transactional_db
    with random_programs.on_ground(first):
        yield


COUNTED = {
    "steps": "steps of random programs, every cached read compared after each",
    "orders": "orders of two or more processes, each run to its end",
    "hits": "of the reads of separate processes answered without a query",
    "reads": "reads of separate processes while others write, die, and Redis stops",
}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the counts; the workers of xdist send them with their reports."""
    totals: Counter[str] = Counter()
    for report in terminalreporter.stats.get("passed", []):
        for name, value in getattr(report, "user_properties", []):
            if name in COUNTED and report.when == "call":
                totals[name] += value
            elif name == "again" and report.when == "call":
                terminalreporter.write_line(f"{report.nodeid} went again: {value}")
    for name, total in totals.items():
        terminalreporter.write_line(f"{total} {COUNTED[name]}")
