"""Real django-tenants: two processes, two tenants, one PostgreSQL, one Redis."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict


class Process:
    """A process of the project (:mod:`tests.cache.tenants.process`)."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.cache.tenants.process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )

    def ask(self, name: str, *arguments: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([name, *arguments]) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"{name} failed"
        return json.loads(answer)

    def stop(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


@pytest.fixture(params=["", "limit"], ids=["each cursor", "TENANT_LIMIT_SET_CALLS"], scope="module")
def pair(
    request: pytest.FixtureRequest, postgres_url: str, redis_url: str
) -> Iterator[tuple[Process, Process]]:
    """Two processes of the project."""
    name = f"tenants_{request.param}_{os.environ.get('PYTEST_XDIST_WORKER', 'gw0')}"
    server = conninfo_to_dict(postgres_url)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}"')  # type: ignore[call-overload]
        connection.execute(f'CREATE DATABASE "{name}"')  # type: ignore[call-overload]
    environment = {
        "DJANGO_SETTINGS_MODULE": "tests.cache.tenants.settings",
        "PYTHONPATH": ":".join(sys.path),
        "TENANTS_NAME": name,
        "TENANTS_USER": str(server.get("user", "")),
        "TENANTS_HOST": str(server.get("host", "")),
        "TENANTS_PORT": str(server.get("port", "")),
        "TENANTS_PASSWORD": str(server.get("password", "")),
        "TENANTS_REDIS": redis_url,
        "TENANTS_LIMIT": request.param,
    }
    first, second = Process(environment), Process(environment)
    try:
        first.ask("create")
        yield first, second
    finally:
        first.stop()
        second.stop()


def check(process: Process, tenant: str) -> Any:
    """Read as a tenant, which must be what its database says; return that."""
    cached, plain = process.ask("read", tenant)
    assert cached == plain
    return cached


def test_each_tenant_reads_its_own_rows_in_every_process(pair: tuple[Process, Process]) -> None:
    for process in pair:
        process.ask("hits")
        for _ in range(2):
            for tenant in ("t1", "t2"):
                assert check(process, tenant)[0][0].startswith(tenant)
        # Of six reads each, the decorated one has a key of its own at its first call.
        assert process.ask("hits") >= 5


def test_a_write_is_seen_by_the_other_process(pair: tuple[Process, Process]) -> None:
    first, second = pair
    for tenant in ("t1", "t2"):
        before = {each: check(second, each) for each in ("t1", "t2")}
        first.ask("write", tenant, f"{tenant} written")
        assert check(second, tenant)[0] == [f"{tenant} written"]
        other = "t1" if tenant == "t2" else "t2"
        assert check(second, other) == before[other]


def test_a_shared_table_written_by_one_tenant_is_renewed_for_all(
    pair: tuple[Process, Process],
) -> None:
    first, second = pair
    for amount, tenant in ((10, "t1"), (20, "t2"), (30, "public")):
        for process in pair:
            for each in ("t1", "t2"):
                check(process, each)
        if tenant == "public":
            first.ask("write_price", "t1", amount)
        else:
            first.ask("write_price", tenant, amount)
        for process in (second, first):
            for each in ("t1", "t2"):
                assert check(process, each)[2] == [amount]


def test_the_middleware_switches_by_host(pair: tuple[Process, Process]) -> None:
    for process in pair:
        for tenant in ("t1", "t2", "t1", "t2"):
            notes, decorated, _ = process.ask("request", tenant)
            assert notes == decorated
            assert [text[:2] for text in notes] == [tenant]
    pair[0].ask("hits")
    pair[0].ask("request", "t1")
    assert pair[0].ask("hits") == 3


def test_switching_inside_a_transaction_and_savepoints(pair: tuple[Process, Process]) -> None:
    for process in pair:
        found = process.ask("switching_in_a_transaction")
        tenants = [text[:2] for reads in found for notes in reads for text in notes]
        assert tenants == ["t1"] * 4 + ["t2"] * 4 + ["t1"] * 4 + ["t2"] * 4


def test_threads_have_their_own_tenant(pair: tuple[Process, Process]) -> None:
    for process in pair:
        found = process.ask("threads")
        assert [text[:2] for text in found["t1"]] == ["t1"]
        assert [text[:2] for text in found["t2"]] == ["t2"]
