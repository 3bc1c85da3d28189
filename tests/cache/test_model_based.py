"""Random programs of reads and writes: after each step, every cached read is the database's.

The steps are all kinds of writes of :mod:`tests.cache.writes` and :mod:`tests.cache.hosts.writes`,
transactions begun, committed and rolled back at any depth, keys evicted, tags invalidated by hand,
on two databases with the same tables and with the entries in two caches, with scopes declared and
without. What is read through the cache, plain and decorated, is compared on the connection that
writes, and, while a transaction is open, on another one too.

Most programs run on two SQLite files, which take milliseconds to begin again; the others have a
PostgreSQL or a MariaDB for the first database.

``QUERYBUDGET_SEED`` repeats a run; a failure names its seed. ``QUERYBUDGET_STEPS`` is how many the
long run has. To make a failing program short takes far longer than to find it: with
``QUERYBUDGET_SHRINK=0`` it is printed as it was found.
"""

from __future__ import annotations

import itertools
import os
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Any, ClassVar

import hypothesis
import pytest
from django.conf import settings
from django.core.cache import caches
from django.core.exceptions import ObjectDoesNotExist
from django.db import Error, OperationalError, connections, transaction
from django.db.models.signals import post_save
from django.test import override_settings
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from accounts.models import CustomUser
from django_querybudget.cache import cache_stats, cached_queryset, invalidate
from django_querybudget.cache.transactions import pending
from jobs.models import Job
from payment.models import Payment
from tests.cache import reads as marketplace_reads
from tests.cache import world
from tests.cache import writes as marketplace_writes
from tests.cache.hosts import reads as host_reads
from tests.cache.hosts import rows as host_rows
from tests.cache.hosts import writes as host_writes
from tests.cache.reads import Cached, answer
from tests.cache.relations.models import Author, Book

READS = {**marketplace_reads.READS, **host_reads.READS}
KINDS = {**marketplace_writes.KINDS, **host_writes.KINDS}
FORMS = ["plain", "decorated"]

CACHES = ["default", "redis"]
SHORT, LONG = 2000, int(os.environ.get("QUERYBUDGET_STEPS", "20000"))
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
DEPTH = 3
WATCHED = 6

TAG = "watched"  # every cached read has it
ANNOUNCEMENTS = ["post_save", "post_save with its alias", "instance", "model", "table", "tag"]
MANY_ROWS = 2  # as few as this are many rows of one transaction here

MODELS = [Job, Payment, Book, Author, CustomUser]


def writes(machine: Machine) -> st.SearchStrategy[tuple[str, str]]:
    """Kinds of writes with an alias whose database knows them."""
    return st.sampled_from(
        [
            (name, alias)
            for name, kind in KINDS.items()
            for alias in machine.aliases
            if kind.in_atomic and name != "flush" and connections[alias].vendor in kind.vendors
        ]
    )


Watched = tuple[str, str, str, str]
"""A read's name, its alias, the cache with its entries, its form."""

aliases = st.runner().flatmap(lambda machine: st.sampled_from(machine.aliases))
keys = st.integers(1, 4)


