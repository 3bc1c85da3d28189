"""A Redis that half fails, under processes that write and processes that only hit.

Each fault is a real one, put on a real server: for its time and after it, no read is older than a
write that had returned before it began, and nobody sees an error. Before and after it, reads are
answered from the cache: one that never stores would pass otherwise.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import pytest
import redis
from django.conf import settings
from django.db import connections

from tests.cache import actors, world, worst_day
from tests.cache.own_redis import OwnRedis

SHORT, LONG = 3.0, 12.0
"""How long a fault stays, in seconds: longer than the pulse."""

PAUSE, LONG_PAUSE = 0.01, 0.002
"""Between two reads of a reader, in seconds; there are five writes a second and writer."""

PATIENCE = 30.0  # seconds until there are hits again, on a busy machine


@contextmanager
def takes_no_more(server: OwnRedis, client: redis.Redis) -> Iterator[None]:
    """``maxmemory`` is reached, and nothing may be evicted."""
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", 1)
    yield
    client.config_set("maxmemory", 0)


@contextmanager
def read_only(server: OwnRedis, client: redis.Redis) -> Iterator[None]:
    """It has become a replica, as after a failover, of a primary that nobody reaches."""
    client.replicaof("127.0.0.1", 1)
    yield
    client.replicaof("NO", "ONE")


@contextmanager
def no_scripts(server: OwnRedis, client: redis.Redis) -> Iterator[None]:
    """Its user may run no scripts any more."""
    client.execute_command("ACL", "SETUSER", "default", "-eval", "-evalsha")
    yield
    client.execute_command("ACL", "SETUSER", "default", "+@all")


@contextmanager
def no_scripts_and_no_deletes(server: OwnRedis, client: redis.Redis) -> Iterator[None]:
    """Its user may only read."""
    client.execute_command("ACL", "SETUSER", "admin", "on", ">x", "~*", "&*", "+@all")
    client.execute_command("ACL", "SETUSER", "default", "-@all", "+@read", "+client", "+select")
    yield
    with redis.Redis(unix_socket_path=server.server.socket, username="admin", password="x") as own:
        own.execute_command("ACL", "SETUSER", "default", "+@all")


@contextmanager
def killed(server: OwnRedis, client: redis.Redis) -> Iterator[None]:
    """It dies, and comes back empty."""
    client.close()
    server.stop(keep=False)
    yield
    server.start()


@contextmanager
def back_from_a_snapshot(server: OwnRedis, client: redis.Redis) -> Iterator[None]:
    """It dies, and comes back at once with what it held some writes ago, the pulse alive."""
    client.save()
    time.sleep(0.5)
    assert server.process is not None
    server.process.kill()
    server.process.wait()
    client.close()
    Path(server.server.socket).unlink(missing_ok=True)
    server.start()
    yield


@contextmanager
def frozen(server: OwnRedis, client: redis.Redis) -> Iterator[None]:
    """It takes connections, and answers nothing."""
    assert server.process is not None
    server.process.send_signal(signal.SIGSTOP)
    yield
    server.process.send_signal(signal.SIGCONT)


@contextmanager
def evicting(server: OwnRedis, client: redis.Redis) -> Iterator[None]:
    """It is full of others' keys, and takes any of all keys away for a new one."""
    client.config_set("maxmemory-policy", "allkeys-random")
    client.config_set("maxmemory", int(client.info("memory")["used_memory"]) + 2_000_000)
    with _meanwhile(lambda number: client.set(f"other:{number}", b"x" * 2000)):
        yield
    client.config_set("maxmemory", 0)


@contextmanager
def forgetting_scripts(server: OwnRedis, client: redis.Redis) -> Iterator[None]:
    """Somebody has its scripts thrown away, all the time."""
    with _meanwhile(lambda _: client.script_flush()):
        yield


@contextmanager
def _meanwhile(action: Callable[[int], object]) -> Iterator[None]:
    done = threading.Event()

    def run() -> None:
        number = 0
        while not done.wait(0.0005):
            number += 1
            action(number)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


