"""What the processes of ``test_processes`` do: writers that count up, readers that check.

Row ``n`` holds a number that only grows. After a write has returned, its writer puts the number on
a board in shared memory; a reader looks at the board, reads through the cache, and may not see
less than it saw there.
"""

from __future__ import annotations

import random
import time
import traceback
from collections.abc import Callable
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

from django.db import connections, transaction
from django.db.models import Max, QuerySet

from django_querybudget.cache import cached_queryset
from tests.cache import actor_process
from tests.cache.relations.models import Author, Book

ROWS = 10
OWN_ROWS = 2  # of each writer; the rest are everyone's
WRITERS = 4
READERS = 8
COUNTERS = WRITERS * ROWS + 2 * (WRITERS + READERS)


class Board:
    """Numbers in shared memory: each is written by one process alone."""

    def __init__(self, memory: SharedMemory) -> None:
        self.memory = memory
        self.numbers = memory.buf.cast("q")

    def returned(self, writer: int, row: int, number: int) -> None:
        """Say that a write of ``row`` has returned."""
        place = writer * ROWS + row
        self.numbers[place] = max(self.numbers[place], number)

    def floor(self, row: int) -> int:
        """Return the newest number of ``row`` whose write has returned."""
        return max(self.numbers[writer * ROWS + row] for writer in range(WRITERS))

    def count(self, process: int, what: int = 0) -> None:
        """Count what a process has done; ``what`` is 0 for all, 1 for answers without a query."""
        self.numbers[WRITERS * ROWS + 2 * process + what] += 1

    def done(self, process: int, what: int = 0) -> int:
        return int(self.numbers[WRITERS * ROWS + 2 * process + what])

    def close(self) -> None:
        self.numbers.release()
        self.memory.close()


def work(role: str, number: int, setup: dict[str, Any], memory: str, log: str) -> None:
    """Be a process of the crowd until the end, or until killed; errors go to ``log``."""
    actor_process.configure(setup, with_stops=False)
    board = Board(SharedMemory(memory))
    _count_queries(connections[setup["alias"]])
    process = number if role == "writer" else WRITERS + number
    chance = random.Random()  # noqa: S311  # what it does is chance; what it proves is not
    turn = _write if role == "writer" else _read
    try:
        while True:
            sent = _queries
            turn(board, number, chance, setup["alias"], Path(log))
            board.count(process)
            if _queries == sent:
                board.count(process, 1)
    except Exception:  # none may happen: the test reads the log
        with Path(log).open("a") as file:
            file.write(f"ERROR {time.time()} {role} {number}: {traceback.format_exc()}\n")


_queries = 0


def _count_queries(connection: Any) -> None:
    def count(execute: Any, *arguments: Any) -> Any:
        global _queries
        _queries += 1
        return execute(*arguments)

    connection.execute_wrappers.append(count)


# Writers


def _save(rows: QuerySet[Author], key: int, number: int) -> None:
    author = rows.get(pk=key)
    author.score = number
    author.save()


def _update(rows: QuerySet[Author], key: int, number: int) -> None:
    rows.filter(pk=key).update(score=number)


def _bulk_update(rows: QuerySet[Author], key: int, number: int) -> None:
    rows.bulk_update([Author(pk=key, score=number)], ["score"])


def _raw(rows: QuerySet[Author], key: int, number: int) -> None:
    with connections[rows.db].cursor() as cursor:
        cursor.execute("UPDATE relations_author SET score = %s WHERE id = %s", [number, key])


WAYS: list[Callable[[QuerySet[Author], int, int], None]] = [_save, _update, _bulk_update, _raw]


def _write(board: Board, writer: int, chance: random.Random, alias: str, log: Path) -> None:
    del log
    rows = Author.objects.using(alias)
    way = chance.choice(WAYS)
    is_own = chance.random() < 0.5
    if is_own:
        row = writer * OWN_ROWS + chance.randrange(OWN_ROWS)
    else:
        row = chance.randrange(WRITERS * OWN_ROWS, ROWS)
    key = row + 1
    if is_own and chance.random() < 0.6:
        number = rows.values_list("score", flat=True).get(pk=key) + 1
        way(rows, key, number)
    else:
        with transaction.atomic(using=alias):
            number = rows.select_for_update().values_list("score", flat=True).get(pk=key) + 1
            try:
                with transaction.atomic(using=alias):
                    way(rows, key, number)
                    if chance.random() < 0.2:
                        raise _Undo
            except _Undo:
                pass
            way(rows, key, number)
            if chance.random() < 0.2:
                transaction.set_rollback(True, using=alias)
                return
    board.returned(writer, row, number)
    time.sleep(chance.random() * 0.1)  # so that there is something to answer from the cache


class _Undo(Exception):
    pass


# Readers


def _read(board: Board, reader: int, chance: random.Random, alias: str, log: Path) -> None:
    rows = cached_queryset(Author.objects.using(alias), 600)
    row = chance.randrange(ROWS)
    form = chance.randrange(5)
    floors = [board.floor(each) for each in range(ROWS)]
    began = time.time()
    if form == 0:
        seen = {row: rows.get(pk=row + 1).score}
    elif form == 1:
        seen = {author.pk - 1: author.score for author in rows.order_by("pk")[:ROWS]}
    elif form == 2:
        with transaction.atomic(using=alias):
            seen = {row: rows.filter(pk=row + 1).aggregate(n=Max("score"))["n"]}
    elif form == 3:
        books = cached_queryset(Book.objects.using(alias).select_related("author"), 600)
        seen = {book.author_id - 1: book.author.score for book in books}
    else:
        books = cached_queryset(Book.objects.using(alias).prefetch_related("author"), 600)
        seen = {book.author_id - 1: book.author.score for book in books}
    for each, number in seen.items():
        if number < floors[each]:
            with log.open("a") as file:
                file.write(
                    f"STALE {began} {time.time()} reader {reader} form {form} row {each}: "
                    f"{number} < {floors[each]}\n"
                )