class Machine(RuleBasedStateMachine):
    """A process that reads and writes, and a second connection that looks on."""

    steps = 0
    aliases: ClassVar[list[str]]
    templates: ClassVar[dict[str, sqlite3.Connection]]
    onlooker: ClassVar[ThreadPoolExecutor]

    @initialize(scoped=st.booleans())
    def start(self, scoped: bool) -> None:
        own = {} if scoped else {"SCOPES": {}}
        cache = {**settings.QUERYBUDGET["CACHE"], **own}
        self.settings = override_settings(QUERYBUDGET={"CACHE": cache})
        self.settings.enable()
        for alias in self.aliases:
            if connections[alias].vendor == "sqlite":
                self.templates[alias].backup(connections[alias].connection)
            else:
                world.empty(alias)
                _fill(alias)
        for cache in CACHES:
            caches[cache].clear()
        self.blocks: dict[str, list[Any]] = {alias: [] for alias in self.aliases}
        self.manual: set[str] = set()
        self.watched: dict[Watched, None] = {}
        ASKED.clear()

    def teardown(self) -> None:
        for alias in self.aliases:
            self.by_hand_end(alias, commit=False)
            while self.blocks[alias]:
                self.leave(alias, keep=False)
        self.settings.disable()

    # Reading

    @rule(
        name=st.sampled_from(sorted(READS)),
        alias=aliases,
        cache=st.sampled_from(CACHES),
        form=st.sampled_from(FORMS),
    )
    def watch(self, name: str, alias: str, cache: str, form: str) -> None:
        """Read it from now on, after every step."""
        self.watched[name, alias, cache, form] = None
        while len(self.watched) > WATCHED:
            del self.watched[next(iter(self.watched))]

    @invariant()
    def every_cached_read_is_the_databases(self) -> None:
        type(self).steps += 1
        compare(self.watched)
        if any(self.blocks.values()) or self.manual:
            self.onlooker.submit(look_on, self.watched).result()

    # Writing

    @rule(one=st.runner().flatmap(writes))
    def write(self, one: tuple[str, str]) -> None:
        name, alias = one
        self._try(alias, lambda: KINDS[name].run(alias))

    @rule(alias=aliases, key=keys, payer=keys, amount=st.integers(1, 99))
    def save_payment(self, alias: str, key: int, payer: int, amount: int) -> None:
        row = Payment(pk=key, payer_id=payer, recipient_id=3, job_id=3, amount=amount)
        self._try(alias, lambda: row.save(using=alias))

    @rule(alias=aliases, key=keys, price=st.integers(1, 99))
    def save_book(self, alias: str, key: int, price: int) -> None:
        row = Book(pk=key, title=f"book {price}", price=price, author_id=1)
        self._try(alias, lambda: row.save(using=alias))

    @rule(alias=aliases, key=keys, budget=st.integers(1, 99))
    def update_job(self, alias: str, key: int, budget: int) -> None:
        rows = Job.objects.using(alias).filter(pk=key)
        self._try(alias, lambda: rows.update(budget=budget))

    @rule(alias=aliases, payer=keys)
    def delete_payments(self, alias: str, payer: int) -> None:
        self._try(alias, lambda: Payment.objects.using(alias).filter(payer=payer).delete())

    @rule(alias=aliases, key=keys, others=st.sets(st.integers(1, 3)))
    def set_tags(self, alias: str, key: int, others: set[int]) -> None:
        self._try(alias, lambda: Book.objects.using(alias).get(pk=key).tags.set(others))

    @rule(model=st.sampled_from(MODELS), alias=st.none() | aliases)
    def invalidate_by_hand(self, model: Any, alias: str | None) -> None:
        invalidate(model, using=alias)

    @rule(alias=aliases, key=keys, price=st.integers(100, 199), by=st.sampled_from(ANNOUNCEMENTS))
    def write_past_the_hook(self, alias: str, key: int, price: int, by: str) -> None:
        """As COPY does, or a procedure; and announce it by hand."""
        row = Book(pk=key, title="of the database", price=price, author_id=1)
        row._state.db = alias

        def write() -> None:
            connections[alias].ensure_connection()
            with closing(connections[alias].create_cursor()) as cursor:
                cursor.execute("UPDATE relations_book SET price = %s WHERE id = %s", (price, key))
            announce(by, row)

        self._try(alias, write)

    @rule(alias=aliases)
    def empty_run_on_commit(self, alias: str) -> None:
        """Some libraries and tests' helpers do so, in the middle of a transaction or outside."""
        connections[alias].run_on_commit.clear()

    @rule(alias=aliases, amount=st.integers(1, 99))
    def write_many_rows(self, alias: str, amount: int) -> None:
        """Past the bound of what a transaction tells apart, in one."""

        def write() -> None:
            with transaction.atomic(using=alias):
                for key in range(1, MANY_ROWS + 3):
                    Payment.objects.using(alias).filter(pk=key).update(amount=amount)

        self._try(alias, write)

    @rule(cache=st.sampled_from(CACHES), number=st.integers(0, 1000))
    def evict(self, cache: str, number: int) -> None:
        """Any key may go at any time."""
        if names := sorted(_keys(cache)):
            _evict(cache, names[number % len(names)])

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
            with suppress(_RollBack):
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
            (transaction.commit if commit else transaction.rollback)(using=alias)
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
                if alias in self.manual and connections[alias].vendor == "postgresql":
                    transaction.rollback(using=alias)  # or no statement is taken any more
                raise


def announce(by: str, row: Book) -> None:
    if by == "post_save":
        post_save.send(sender=Book, instance=row, created=False)
    elif by == "post_save with its alias":
        post_save.send(sender=Book, instance=Book(pk=row.pk), created=False, using=row._state.db)
    else:
        invalidate({"instance": row, "model": Book, "table": "relations_book", "tag": TAG}[by])


class _RollBack(Exception):
    pass


def compare(watched: dict[Watched, None]) -> None:
    for name, alias, cache, form in watched:
        true = answer(READS[name], lambda queryset: queryset, alias)
        seen = answer(READS[name], _through(name, alias, cache, form), alias)
        assert seen == true, f"{name} on {alias} through {cache}, {form}"


