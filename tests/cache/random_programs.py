"""Random programs: what they begin with, their transactions, and how they are run.

Most programs run on two SQLite files, which take milliseconds to begin again; the others have a
PostgreSQL or a MariaDB for the first database.

``QUERYBUDGET_SEED`` repeats a run; a failure names its seed. ``QUERYBUDGET_STEPS`` is how many the
long run has. To make a failing program short takes far longer than to find it: with
``QUERYBUDGET_SHRINK=0`` it is printed as it was found.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, ClassVar

import hypothesis
import pytest
from django.conf import settings
from django.core.cache import caches
from django.core.exceptions import ObjectDoesNotExist
from django.db import Error, IntegrityError, connections, transaction
from django.test import override_settings
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.cache import world
from tests.cache.hosts import rows as host_rows
from tests.cache.programs import forget

__all__ = ["CACHES", "LONG", "ON_EACH", "SHORT", "Program", "aliases", "keys", "on_ground", "run"]

CACHES = ["default", "redis"]
SHORT, LONG = 800, int(os.environ.get("QUERYBUDGET_STEPS", "20000"))
PHASES = list(Phase)
if os.environ.get("QUERYBUDGET_SHRINK") == "0":
    PHASES = [Phase.generate]
# Of the steps, in tenths: the first database, and the cache that holds the tokens.
SHARES = {
    ("default", "default"): 3,
    ("default", "redis"): 5,
    ("postgres", "redis"): 1,
    ("mariadb", "redis"): 1,
}
ON_EACH = [
    pytest.param(
        first,
        tokens,
        id=f"{first}-{tokens}",
        marks=pytest.mark.django_db(transaction=True, databases=[first, "other"]),
    )
    for first, tokens in SHARES
]
DEPTH = 3

aliases = st.runner().flatmap(lambda machine: st.sampled_from(machine.aliases))
keys = st.integers(1, 4)


class Program(RuleBasedStateMachine):
    """A process that writes and opens transactions, and a second connection to look on."""

    steps = 0
    aliases: ClassVar[list[str]]
    templates: ClassVar[dict[str, sqlite3.Connection]]
    onlooker: ClassVar[ThreadPoolExecutor]

    def begin(self, *, scoped: bool, **others: Any) -> None:
        """Put every row where it was, empty the caches; ``others`` are settings."""
        own = {} if scoped else {"SCOPES": {}}
        cache = {**settings.QUERYBUDGET["CACHE"], **own}
        self.settings = override_settings(QUERYBUDGET={"CACHE": cache}, **others)
        self.settings.enable()
        for alias in self.aliases:
            if connections[alias].vendor == "sqlite":
                self.templates[alias].backup(connections[alias].connection)
            else:
                world.empty(alias)
                _fill(alias)
        for name in CACHES:
            caches[name].clear()
        # What a process learned makes a hit of a miss: a program found again would end elsewhere.
        for alias in self.aliases:
            forget(alias)
        self.blocks: dict[str, list[Any]] = {alias: [] for alias in self.aliases}
        self.manual: set[str] = set()

    def teardown(self) -> None:
        for alias in self.aliases:
            self.by_hand_end(alias, commit=False)
            while self.blocks[alias]:
                self.leave(alias, keep=False)
        self.settings.disable()

    # Transactions

    @precondition(lambda self: not self.manual)
    @rule(alias=aliases, savepoint=st.booleans())
    def enter(self, alias: str, savepoint: bool) -> None:
        if len(self.blocks[alias]) < DEPTH:
            block = transaction.atomic(using=alias, savepoint=savepoint)
            block.__enter__()
            self.blocks[alias].append(block)

    @rule(alias=aliases, keep=st.booleans())
    def leave(self, alias: str, keep: bool) -> None:
        if self.blocks[alias]:
            block = self.blocks[alias].pop()
            error = None if keep else _RollBack()
            # COMMIT is refused where a row refers to none: then it is rolled back.
            with suppress(_RollBack, IntegrityError):
                block.__exit__(type(error) if error else None, error, None)
            # An inner block without a savepoint leaves its rollback to the one around it.
            while self.blocks[alias] and connections[alias].needs_rollback:
                self.blocks[alias].pop().__exit__(_RollBack, _RollBack(), None)

    @rule(alias=aliases)
    def by_hand_begin(self, alias: str) -> None:
        if not self.blocks[alias] and alias not in self.manual:
            transaction.set_autocommit(False, using=alias)
            self.manual.add(alias)

    @rule(alias=aliases, commit=st.booleans())
    def by_hand_end(self, alias: str, commit: bool) -> None:
        if alias in self.manual:
            try:
                (transaction.commit if commit else transaction.rollback)(using=alias)
            except IntegrityError:
                transaction.rollback(using=alias)
            transaction.set_autocommit(True, using=alias)
            self.manual.discard(alias)

    def _try(self, alias: str, write: Callable[[], Any]) -> None:
        """Write; a row that is not there, or stands in the way, is no defect."""
        with suppress(ObjectDoesNotExist, Error, AssertionError):
            if connections[alias].in_atomic_block:
                with transaction.atomic(using=alias):
                    write()
                return
            try:
                write()
            except Error:
                connection = connections[alias]
                is_broken = connection.vendor == "postgresql" or connection.needs_rollback
                if alias in self.manual and is_broken:
                    transaction.rollback(using=alias)  # or no statement is taken any more
                raise


class _RollBack(Exception):
    pass


def _fill(alias: str) -> None:
    world.fill(alias)
    host_rows.fill(alias)


@contextmanager
def on_ground(first: str) -> Iterator[None]:
    """Two databases with their rows; those of SQLite are kept aside to begin each program with."""
    Program.aliases = [first, "other"]
    Program.templates = {}
    for alias in Program.aliases:
        if connections[alias].vendor != "sqlite":
            continue
        with connections[alias].cursor() as cursor:
            cursor.execute("PRAGMA journal_mode = WAL")
        _fill(alias)
        template = sqlite3.connect(":memory:")
        connections[alias].connection.backup(template)
        Program.templates[alias] = template
    # As the first thread has them, since the sessions of all of them are in a function's keys.
    with ThreadPoolExecutor(1, initializer=connections.all) as Program.onlooker:
        yield
        Program.onlooker.submit(connections.close_all).result()
    for template in Program.templates.values():
        template.close()


def run(
    machine: type[Program], first: str, tokens: str, steps: int, seed: int | None = None
) -> None:
    """Run programs of a configuration's share of ``steps``. A failure names its seed."""
    if seed is None:
        seed = int(os.environ.get("QUERYBUDGET_SEED") or secrets.randbits(32))
    machine.steps = 0
    goal = steps * SHARES[first, tokens] // sum(SHARES.values())
    rounds = 0
    try:
        while goal > machine.steps:
            hypothesis.seed(seed + rounds)(machine)
            run_state_machine_as_test(
                machine,
                settings=hypothesis.settings(
                    max_examples=min(100, (goal - machine.steps) // 40 + 1),
                    stateful_step_count=50,
                    deadline=None,
                    database=None,
                    print_blob=True,
                    phases=PHASES,
                    report_multiple_bugs=False,
                    suppress_health_check=list(HealthCheck),
                ),
            )
            rounds += 1
    except BaseException as error:
        error.add_note(f"QUERYBUDGET_SEED={seed + rounds} after {machine.steps} steps")
        raise