FAULTS: list[Any] = [
    takes_no_more,
    read_only,
    no_scripts,
    no_scripts_and_no_deletes,
    killed,
    back_from_a_snapshot,
    frozen,
    evicting,
    forgetting_scripts,
]


@pytest.fixture
def board() -> Iterator[worst_day.Board]:
    memory = SharedMemory(create=True, size=8 * worst_day.PLACES)
    memory.buf[:] = bytes(len(memory.buf))
    board = worst_day.Board(memory)
    yield board
    board.close()
    memory.unlink()


@contextmanager
def processes_at_work(setup: dict[str, Any], board: worst_day.Board, log: Path) -> Iterator[Any]:
    roles = [("writer", number) for number in range(worst_day.WRITERS)]
    roles += [("reader", number) for number in range(worst_day.READERS)]
    processes = [
        actors.process(worst_day.work, *role, setup, board.memory.name, str(log)) for role in roles
    ]
    try:
        for process in processes:
            process.start()
        yield processes
    finally:
        for process in processes:
            if process.pid is not None:
                process.kill()
                process.join()


def wait_for_hits(board: worst_day.Board, told: str) -> float:
    """Wait until the readers have hits; return how long that took, in seconds."""
    began, before = time.monotonic(), board.total(worst_day.HITS)
    while board.total(worst_day.HITS) < before + 20:
        assert time.monotonic() < began + PATIENCE, f"no hits {told}"
        time.sleep(0.02)
    return time.monotonic() - began


def go_through(
    faults: list[Any],
    seconds: float,
    pause: float,
    alias: str,
    server: OwnRedis,
    board: Any,
    log: Path,
) -> None:
    world.fill(alias)
    log.touch()
    setup = {
        "alias": alias,
        "pause": pause,
        "database": {"NAME": connections[alias].settings_dict["NAME"]},
        "caches": {
            "redis": {
                "BACKEND": "django_redis.cache.RedisCache",
                "LOCATION": server.server.url(),
            }
        },
        "querybudget": {
            "CACHE": {**settings.QUERYBUDGET["CACHE"], "ALIAS": "redis", "RECOVERY_TIME": 2.0}
        },
    }
    with processes_at_work(setup, board, log) as processes:
        wait_for_hits(board, "at the beginning")
        for fault in faults:
            with redis.Redis(unix_socket_path=server.server.socket) as client:
                written = board.noted(worst_day.READERS, worst_day.READS)
                hits = board.total(worst_day.HITS)
                with fault(server, client):
                    time.sleep(seconds)
                    hits = board.total(worst_day.HITS) - hits
            took = wait_for_hits(board, f"after {fault.__name__}")
            slowest = [
                board.noted(each, worst_day.SLOWEST)
                for each in range(worst_day.READERS + worst_day.WRITERS)
            ]
            print(f"{fault.__name__}: {hits} hits in it, again after {took:.1f} s, {slowest} ms")  # noqa: T201 - for who runs it by hand
            assert board.noted(worst_day.READERS, worst_day.READS) > written
            assert log.read_text() == "", fault.__name__
        assert all(process.is_alive() for process in processes)


ALIAS = pytest.mark.parametrize("alias", ["postgres"])
DATABASE = pytest.mark.django_db(transaction=True, databases=["postgres"])


@pytest.mark.once
@ALIAS
@DATABASE
def test_nobody_reads_the_past_while_redis_half_fails(
    alias: str, own_redis: OwnRedis, board: worst_day.Board, tmp_path: Path
) -> None:
    faults = [takes_no_more, read_only, back_from_a_snapshot]
    go_through(faults, SHORT, PAUSE, alias, own_redis, board, tmp_path / "log")


@pytest.mark.slow
@ALIAS
@DATABASE
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_nobody_reads_the_past_for_longer(
    alias: str, fault: Any, own_redis: OwnRedis, board: worst_day.Board, tmp_path: Path
) -> None:
    go_through([fault], LONG, LONG_PAUSE, alias, own_redis, board, tmp_path / "log")
