"""Writers and readers as processes of their own, killed at random, while Redis stops twice.

Three things may not happen: a read that is older than a write that had returned before it began,
an error anywhere, and a test that proves nothing because no read was answered by the cache.
Reads while Redis is away, and until the marks of the dead are over, may be old; nothing else may.

``QUERYBUDGET_SECONDS`` is how long it goes on.
"""

from __future__ import annotations

import os
import random
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connections

from tests.cache import actors, crowd, world
from tests.cache.own_redis import OwnRedis
from tests.cache.relations.models import Author, Book

SECONDS = float(os.environ.get("QUERYBUDGET_SECONDS", "60"))
AWAY = 3.0  # seconds that Redis is stopped for
MARK_TIMEOUT = 2.0
GRACE = 6.0  # seconds after Redis is back: the marks' time, and each process's pause


@pytest.fixture
def board() -> Iterator[crowd.Board]:
    memory = SharedMemory(create=True, size=8 * crowd.COUNTERS)
    memory.buf[:] = bytes(len(memory.buf))
    board = crowd.Board(memory)
    yield board
    board.close()
    memory.unlink()


@contextmanager
def crowd_at_work(setup: dict[str, Any], board: crowd.Board, log: Path) -> Iterator[Any]:
    """Start the crowd; yield a function that kills one of them and starts another in its place."""
    roles = [("writer", number) for number in range(crowd.WRITERS)]
    roles += [("reader", number) for number in range(crowd.READERS)]
    processes: dict[tuple[str, int], Any] = {}

    def start(role: tuple[str, int]) -> None:
        process = actors.process(crowd.work, *role, setup, board.memory.name, str(log))
        process.start()
        processes[role] = process

    def replace(role: tuple[str, int]) -> None:
        os.kill(processes[role].pid, signal.SIGKILL)
        processes[role].join()
        start(role)

    try:
        for role in roles:
            start(role)
        yield replace, processes
    finally:
        for process in processes.values():
            process.kill()
            process.join()


@pytest.mark.slow
@pytest.mark.parametrize("alias", ["postgres"])
@pytest.mark.django_db(transaction=True, databases=["postgres"])
def test_no_reader_sees_the_past_and_none_sees_an_error(
    alias: str,
    own_redis: OwnRedis,
    board: crowd.Board,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    world.fill(alias)
    Author.objects.using(alias).bulk_create(
        [Author(pk=pk, name=f"author {pk}") for pk in range(5, crowd.ROWS + 1)]
    )
    Book.objects.using(alias).bulk_create(
        [Book(pk=100 + pk, title="", author_id=pk) for pk in range(1, crowd.ROWS + 1)]
    )
    log = tmp_path / "log"
    log.touch()
    setup = {
        "alias": alias,
        "database": {"NAME": connections[alias].settings_dict["NAME"]},
        "caches": {
            "redis": {
                "BACKEND": "django_redis.cache.RedisCache",
                "LOCATION": own_redis.server.url(),
            }
        },
        "querybudget": {
            "CACHE": {
                **settings.QUERYBUDGET["CACHE"],
                "ALIAS": "redis",
                "MARK_TIMEOUT": MARK_TIMEOUT,
            }
        },
    }
    seed = int(os.environ.get("QUERYBUDGET_SEED") or secrets.randbits(32))
    chance = random.Random(seed)  # noqa: S311 - the same each time
    print(f"QUERYBUDGET_SEED={seed}")  # noqa: T201  # pytest shows it with a failure
    allowed: list[tuple[float, float]] = []
    with crowd_at_work(setup, board, log) as (replace, processes):
        began = time.monotonic()
        outages = [(SECONDS * 0.25, True), (SECONDS * 0.6, False)]
        while (now := time.monotonic() - began) < SECONDS:
            if outages and now > outages[0][0]:
                _, keep = outages.pop(0)
                stopped = time.time()
                own_redis.stop(keep=keep)
                time.sleep(AWAY / 2)
                replace(chance.choice(sorted(processes)))  # one dies while Redis is away
                time.sleep(AWAY / 2)
                own_redis.start()
                allowed.append((stopped, time.time() + GRACE))
            time.sleep(chance.random())
            replace(chance.choice(sorted(processes)))
        assert all(process.is_alive() for process in processes.values())
    lines = log.read_text().splitlines(keepends=True)
    errors = "".join(line for line in lines if not line.startswith("STALE"))
    assert errors == ""
    stale = [line for line in lines if not _is_allowed(line, allowed)]
    assert stale == [], f"{len(stale)} stale reads, QUERYBUDGET_SEED={seed}"
    reads = sum(board.done(crowd.WRITERS + number) for number in range(crowd.READERS))
    writes = sum(board.done(number) for number in range(crowd.WRITERS))
    assert min(board.done(number) for number in range(crowd.WRITERS + crowd.READERS)) > 0
    hits = sum(board.done(crowd.WRITERS + number, 1) for number in range(crowd.READERS))
    assert hits > 0
    record_property("reads", reads)
    record_property("hits", hits)
    record_property("writes", writes)


def _is_allowed(line: str, allowed: list[tuple[float, float]]) -> bool:
    began, ended = (float(word) for word in line.split()[1:3])
    return any(start <= ended and began <= end for start, end in allowed)
