"""R1 to R13: the orders of a read and a write that leave other caches stale, each by name.

The other party is a thread with connections of its own; it runs to its end at one point of the
first party's work, so that each order is the same in every run. tests/cache/test_orders.py goes
through all orders, with processes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any, TypeVar

import pytest
from django.core.cache import caches
from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext

from django_querybudget.cache import cached_queryset
from django_querybudget.cache.tags import database_name, table_tag
from django_querybudget.cache.transactions import Pending
from jobs.models import Industry

R = TypeVar("R")

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def row(vendor_alias: str, settings: Any, redis_url: str) -> None:
    del redis_url
    settings.QUERYBUDGET = {"CACHE": {"ALIAS": "redis", "CLOCK_SKEW": 0}}
    caches["redis"].clear()
    if connections[vendor_alias].vendor == "sqlite":
        with connections[vendor_alias].cursor() as cursor:
            cursor.execute("PRAGMA journal_mode = WAL")  # a reader does not stop a writer
    Industry.objects.using(vendor_alias).create(pk=1, name="old")


def elsewhere(work: Callable[[], R]) -> R:
    """Run ``work`` to its end in a thread, which has connections of its own."""
    outcome: list[R] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(work())
        except BaseException as error:  # raised again below
            errors.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return outcome[0]


def cached(alias: str) -> str:
    [industry] = cached_queryset(Industry.objects.using(alias))
    return industry.name


def truth(alias: str) -> str:
    return elsewhere(lambda: Industry.objects.using(alias).get().name)


def write(alias: str, name: str = "new") -> None:
    Industry.objects.using(alias).update(name=name)


def is_warm(alias: str) -> bool:
    with CaptureQueriesContext(connections[alias]) as queries:
        cached(alias)
    return not queries.captured_queries


@contextmanager
def at_statement(
    alias: str,
    word: str,
    *,
    before: Callable[[], Any] | None = None,
    after: Callable[[], Any] | None = None,
) -> Iterator[None]:
    """Do something just before, or just after, the first statement that begins with ``word``."""
    done = False

    def wrapper(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        nonlocal done
        now = not done and sql.startswith(word)
        done = done or now
        if now and before:
            before()
        answer = execute(sql, params, many, context)
        if now and after:
            after()
        return answer

    with connections[alias].execute_wrapper(wrapper):
        yield
    assert done, f"no {word} was sent"


def assert_right(alias: str, expected: str) -> None:
    """Assert that all parties read ``expected``, and that the cache works after all."""
    assert truth(alias) == expected
    assert cached(alias) == expected
    assert elsewhere(lambda: cached(alias)) == expected
    assert is_warm(alias)
    assert cached(alias) == expected


def test_r1_a_write_between_a_readers_select_and_its_fill(vendor_alias: str) -> None:
    with at_statement(vendor_alias, "SELECT", after=lambda: elsewhere(lambda: write(vendor_alias))):
        assert cached(vendor_alias) == "old"
    assert_right(vendor_alias, "new")


@pytest.mark.parametrize("form", ["save", "update"])
def test_r2_a_write_paused_before_its_statement_while_a_reader_fills(
    vendor_alias: str, form: str
) -> None:
    cached(vendor_alias)
    industry = Industry.objects.using(vendor_alias).get()
    industry.name = "new"
    with at_statement(
        vendor_alias, "UPDATE", before=lambda: elsewhere(lambda: cached(vendor_alias))
    ):
        if form == "save":
            industry.save()
        else:
            write(vendor_alias)
    assert_right(vendor_alias, "new")


def test_the_time_between_a_commit_and_its_renewal_is_covered(vendor_alias: str) -> None:
    assert cached(vendor_alias) == "old"
    seen: list[str] = []
    with at_statement(
        vendor_alias, "UPDATE",
        after=lambda: seen.append(elsewhere(lambda: cached(vendor_alias))),
    ):  # fmt: skip
        write(vendor_alias)
    assert seen == ["new"]  # committed, not yet renewed: the mark kept the entry out
    assert_right(vendor_alias, "new")


def test_r3_a_fill_between_an_uncommitted_write_and_its_commit(vendor_alias: str) -> None:
    with transaction.atomic(using=vendor_alias):
        write(vendor_alias)
        assert elsewhere(lambda: cached(vendor_alias)) == "old"
        assert cached(vendor_alias) == "new"
    assert_right(vendor_alias, "new")


@pytest.mark.parametrize("registered", ["before the write", "after the write"])
def test_r4_an_on_commit_task_that_reads_elsewhere(vendor_alias: str, registered: str) -> None:
    assert cached(vendor_alias) == "old"
    seen: list[str] = []

    def task() -> None:
        seen.append(elsewhere(lambda: cached(vendor_alias)))
        seen.append(cached(vendor_alias))

    with transaction.atomic(using=vendor_alias):
        if registered == "before the write":
            transaction.on_commit(task, using=vendor_alias)
        write(vendor_alias)
        if registered == "after the write":
            transaction.on_commit(task, using=vendor_alias)
    assert seen == ["new", "new"]
    assert_right(vendor_alias, "new")


def test_r5_a_read_only_transaction_that_ends_after_anothers_write(vendor_alias: str) -> None:
    assert cached(vendor_alias) == "old"
    with transaction.atomic(using=vendor_alias):
        assert cached(vendor_alias) == "old"
        elsewhere(lambda: write(vendor_alias))
    assert_right(vendor_alias, "new")


@pytest.mark.parametrize("how", ["as it comes", "repeatable read"])
def test_r6_a_fill_from_a_snapshot_older_than_the_write(vendor_alias: str, how: str) -> None:
    connection = connections[vendor_alias]
    with transaction.atomic(using=vendor_alias):
        if how == "repeatable read" and connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        seen = Industry.objects.using(vendor_alias).get().name  # the snapshot is taken
        elsewhere(lambda: write(vendor_alias))
        assert cached(vendor_alias) in {seen, "new"}
    assert_right(vendor_alias, "new")


def test_r6_a_snapshot_that_a_plain_read_took_long_before_the_fill(
    vendor_alias: str, settings: Any
) -> None:
    settings.QUERYBUDGET = {"CACHE": {**settings.QUERYBUDGET["CACHE"], "CLOCK_SKEW": 0.05}}
    connection = connections[vendor_alias]
    assert cached(vendor_alias) == "old"  # all the other tokens are older still
    with transaction.atomic(using=vendor_alias):
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        seen = Industry.objects.using(vendor_alias).get().name
        elsewhere(lambda: write(vendor_alias))
        threading.Event().wait(0.2)  # the token is now older than the fill, by more than the skew
        assert cached(vendor_alias) in {seen, "new"}
    assert_right(vendor_alias, "new")


def test_r7_a_rollback(vendor_alias: str) -> None:
    assert cached(vendor_alias) == "old"
    with suppress(ZeroDivisionError), transaction.atomic(using=vendor_alias):
        write(vendor_alias)
        assert cached(vendor_alias) == "new"
        raise ZeroDivisionError
    assert cached(vendor_alias) == "old"
    assert is_warm(vendor_alias)  # no mark was left behind
    assert_right(vendor_alias, "old")


def test_r8_a_savepoint_rolled_back(vendor_alias: str) -> None:
    assert cached(vendor_alias) == "old"
    with transaction.atomic(using=vendor_alias):
        with suppress(ZeroDivisionError), transaction.atomic(using=vendor_alias):
            write(vendor_alias, "undone")
            raise ZeroDivisionError
        assert cached(vendor_alias) == "old"
        write(vendor_alias)
        with suppress(ZeroDivisionError), transaction.atomic(using=vendor_alias):
            write(vendor_alias, "undone")
            raise ZeroDivisionError
        assert cached(vendor_alias) == "new"
    assert_right(vendor_alias, "new")


def test_r9_a_transactions_own_writes(vendor_alias: str) -> None:
    assert cached(vendor_alias) == "old"
    with transaction.atomic(using=vendor_alias):
        write(vendor_alias)
        assert cached(vendor_alias) == "new"
        write(vendor_alias, "newer")
        assert cached(vendor_alias) == "newer"
        assert elsewhere(lambda: cached(vendor_alias)) == "old"
    assert_right(vendor_alias, "newer")


def test_r10_a_manual_transaction(vendor_alias: str) -> None:
    assert cached(vendor_alias) == "old"
    transaction.set_autocommit(False, using=vendor_alias)
    try:
        write(vendor_alias)
        assert cached(vendor_alias) == "new"
        assert elsewhere(lambda: cached(vendor_alias)) == "old"
        transaction.commit(using=vendor_alias)
        assert elsewhere(lambda: cached(vendor_alias)) == "new"
    finally:
        transaction.rollback(using=vendor_alias)
        transaction.set_autocommit(True, using=vendor_alias)
    assert_right(vendor_alias, "new")


def _write_unseen(alias: str, name: str) -> None:
    """Commit a write past Django's cursors, and so past the hook."""
    connection = connections[alias]
    connection.ensure_connection()
    with closing(connection.create_cursor()) as cursor:
        cursor.execute("UPDATE jobs_industry SET name = %s", [name])


