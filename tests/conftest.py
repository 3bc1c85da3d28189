"""Fixtures of the whole suite: the real servers, started when the first test needs them."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import cast

import pytest
from django.test import SimpleTestCase

from django_querybudget.reports import repeats
from tests import settings
from tests.parts import left_out
from tests.servers import Promtool, Server

ROOT = Path(__file__).parent
VENDOR_ALIASES = ["default", "postgres", "mariadb"]
OF_THE_SYSTEM: list[Server | Promtool] = [settings.MEMCACHED, settings.PGBOUNCER, Promtool()]
"""What no package brings; the tests that need one have a mark of its name."""


def pytest_configure() -> None:
    """Refuse to run CI without the servers that no package brings."""
    if os.environ.get("CI") == "true":
        for server in (settings.MARIADB, *OF_THE_SYSTEM):
            given = server is settings.MARIADB and settings.GIVEN_VENDOR == "mysql"
            if not given and not server.program():
                raise pytest.UsageError(f"CI has to have {server.title}: {server.hint}")


def pytest_report_header() -> list[str]:
    """Name the servers that the run would use."""
    if os.environ.get("PYTEST_XDIST_WORKER"):
        return []
    return [f"{name}: {words}" for name, words in _servers().items()]


def _servers() -> dict[str, str]:
    given = "the server that {} names".format
    servers: dict[str, tuple[Server | Promtool, str | bool]] = {
        "redis": (settings.REDIS, "REDIS_URL" in os.environ and given("REDIS_URL")),
        "postgres": (
            settings.POSTGRESQL,
            settings.GIVEN_VENDOR == "postgresql" and given("DATABASE_URL"),
        ),
        "mariadb": (settings.MARIADB, settings.GIVEN_VENDOR == "mysql" and given("DATABASE_URL")),
        **{server.name: (server, False) for server in OF_THE_SYSTEM},
    }
    return {
        name: str(named) if named else _describe(server)
        for name, (server, named) in servers.items()
    }


def _describe(server: Server | Promtool) -> str:
    return server.version() if server.program() else f"none here: {server.hint}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes ``vendor_alias`` once per kind of database."""
    if "vendor_alias" in metafunc.fixturenames:
        metafunc.parametrize("vendor_alias", VENDOR_ALIASES)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give vendor tests their database; leave out those whose server cannot be had here."""
    for item in items:
        if alias := _vendor_alias(item):
            marker = item.get_closest_marker("django_db")
            options = {**(marker.kwargs if marker else {}), "databases": [alias]}
            item.add_marker(pytest.mark.django_db(**options), append=False)
    part = os.environ.get("QUERYBUDGET_PART")
    others = left_out(items, part) if part else set()
    without = {item for item in items if item in others or _lacks_a_server(item)}
    items[:] = [item for item in items if item not in without]
    if without:
        config.hook.pytest_deselected(items=list(without))


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Import all tests, each worker of xdist others first.

    pytest rewrites a test file when it is first imported, and keeps that. Workers that begin with
    the same file would each do it, all at the same time.
    """
    gc.disable()
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is None or session.config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        return
    files = sorted(ROOT.rglob("test_*.py"))
    first = (
        len(files) * int(worker.removeprefix("gw")) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    )
    for file in files[first:] + files[:first]:
        try:
            import_module(".".join(file.relative_to(ROOT.parent).with_suffix("").parts))
        except Exception:  # pytest comes to it, and says so
            return


def pytest_collection_finish() -> None:
    """Let the garbage collector leave alone what is here now: it would walk all tests each time.

    And walk less often what comes: a suite makes little garbage that only it finds.
    """
    gc.enable()
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _lacks_a_server(item: pytest.Item) -> bool:
    if "mariadb" not in settings.DATABASES and "mariadb" in _databases(item):
        return True
    return any(
        item.get_closest_marker(server.name) is not None and not server.program()
        for server in OF_THE_SYSTEM
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which tests this machine could not run, and why."""
    for server in (settings.MARIADB, *OF_THE_SYSTEM):
        given = server is settings.MARIADB and "mariadb" in settings.DATABASES
        if not given and not server.program():
            terminalreporter.write_line(
                f"Tests on {server.title} were left out, none here: {server.hint}", yellow=True
            )


def _vendor_alias(item: pytest.Item) -> str | None:
    if isinstance(item, pytest.Function) and hasattr(item, "callspec"):
        return cast("str | None", item.callspec.params.get("vendor_alias"))
    return None


def _databases(item: pytest.Item) -> set[str]:
    """Return the aliases that a test asks for, by its marker or as a TestCase."""
    marker = item.get_closest_marker("django_db")
    wanted: Iterable[str] | None = marker.kwargs.get("databases") if marker else None
    case = getattr(item, "cls", None)
    if case is not None and issubclass(case, SimpleTestCase):
        wanted = case.databases
    aliases = set(settings.DATABASES)
    return aliases if wanted == "__all__" else set(wanted or ())


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    request: pytest.FixtureRequest,
    django_db_modify_db_settings_parallel_suffix: None,
) -> None:
    """Start the database servers that the collected tests ask for, before they are set up."""
    wanted = set().union(*(_databases(item) for item in request.session.items))
    if "postgres" in wanted and settings.GIVEN_VENDOR != "postgresql":
        settings.POSTGRESQL.start()
    if "mariadb" in wanted and settings.GIVEN_VENDOR != "mysql":
        settings.MARIADB.start()


@pytest.fixture(autouse=True)
def nothing_told_before() -> None:
    """A report is told whole once per process: each test begins as a new one."""
    repeats.forget()


@pytest.fixture(scope="session")
def postgres_url() -> str:
    """The URL of a running PostgreSQL, for what connects by itself (a process of its own, say)."""
    if settings.GIVEN_VENDOR == "postgresql":
        return os.environ["DATABASE_URL"]
    settings.POSTGRESQL.start()
    return settings.POSTGRESQL.url()


@pytest.fixture(scope="session")
def memcached_location() -> str:
    """Where Django's memcached backends find a running server."""
    settings.MEMCACHED.start()
    return f"unix:{settings.MEMCACHED.socket}"


@pytest.fixture(scope="session")
def redis_url() -> str:
    """The URL of this worker's running Redis."""
    if not os.environ.get("REDIS_URL"):
        settings.REDIS.start()
    return settings.SUITE_REDIS_URL
