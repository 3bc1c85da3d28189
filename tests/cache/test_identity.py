"""Which database it is: several spellings of one, and several of one name."""

from __future__ import annotations

import os
import socket
import socketserver
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections, transaction

from django_querybudget.cache import cache_stats, cached_queryset, identity
from django_querybudget.cache.identity import database_name, is_identified, is_told_by_server
from jobs.models import Industry
from tests import settings as suite
from tests.servers import PgBouncer, PostgreSQL, Run

on_postgres = pytest.mark.django_db(transaction=True, databases=["postgres"])


@contextmanager
def another_alias(alias: str = "second", base: str = "postgres", **options: Any) -> Iterator[str]:
    """An alias with the settings of ``base``, but for ``options``."""
    connections.settings[alias] = {**connections.settings[base], **options}
    connection: Any = connections[alias]

    def ensure_connection() -> None:
        # Django's tests let only those aliases connect that were set up for them.
        if connection.connection is None:
            connection.connect()

    connection.ensure_connection = ensure_connection
    try:
        yield alias
    finally:
        connection.close()
        del connections[alias]
        del connections.settings[alias]
        identity._known.pop(alias, None)


class SecondServer(PostgreSQL):
    """Another PostgreSQL than the suite's."""

    name = "postgres2"
    title = "PostgreSQL (second)"


def read(alias: str) -> str:
    return cached_queryset(Industry.objects.using(alias), timeout=60).get(pk=1).name


@on_postgres
def test_another_spelling_of_the_host_is_the_same_database() -> None:
    Industry.objects.using("postgres").create(pk=1, name="old")
    assert read("postgres") == "old"
    link = Path(os.path.relpath(connections["postgres"].settings_dict["HOST"], "/"))
    with another_alias(HOST=f"/./{link}") as second:
        assert database_name(second) == database_name("postgres")
        # By save(), in a transaction, and by update().
        Industry.objects.using(second).filter(pk=1).update(name="new")
        assert read("postgres") == "new"
        with transaction.atomic(second):
            row = Industry.objects.using(second).get(pk=1)
            row.name = "newer"
            row.save(using=second)
        assert read("postgres") == "newer"
        assert read(second) == "newer"
        Industry.objects.using("postgres").update(name="newest")
        assert read(second) == "newest"


class Relay(socketserver.ThreadingTCPServer):
    """What a pooler is to a client: a server at another address, behind which is the same one."""

    daemon_threads = True

    def __init__(self, behind: str) -> None:
        self.behind = behind
        super().__init__(("127.0.0.1", 0), _Relayed)


class _Relayed(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, Relay)
        with socket.socket(socket.AF_UNIX) as behind:
            behind.connect(self.server.behind)
            threading.Thread(target=_pass_on, args=(behind, self.request), daemon=True).start()
            _pass_on(self.request, behind)


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while found := source.recv(65536):
            target.sendall(found)
        target.shutdown(socket.SHUT_WR)


@contextmanager
def relayed(own: dict[str, Any]) -> Iterator[dict[str, Any]]:
    with Relay(f"{own['HOST']}/.s.PGSQL.{own['PORT'] or 5432}") as relay:
        threading.Thread(target=relay.serve_forever, daemon=True).start()
        host, port = relay.server_address
        yield {"HOST": host, "PORT": port}
        relay.shutdown()