@pytest.fixture
def short_marks(settings: Any) -> float:
    settings.QUERYBUDGET = {"CACHE": {"ALIAS": "redis", "CLOCK_SKEW": 0, "MARK_TIMEOUT": 0.5}}
    return 0.5


def test_r11_a_process_that_dies_between_commit_and_renewal(
    vendor_alias: str, short_marks: float
) -> None:
    assert cached(vendor_alias) == "old"
    tag = table_tag(database_name(vendor_alias), "jobs_industry")
    Pending(vendor_alias).add([tag])  # marked, and never heard of again
    _write_unseen(vendor_alias, "new")
    assert cached(vendor_alias) == "new"
    assert not is_warm(vendor_alias)  # nothing is stored while the mark stands
    threading.Event().wait(short_marks + 0.2)
    assert_right(vendor_alias, "new")


def test_r12_one_of_two_overlapping_writers_dies(vendor_alias: str, short_marks: float) -> None:
    assert cached(vendor_alias) == "old"
    tag = table_tag(database_name(vendor_alias), "jobs_industry")
    Pending(vendor_alias).add([tag])
    survivor = Pending(vendor_alias)
    survivor.add([tag])
    survivor.renew()
    assert not is_warm(vendor_alias)  # the other's mark stands, so nothing is stored
    _write_unseen(vendor_alias, "new")
    assert cached(vendor_alias) == "new"
    threading.Event().wait(short_marks + 0.2)
    assert_right(vendor_alias, "new")


def test_r13_an_atomic_block_whose_entry_failed(vendor_alias: str) -> None:
    connection = connections[vendor_alias]

    def refuse(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if "SAVEPOINT" in sql:
            raise ConnectionError("no savepoint")
        return execute(sql, params, many, context)

    with suppress(ConnectionError), transaction.atomic(using=vendor_alias):
        write(vendor_alias, "undone")
        with connection.execute_wrapper(refuse), transaction.atomic(using=vendor_alias):
            pytest.fail("the entry did not fail")
    assert_right(vendor_alias, "old")
    write(vendor_alias)
    assert_right(vendor_alias, "new")
