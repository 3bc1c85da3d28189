"""What the processes of ``test_worst_day`` do: a writer that counts up, readers that only hit.

Row ``n`` holds a number that only grows. After a write has returned, its writer puts the number on
a board in shared memory; a reader looks at the board, reads through the cache, and may not see
less. Readers count, too, how many of their reads sent no query.
"""

from __future__ import annotations

import time
import traceback
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

from django.db import connections, transaction

from django_querybudget.cache import cached_queryset
from tests.cache import actor_process
from tests.cache.relations.models import Author

WRITERS = 2
READERS = 3
ROWS = WRITERS + 1  # the last is never written: under eviction, what changes is not stored
READS, HITS, SLOWEST = range(3)
START = 5  # how many writes or reads of a process are its start, which is slow by itself
PLACES = WRITERS + 3 * (READERS + WRITERS)


class Board:
    """Numbers in shared memory: each is written by one process alone."""

    def __init__(self, memory: SharedMemory) -> None:
        self.memory = memory
        self.numbers = memory.buf.cast("q")

    def returned(self, writer: int, number: int) -> None:
        """Say that the write of ``number`` to the writer's row has returned."""
        self.numbers[writer] = number

    def floor(self, writer: int) -> int:
        return int(self.numbers[writer])

    def note(self, process: int, what: int, number: int) -> None:
        self.numbers[WRITERS + 3 * process + what] = number

    def noted(self, process: int, what: int) -> int:
        return int(self.numbers[WRITERS + 3 * process + what])

    def total(self, what: int) -> int:
        """Return the sum of what the readers have noted."""
        return sum(self.noted(process, what) for process in range(READERS))

    def close(self) -> None:
        self.numbers.release()
        self.memory.close()


def work(role: str, number: int, setup: dict[str, Any], memory: str, log: str) -> None:
    """Be one of the processes until killed; what must not happen goes to ``log``."""
    actor_process.configure(setup, with_stops=False)
    board = Board(SharedMemory(memory))
    try:
        if role == "writer":
            _write(board, number, setup["alias"])
        else:
            _read(board, number, setup["alias"], Path(log), setup["pause"])
    except Exception:  # none may happen: the test reads the log
        with Path(log).open("a") as file:
            file.write(f"ERROR {role} {number}: {traceback.format_exc()}\n")


def _write(board: Board, writer: int, alias: str) -> None:
    process, number, slowest = READERS + writer, 0, 0
    while True:
        number += 1
        began = time.monotonic()
        if number % 2:
            Author.objects.using(alias).filter(pk=writer + 1).update(score=number)
        else:
            with transaction.atomic(using=alias):
                Author.objects.using(alias).filter(pk=writer + 1).update(score=number)
                time.sleep(0.05)
        board.returned(writer, number)
        if number > START:
            slowest = max(slowest, int(1000 * (time.monotonic() - began)))
        board.note(process, SLOWEST, slowest)
        board.note(process, READS, number)
        time.sleep(0.15)


def _read(board: Board, reader: int, alias: str, log: Path, pause: float) -> None:
    sent = 0

    def count(execute: Any, *arguments: Any) -> Any:
        nonlocal sent
        sent += 1
        return execute(*arguments)

    connections[alias].execute_wrappers.append(count)
    rows = cached_queryset(Author.objects.using(alias), 600)
    reads = hits = slowest = 0
    while True:
        row = reads % ROWS
        floor = board.floor(row) if row < WRITERS else 0
        before, began = sent, time.monotonic()
        # By the primary key, whose tag comes and goes, or by the whole table.
        seen = (
            rows.get(pk=row + 1).score
            if reads % (2 * ROWS) < ROWS
            else dict(rows.values_list("pk", "score"))[row + 1]
        )
        reads += 1
        hits += sent == before
        if reads > START:
            slowest = max(slowest, int(1000 * (time.monotonic() - began)))
        if seen < floor:
            with log.open("a") as file:
                file.write(f"STALE {time.time()} reader {reader} row {row}: {seen} < {floor}\n")
        for what, number in ((READS, reads), (HITS, hits), (SLOWEST, slowest)):
            board.note(reader, what, number)
        time.sleep(pause)