@contextmanager
def pooled(own: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """PgBouncer: each transaction may have another connection to the server."""
    folder = Path(tempfile.mkdtemp(prefix="querybudget-"))
    folder.chmod(0o755)  # it refuses to run as root
    server = PgBouncer(Run(owner=os.getpid(), folder=folder), own)
    try:
        server.start()
        yield {"HOST": str(server.folder), "PORT": server.port}
    finally:
        server.run.clean_up()  # and with it, its connections to the server


@pytest.mark.parametrize(
    "pooler", [relayed, pytest.param(pooled, marks=pytest.mark.pgbouncer)], ids=["relay", "pooler"]
)
@on_postgres
def test_a_poolers_alias_is_the_same_database(pooler: Any) -> None:
    """``default`` behind it, and ``default_direct`` beside it, as its documentation has it."""
    Industry.objects.using("postgres").create(pk=1, name="old")
    with (
        pooler(connections["postgres"].settings_dict) as place,
        another_alias("pooled", **place, DISABLE_SERVER_SIDE_CURSORS=True) as it,
    ):
        assert (read(it), read("postgres")) == ("old", "old")
        cache_stats(reset=True)
        assert read(it) == "old"
        assert cache_stats().hits == 1
        with transaction.atomic("postgres"):
            Industry.objects.using("postgres").filter(pk=1).update(name="new")
            assert read(it) == "old"
        assert read(it) == "new"
        Industry.objects.using(it).update(name="newer")
        assert (read("postgres"), read(it)) == ("newer", "newer")
        with transaction.atomic(it):
            Industry.objects.using(it).filter(pk=1).update(name="newest")
            assert read("postgres") == "newer"
        assert (read("postgres"), read(it)) == ("newest", "newest")


@on_postgres
def test_two_servers_with_equal_names_are_two_databases(settings: Any, redis_url: str) -> None:
    del redis_url
    settings.QUERYBUDGET = {"CACHE": {"ALIAS": "redis"}}
    name = connections["postgres"].settings_dict["NAME"]
    server = SecondServer(suite.RUN)
    server.start()
    with connections["postgres"].cursor() as cursor:
        cursor.execute("SELECT 1")
    Industry.objects.using("postgres").create(pk=1, name="first server")
    assert read("postgres") == "first server"
    with another_alias(HOST=server.settings()["HOST"], NAME="postgres") as second:
        connections[second].ensure_connection()
        connections[second].connection.execute(f'CREATE DATABASE "{name}"')
    # The other process of the other site: the same alias, another server.
    found = _in_another_process(server.settings()["HOST"], name)
    assert found == ["second server", "second server"]
    cache_stats(reset=True)
    assert read("postgres") == "first server"
    assert cache_stats().hits == 1


def _in_another_process(host: str, name: str) -> list[str]:
    program = """
import django
django.setup()
import sys
from django.db import connections
connections.settings["postgres"].update(HOST=sys.argv[1], NAME=sys.argv[2])
from django.conf import settings
settings.QUERYBUDGET = {"CACHE": {"ALIAS": "redis"}}
from django_querybudget.cache import cached_queryset
from jobs.models import Industry
with connections["postgres"].schema_editor() as editor:
    editor.create_model(Industry)
Industry.objects.using("postgres").create(pk=1, name="second server")
for _ in range(2):
    print(cached_queryset(Industry.objects.using("postgres"), timeout=60).get(pk=1).name)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, host, name],
        capture_output=True, text=True, check=False,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings",
             "PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[:-1]


@on_postgres
def test_the_question_is_asked_once_and_in_no_count(
    django_assert_num_queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    real = identity._ASKING["postgresql"]
    monkeypatch.setitem(
        identity._ASKING, "postgresql", lambda connection: (asked.append(""), real(connection))[1]
    )
    identity._known.clear()
    connections["postgres"].close()
    with django_assert_num_queries(1, connection=connections["postgres"]):
        list(Industry.objects.using("postgres"))
    for _ in range(3):
        database_name("postgres")
        list(cached_queryset(Industry.objects.using("postgres"), timeout=60))
        connections["postgres"].close()
    assert len(asked) == 1


@on_postgres
def test_a_connection_that_was_opened_to_ask_is_closed_again() -> None:
    connections["postgres"].close()
    identity._known.clear()
    assert database_name("postgres")
    assert connections["postgres"].connection is None


@on_postgres
def test_asking_inside_a_transaction_does_not_abort_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "_POSTGRESQL", "SELECT 1/0")
    with transaction.atomic("postgres"):
        Industry.objects.using("postgres").create(pk=1, name="kept")
        identity._known.clear()
        assert not is_identified("postgres")
        Industry.objects.using("postgres").filter(pk=1).update(name="kept too")
    assert Industry.objects.using("postgres").get(pk=1).name == "kept too"


@on_postgres
def test_a_server_that_does_not_answer_is_not_cached(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(identity, "_POSTGRESQL", "SELECT 1/0")
    identity._known.clear()
    cache_stats(reset=True)
    for _ in range(2):
        list(cached_queryset(Industry.objects.using("postgres"), timeout=60))
    assert cache_stats().bypasses == {"the server cannot say which database it is": 2}
    assert len(caplog.records) == 1
    assert "division by zero" in caplog.text


@on_postgres
def test_a_server_that_cannot_tell_is_known_by_its_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(identity, "_POSTGRESQL", "SELECT no_such_function()")
    identity._known.clear()
    assert is_identified("postgres")
    assert not is_told_by_server("postgres")
    with another_alias(HOST="elsewhere") as second:
        connections[second].vendor = "oracle"
        assert database_name(second) != database_name("postgres")


@on_postgres
def test_an_identity_in_the_settings_comes_first(settings: Any) -> None:
    settings.QUERYBUDGET = {"CACHE": {"IDENTITY": {"postgres": "main", "second": "main"}}}
    with another_alias(HOST="a-pooler.that.is.away", TEST={}) as second:
        assert database_name(second) == database_name("postgres")
        assert is_told_by_server(second)


@pytest.mark.django_db(transaction=True, databases=["mariadb"])
def test_two_databases_of_one_mariadb_are_two() -> None:
    with another_alias(base="mariadb", NAME="mysql") as second:
        assert database_name(second) != database_name("mariadb")
        assert is_told_by_server("mariadb")
        assert is_told_by_server(second)


@pytest.mark.django_db(databases=["default"])
def test_a_file_is_known_by_what_it_is(tmp_path: Path) -> None:
    for name in ("a", "b"):
        sqlite3.connect(tmp_path / name).close()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    files = {"one": tmp_path / "a", "two": tmp_path / "link", "three": tmp_path / "b"}
    with ExitStack() as stack:
        for alias, path in files.items():
            options = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path), "OPTIONS": {}}
            stack.enter_context(another_alias(alias, "default", **options))
        first, second, third = map(database_name, files)
    assert first == second != third


@on_postgres
def test_the_check_names_aliases_that_may_be_one_database(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with another_alias(HOST="/./" + str(suite.RUN.folder / "elsewhere")) as second:
        call_command("check", "--database", "postgres")
        assert "W024" not in capsys.readouterr().err
        monkeypatch.setattr(identity, "_POSTGRESQL", "SELECT no_such_function()")
        identity._known.clear()
        call_command("check", "--database", "postgres")
        said = capsys.readouterr().err
        assert "querybudget.W024" in said
        assert second in said
