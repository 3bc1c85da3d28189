"""One real query on each server: the ground that every other test stands on."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import psycopg
import pytest
import redis
from django.core.cache import caches
from django.db import connections

from tests.servers import RUN_VARIABLE, Redis, Run, ServerError

pytestmark = pytest.mark.once

VENDORS = {"postgres": "postgresql", "mariadb": "mysql"}


def test_each_database_answers_and_says_what_it_is(vendor_alias: str) -> None:
    connection = connections[vendor_alias]
    with connection.cursor() as cursor:
        cursor.execute("SELECT 6 * 7")
        assert cursor.fetchone() == (42,)
    if vendor_alias in VENDORS:
        assert connection.vendor == VENDORS[vendor_alias]


@pytest.mark.django_db(databases=["mariadb"])
def test_mariadb_is_mariadb() -> None:
    assert connections["mariadb"].mysql_is_mariadb


@pytest.mark.django_db(databases=["other"])
def test_the_second_database_is_a_file(settings) -> None:
    with connections["other"].cursor() as cursor:
        cursor.execute("PRAGMA database_list")
        path = Path(cursor.fetchone()[2])
    assert path.parent == settings.RUN.folder


def test_postgres_url_leads_to_postgresql(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        row = connection.execute("SELECT version()").fetchone()
    assert row is not None
    assert row[0].startswith("PostgreSQL ")


def test_redis_answers_through_the_client_and_the_cache(redis_url: str) -> None:
    client = redis.Redis.from_url(redis_url)
    caches["redis"].set("servers-test", "through django-redis", timeout=30)
    assert client.ping()
    assert any(b"servers-test" in key for key in client.scan_iter())
    assert caches["redis"].get("servers-test") == "through django-redis"


def test_servers_do_not_outlive_a_run_whose_owner_was_killed(tmp_path: Path) -> None:
    """A killed pytest cleans nothing up: the watchdog does, which the first server brought."""
    owner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    run = Run(owner=owner.pid, folder=tmp_path / "run")
    run.folder.mkdir()
    server = Redis(run)
    try:
        server.start()
        pid = int((server.folder / "pid").read_text().split()[0])
        assert psutil.pid_exists(pid)
    finally:
        owner.kill()
        owner.wait()
    deadline = time.monotonic() + 60
    while run.folder.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not run.folder.exists()
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie"


def test_a_server_that_does_not_start_shows_its_log(tmp_path: Path) -> None:
    class Broken(Redis):
        def command(self) -> list[str]:
            return [str(self._program()), "--port", "not-a-port"]

    run = Run(owner=os.getpid(), folder=tmp_path / "run")
    run.folder.mkdir()
    with pytest.raises(ServerError, match="not-a-port"):
        Broken(run).start()
    run.clean_up()


def test_a_second_start_finds_the_first(tmp_path: Path) -> None:
    run = Run(owner=os.getpid(), folder=tmp_path / "run")
    run.folder.mkdir()
    try:
        Redis(run).start()
        pid = (run.folder / "redis" / "pid").read_text()
        Redis(run).start()
        assert (run.folder / "redis" / "pid").read_text() == pid
    finally:
        run.clean_up()
    assert not psutil.pid_exists(int(pid.split()[0]))


def test_the_run_is_named_in_the_environment(settings, monkeypatch) -> None:
    monkeypatch.setenv(RUN_VARIABLE, f"12:{settings.RUN.folder}")
    run = Run.current()
    assert (run.owner, run.folder, run.is_mine) == (12, settings.RUN.folder, False)