def look_on(watched: dict[Watched, None]) -> None:
    """Compare on connections of this thread's own, but what a lock of the writer's keeps."""
    for one in watched:
        connection = connections[one[1]]
        if connection.vendor == "postgresql" and connection.connection is None:
            with connection.cursor() as cursor:
                cursor.execute("SET lock_timeout = '50ms'")  # TRUNCATE lets nobody read
        with suppress(OperationalError):
            compare({one: None})


def _through(name: str, alias: str, cache: str, form: str) -> Cached:
    if form == "plain":
        return lambda queryset: cached_queryset(queryset, 600, cache=cache, tags=[TAG])
    numbers = itertools.count()

    def wrap(queryset: Any) -> Any:
        number = next(numbers)
        ASKED[name, alias, number] = queryset
        return DECORATED[cache](name, alias, number)

    return wrap


ASKED: dict[tuple[str, str, int], Any] = {}
"""What the decorated functions below return, by their arguments."""


@cached_queryset(timeout=600, cache="default", tags=[TAG])
def asked_in_default(name: str, alias: str, number: int) -> Any:
    return ASKED[name, alias, number].all()


@cached_queryset(timeout=600, cache="redis", tags=[TAG])
def asked_in_redis(name: str, alias: str, number: int) -> Any:
    return ASKED[name, alias, number].all()


DECORATED: dict[str, Any] = {"default": asked_in_default, "redis": asked_in_redis}


def _fill(alias: str) -> None:
    world.fill(alias)
    host_rows.fill(alias)


def _keys(cache: str) -> list[str]:
    if cache == "redis":
        return [key.decode() for key in caches[cache].client.get_client().keys("*")]
    return list(caches[cache]._cache)


def _evict(cache: str, name: str) -> None:
    if cache == "redis":
        caches[cache].client.get_client().delete(name)
    else:
        caches[cache]._cache.pop(name, None)
        caches[cache]._expire_info.pop(name, None)


@pytest.fixture
def ground(first: str, redis_url: str, transactional_db: None) -> Iterator[None]:
    """Two databases with their rows; those of SQLite are kept aside to begin each program with."""
    del redis_url, transactional_db
    Machine.aliases = [first, "other"]
    Machine.templates = {}
    for alias in Machine.aliases:
        if connections[alias].vendor != "sqlite":
            continue
        with connections[alias].cursor() as cursor:
            cursor.execute("PRAGMA journal_mode = WAL")
        _fill(alias)
        template = sqlite3.connect(":memory:")
        connections[alias].connection.backup(template)
        Machine.templates[alias] = template
    with ThreadPoolExecutor(1) as Machine.onlooker:
        yield
        Machine.onlooker.submit(connections.close_all).result()
    for template in Machine.templates.values():
        template.close()


@pytest.mark.once
@pytest.mark.parametrize(
    "steps",
    [pytest.param(SHORT, id="short"), pytest.param(LONG, id="long", marks=pytest.mark.slow)],
)
@pytest.mark.parametrize(
    ("first", "tokens"),
    [
        pytest.param(
            first,
            tokens,
            id=f"{first}-{tokens}",
            marks=pytest.mark.django_db(transaction=True, databases=[first, "other"]),
        )
        for first, tokens in SHARES
    ],
)
def test_every_cached_read_is_the_databases_after_each_step(
    ground: None,
    first: str,
    tokens: str,
    steps: int,
    settings: Any,
    record_property: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``tokens`` is the cache that holds the tokens; the entries are in both."""
    monkeypatch.setattr(pending, "MANY_ROWS", MANY_ROWS)
    monkeypatch.setattr(pending, "MANY_TAGS", 20)
    settings.QUERYBUDGET = {"CACHE": {**settings.QUERYBUDGET["CACHE"], "ALIAS": tokens}}
    seed = int(os.environ.get("QUERYBUDGET_SEED") or secrets.randbits(32))
    Machine.steps = 0
    cache_stats(reset=True)
    goal = steps * SHARES[first, tokens] // sum(SHARES.values())
    rounds = 0
    try:
        while goal > Machine.steps:
            hypothesis.seed(seed + rounds)(Machine)
            run_state_machine_as_test(
                Machine,
                settings=hypothesis.settings(
                    max_examples=min(100, (goal - Machine.steps) // 40 + 1),
                    stateful_step_count=50,
                    deadline=None,
                    database=None,
                    print_blob=True,
                    phases=PHASES,
                    suppress_health_check=list(HealthCheck),
                ),
            )
            rounds += 1
    except BaseException as error:
        error.add_note(f"QUERYBUDGET_SEED={seed + rounds} after {Machine.steps} steps")
        raise
    record_property("steps", Machine.steps)
    assert Machine.steps >= goal
    assert cache_stats().hits > Machine.steps // 50, "what is compared has to come from the cache"
