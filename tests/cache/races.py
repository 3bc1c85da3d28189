"""R1 to R10 and R13: the races that leave other caches stale, as programs of two processes.

A letter marks a variant (R2b). In R11 and R12 a process dies: ``test_interleavings`` has them.
Each race is run in all orders of its steps, so the order that its name speaks of is among them.
``benchmarks/correctness.py`` runs them against other libraries too.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Race:
    """A reader and a writer."""

    title: str
    reader: str = "read"
    write: str = "update"
    warm: bool = False  # an entry from before is in the cache
    snapshot: bool = False  # the reader's own answer may be its transaction's
    vendors: tuple[str, ...] = ("sqlite", "postgresql", "mysql")


RACES = {
    "R1": Race(
        title="another's write between a reader's SELECT and its fill",
        write="update_in_atomic",
    ),
    "R2": Race(title="a save() paused before its statement while a reader fills", write="save"),
    "R2b": Race(title="an update() paused before its statement while a reader fills"),
    "R2c": Race(title="raw SQL paused before it is sent while a reader fills", write="raw"),
    "R2d": Race(
        title="an update() by a foreign key paused before its statement while a reader fills",
        write="update_of_a_payers",
    ),
    "R3": Race(
        title="a fill between an uncommitted write and its COMMIT",
        reader="read_twice",
        write="write_twice_in_atomic",
        warm=True,
    ),
    "R4": Race(
        title="on_commit tasks, registered before and after the write, that read",
        write="write_and_read_on_commit",
        warm=True,
    ),
    "R4b": Race(title="an on_commit task that writes", write="write_in_commit_hook", warm=True),
    "R5": Race(
        title="a read-only transaction that commits after another's write",
        reader="read_in_atomic",
        warm=True,
        snapshot=True,
    ),
    "R6": Race(
        title="a fill from a snapshot older than the write",
        reader="read_in_atomic",
        snapshot=True,
    ),
    "R6b": Race(
        title="the same with SET TRANSACTION",
        reader="read_in_repeatable_read",
        snapshot=True,
        vendors=("postgresql",),
    ),
    "R6c": Race(
        title="the same with SET SESSION",
        reader="read_in_session_repeatable_read",
        snapshot=True,
        vendors=("mysql",),
    ),
    "R6d": Race(
        title="the same in a transaction of the application's own SQL",
        reader="read_in_raw_transaction",
        snapshot=True,
    ),
    "R6e": Race(
        title="the same under set_autocommit(False)",
        reader="read_in_manual_transaction",
        snapshot=True,
    ),
    "R7": Race(title="a rollback", reader="read_twice", write="roll_back"),
    "R8": Race(
        title="a write after a savepoint's rollback",
        reader="read_twice",
        write="write_after_a_savepoint_rolled_back",
    ),
    "R8b": Race(
        title="a write before a savepoint's rollback",
        reader="read_twice",
        write="write_before_a_savepoint_rolled_back",
    ),
    "R8c": Race(title="a write in a savepoint", write="write_in_a_savepoint", warm=True),
    "R9": Race(
        title="a transaction that reads its own write",
        reader="read_twice",
        write="write_and_read_in_atomic",
    ),
    "R10": Race(title="set_autocommit(False)", reader="read_twice", write="write_manually"),
    "R10b": Race(
        title="BEGIN and COMMIT as the application's own SQL", write="write_in_raw_transaction"
    ),
    "R10c": Race(
        title="BEGIN and ROLLBACK as the application's own SQL",
        write="roll_back_in_raw_transaction",
    ),
    "R13": Race(title="an atomic() whose entry failed", write="write_after_a_failed_entry"),
}
