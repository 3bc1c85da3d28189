"""Random programs of reads and writes: after each step, every cached read is the database's.

The steps are all kinds of writes of :mod:`tests.cache.writes` and :mod:`tests.cache.hosts.writes`,
transactions begun, committed and rolled back at any depth, keys evicted, tags invalidated by hand,
on two databases with the same tables and with the entries in two caches, with scopes declared and
without. What is read through the cache, plain, decorated and by cached views, is compared on the
connection that writes, and, while a transaction is open, on another one too.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from typing import Any

import pytest
from django.core.cache import caches
from django.db import OperationalError, connections, transaction
from django.db.models.signals import post_save
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    invariant,
    precondition,
    rule,
)

from accounts.models import CustomUser
from django_querybudget.cache import cache_stats, cached_queryset, invalidate
from django_querybudget.cache.reading import leases
from django_querybudget.cache.stores import chosen
from django_querybudget.cache.transactions import pending
from jobs.models import Job
from payment.models import Payment
from tests.cache import writes as marketplace_writes
from tests.cache.hosts import writes as host_writes
from tests.cache.random_programs import (
    CACHES,
    LONG,
    ON_EACH,
    SHORT,
    Program,
    aliases,
    keys,
    run,
)
from tests.cache.reads import Cached, answer
from tests.cache.relations.models import Author, Book
from tests.cache.views import asked

READS = asked.READS
KINDS = {**marketplace_writes.KINDS, **host_writes.KINDS}
VIEWS = [form for form in asked.FORMS if form != "in async"]  # whose loops take most of the time
FORMS = ["plain", "decorated", *VIEWS]
"""How a read goes through the cache: a queryset, a decorated function, views."""

WATCHED = 6

TAG = asked.TAG  # every cached read has it
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


reads = st.tuples(
    st.sampled_from(sorted(READS)), aliases, st.sampled_from(CACHES), st.sampled_from(FORMS)
)


class Machine(Program):
    """A process that reads and writes, and a second connection that looks on."""

    has_clock = False
    passed = 0.0

    # Hypothesis leaves some rules out of each program: without these, one might read nothing.
    @initialize(scoped=st.booleans(), watched=st.lists(reads, min_size=WATCHED // 2))
    def start(self, scoped: bool, watched: list[Watched]) -> None:
        self.begin(scoped=scoped)
        self.watched: dict[Watched, None] = dict.fromkeys(watched[:WATCHED])
        ASKED.clear()
        leases._unstored.clear()  # or requests take no leases for a while

    # Reading

    @rule(read=reads)
    def watch(self, read: Watched) -> None:
        """Read it from now on, after every step."""
        self.watched[read] = None
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

    @precondition(lambda self: self.has_clock)
    @rule(seconds=st.sampled_from([1.5, 11, 31, 601]))
    def time_passes(self, seconds: float) -> None:
        """So that tokens are old enough, marks and entries are over."""
        type(self).passed += seconds

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
        if form in VIEWS:
            true_text = asked.true_text(name, alias)
            seen_text = asked.ask(form, cache, name, alias)
            assert seen_text == true_text, f"{name} on {alias} through {cache}, a view, {form}"
            continue
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


@contextmanager
def a_clock_of_ours(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One that programs can let go on. A server has its own: there, it would be a skew."""
    for name in ("time", "monotonic"):
        real = getattr(time, name)
        monkeypatch.setattr(time, name, lambda real=real: real() + Machine.passed)
    monkeypatch.setattr(Machine, "has_clock", True)
    monkeypatch.setattr(Machine, "passed", 0.0)
    try:
        yield
    finally:
        # What was noted by it lies in the future of the others.
        for store in chosen._stores.values():
            store.retire()
        chosen._stores.clear()


@pytest.mark.once
@pytest.mark.parametrize(
    "steps",
    [pytest.param(SHORT, id="short"), pytest.param(LONG, id="long", marks=pytest.mark.slow)],
)
@pytest.mark.parametrize(("first", "tokens"), ON_EACH)
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
    cache_stats(reset=True)
    with a_clock_of_ours(monkeypatch) if tokens == "default" else nullcontext():
        run(Machine, first, tokens, steps)
    record_property("steps", Machine.steps)
    assert cache_stats().hits > Machine.steps // 2, "what is compared has to come from the cache"
