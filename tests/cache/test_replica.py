"""A real replica that is behind: what is read from it is stored only when it cannot be the past.

PostgreSQL's own streaming replication, of the suite's server; it is behind because the test halts
the replay.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from django.core.cache import caches
from django.db import connections
from django.db.backends.postgresql.base import DatabaseWrapper

from django_querybudget.cache import cache_stats, cached_queryset
from jobs.models import Industry
from tests import settings as suite
from tests.servers import PostgreSQL

LAG = 5.0  # seconds that the project says it may be behind: longer than the test halts it
PATIENCE = 60.0

pytestmark = [pytest.mark.once, pytest.mark.django_db(transaction=True, databases=["postgres"])]


class Standby(PostgreSQL):
    """A hot standby of the suite's PostgreSQL."""

    name = "standby"
    title = "PostgreSQL (standby)"

    def prepare(self) -> None:
        """Copy the primary, and say where it is."""
        copy = self._reachable_program().with_name("pg_basebackup")
        source = ["-h", suite.POSTGRESQL.folder, "-U", "postgres"]
        options = ["--write-recovery-conf", "--checkpoint=fast", "--no-sync", "-X", "stream"]
        self.execute(copy, *source, *options, "-D", self.folder / "data")

    def is_ready(self) -> bool:
        """Return True when it answers; of itself it says only that it is a standby."""
        return (self.folder / ".s.PGSQL.5432").exists() and self._log_says(
            "ready to accept read-only connections"
        )

    def _log_says(self, words: str) -> bool:
        return words in (self.folder / "log").read_text(errors="replace")


@pytest.fixture
def standby(settings: Any, redis_url: str, transactional_db: None) -> Iterator[str]:
    """The alias of a replica of ``postgres``."""
    del redis_url, transactional_db
    server = Standby(suite.RUN)
    server.start()
    database = connections["postgres"].settings_dict
    # Made by hand: an alias of DATABASES would have to be set up as a test database.
    replica = DatabaseWrapper({**database, "HOST": str(server.folder)}, alias="standby")
    connections["standby"] = replica
    caches["redis"].clear()
    cache_stats(reset=True)
    yield "standby"
    replica.close()
    del connections["standby"]


def configure(settings: Any, **cache: Any) -> None:
    settings.QUERYBUDGET = {"CACHE": {"ALIAS": "redis", **cache}}


@contextmanager
def behind() -> Iterator[None]:
    """Let the replica apply nothing."""
    # Past the library, for which a function that it does not know may write anything.
    with closing(connections["standby"].create_cursor()) as cursor:

        def is_paused() -> bool:
            cursor.execute("SELECT pg_get_wal_replay_pause_state()")
            return bool(cursor.fetchone()[0] == "paused")

        cursor.execute("SELECT pg_wal_replay_pause()")
        wait_until(is_paused)
        yield
        cursor.execute("SELECT pg_wal_replay_resume()")


def replica_is_at(name: str) -> Callable[[], bool]:
    return lambda: [each.name for each in Industry.objects.using("standby")] == [name]


def wait_until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def read() -> list[str]:
    return [each.name for each in cached_queryset(Industry.objects.using("standby"))]


def has_hit() -> bool:
    read()
    return cache_stats().hits > 0


def test_the_past_of_a_replica_is_not_stored(standby: str, settings: Any) -> None:
    configure(settings, REPLICAS={standby: {"primary": "postgres", "lag": LAG}})
    Industry.objects.using("postgres").create(name="a")
    wait_until(replica_is_at("a"))
    wait_until(has_hit)
    with behind():
        Industry.objects.using("postgres").update(name="b")
        assert read() == ["a"]  # the replica's own word: it has not heard of it yet
    assert cache_stats().not_stored["the snapshot may be older than a write"] >= 1
    wait_until(replica_is_at("b"))
    cache_stats(reset=True)
    wait_until(lambda: _is_b() and cache_stats().hits > 0)
    assert read() == ["b"]


def _is_b() -> bool:
    assert read() == ["b"]
    return True


def test_without_its_lag_it_would_be(standby: str, settings: Any) -> None:
    """The test above can fail: the same, with the settings' word on the lag taken away."""
    configure(settings, REPLICAS={standby: {"primary": "postgres", "lag": 0}}, CLOCK_SKEW=0)
    Industry.objects.using("postgres").create(name="a")
    wait_until(replica_is_at("a"))
    with behind():
        Industry.objects.using("postgres").update(name="b")
        assert read() == ["a"]
    wait_until(replica_is_at("b"))
    assert read() == ["a"]
