"""capture_queries(): every query of a block, and none but its own."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import gc
import inspect
import logging
import pickle
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group
from django.db import DatabaseError, IntegrityError, connection, connections, transaction
from django.test.utils import override_settings

from django_querybudget import capture_queries
from django_querybudget.capture import Recording, copy_context
from django_querybudget.recording.records import QueryLog, RawRecord
from django_querybudget.sql.fingerprints import StatementKind
from jobs.models import Industry

pytestmark = pytest.mark.django_db(databases="__all__")


def industries(count: int) -> None:
    Industry.objects.bulk_create(Industry(name=f"industry {number}") for number in range(count))


def test_it_counts_with_debug_off() -> None:
    with override_settings(DEBUG=False), capture_queries() as log:
        list(Industry.objects.all())
        Industry.objects.count()
    assert (len(log), log.count, len(log.queries)) == (2, 2, 2)
    assert all(query.duration > 0 for query in log)
    assert log.duration == pytest.approx(sum(query.duration for query in log))


def test_every_alias_counts_and_using_names_some() -> None:
    with (
        capture_queries() as everything,
        capture_queries(using="other") as one,
        capture_queries(using=["other", "default"]) as two,
    ):
        Industry.objects.count()
        Industry.objects.using("other").count()
        Industry.objects.using("postgres").count()
    assert (everything.count, one.count, two.count) == (3, 1, 2)
    assert [query.alias for query in everything] == ["default", "other", "postgres"]
    assert everything.queries[2].vendor == "postgresql"


@pytest.mark.parametrize("using", [3, ["default", None], b"default"])
def test_an_alias_that_is_no_string_is_a_type_error(using: Any) -> None:
    with pytest.raises(TypeError, match="using names databases by alias"):
        capture_queries(using=using)


def test_an_unknown_alias_is_named_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"using='replica' is not in DATABASES.*default"):
        capture_queries(using="replica")


def test_captures_nest_and_each_has_its_own_block() -> None:
    with capture_queries() as outer:
        Industry.objects.count()
        with capture_queries() as inner:
            Industry.objects.count()
        Industry.objects.count()
    assert (outer.count, inner.count) == (3, 1)


def test_one_capture_object_may_be_entered_again_and_inside_of_itself() -> None:
    capture = capture_queries()
    with capture as outer, capture as inner:
        Industry.objects.count()
    with capture as later:
        pass
    assert (outer.count, inner.count, later.count) == (1, 1, 0)


def test_a_log_is_final_when_its_block_is_over() -> None:
    with capture_queries() as log:
        Industry.objects.count()
        work = copy_context(Industry.objects.count)
    work()
    assert log.count == 1


def test_an_exception_in_the_block_passes_and_the_capture_ends() -> None:
    def broken(log_of: list[QueryLog]) -> None:
        with capture_queries() as log:
            log_of.append(log)
            Industry.objects.count()
            raise LookupError

    logs: list[QueryLog] = []
    with pytest.raises(LookupError):
        broken(logs)
    Industry.objects.count()
    assert [log.count for log in logs] == [1]


# The facts of DESIGN section 4, one by one.


def test_transaction_control_is_recorded_apart_and_not_counted(vendor_alias: str) -> None:
    with capture_queries() as log, transaction.atomic(using=vendor_alias):
        Industry.objects.using(vendor_alias).count()
        with transaction.atomic(using=vendor_alias):
            pass
    assert log.count == 1
    assert [query.kind for query in log] == [StatementKind.READ]
    assert len(log.transactions) >= 2
    assert all(query.kind is StatementKind.TRANSACTION for query in log.transactions)
    assert any(query.sql.startswith("SAVEPOINT") for query in log.transactions)


def test_executemany_is_one_and_its_iterator_is_left_alone(vendor_alias: str) -> None:
    rows = iter([("farming",), ("fishing",)])
    database = connections[vendor_alias]
    with capture_queries() as log, database.cursor() as cursor:
        cursor.executemany("INSERT INTO jobs_industry (name) VALUES (%s)", rows)
    assert log.count == 1
    assert log.queries[0].many
    assert log.queries[0].params is None
    assert Industry.objects.using(vendor_alias).count() == 2


def test_iterator_is_one_execute_however_many_chunks(vendor_alias: str) -> None:
    Industry.objects.using(vendor_alias).bulk_create(
        Industry(name=f"industry {number}") for number in range(10)
    )
    with capture_queries() as log:
        assert len(list(Industry.objects.using(vendor_alias).iterator(chunk_size=2))) == 10
    assert log.count == 1


def test_none_issues_nothing() -> None:
    with capture_queries() as log:
        assert list(Industry.objects.none()) == []
        assert list(Industry.objects.filter(pk__in=[])) == []
    assert log.count == 0


def test_a_failed_query_counts_and_its_error_passes_untouched(vendor_alias: str) -> None:
    Industry.objects.using(vendor_alias).create(name="farming")
    with (
        capture_queries() as log,
        pytest.raises(IntegrityError) as raised,
        transaction.atomic(using=vendor_alias),
    ):
        Industry.objects.using(vendor_alias).create(name="farming")
    assert log.count == 1
    assert log.queries[0].failed
    assert log.queries[0].error is type(raised.value)
    assert log.queries[0].duration > 0


def test_a_query_refused_by_a_broken_transaction_counts_as_failed() -> None:
    with transaction.atomic(), capture_queries() as log:
        transaction.set_rollback(True)
        with pytest.raises(transaction.TransactionManagementError):
            Industry.objects.count()
        transaction.set_rollback(False)
    assert [query.failed for query in log] == [True]


def test_raw_cursors_count(vendor_alias: str) -> None:
    with capture_queries() as log, connections[vendor_alias].cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.execute("SELECT %s", [2])
    assert [query.sql for query in log] == ["SELECT 1", "SELECT %s"]


@pytest.mark.django_db(databases=["postgres"])
def test_sql_may_be_a_composed_of_psycopg() -> None:
    from psycopg import sql

    statement = sql.SQL("SELECT {} FROM {}").format(
        sql.Literal("x"), sql.Identifier("jobs_industry")
    )
    with capture_queries() as log, connections["postgres"].cursor() as cursor:
        cursor.execute(statement)
    assert log.queries[0].sql == """SELECT 'x' FROM "jobs_industry\""""
    assert log.queries[0].fingerprint == 'SELECT ? FROM "jobs_industry"'


@pytest.mark.django_db(databases=["postgres"])
def test_sql_may_be_bytes() -> None:
    with capture_queries() as log, connections["postgres"].cursor() as cursor:
        cursor.execute(b"SELECT 1")
    assert log.queries[0].sql == "SELECT 1"


def test_it_counts_past_the_limit_of_queries_log() -> None:
    more = connection.queries_limit + 5
    with (
        override_settings(DEBUG=True),
        capture_queries() as log,
        connection.cursor() as cursor,
    ):
        for _ in range(more):
            cursor.execute("SELECT 1")
    connection.queries_log.clear()
    assert log.count == more


def test_a_blocked_query_is_the_hosts_own_error() -> None:
    def block(*args: Any) -> None:
        raise RuntimeError("no queries here")

    with (
        connection.execute_wrapper(block),
        capture_queries() as log,
        pytest.raises(RuntimeError, match="no queries here"),
    ):
        Industry.objects.count()
    assert [query.error for query in log] == [RuntimeError]


# Decorators.


def test_as_a_decorator_of_a_function() -> None:
    @capture_queries()
    def report(name: str) -> str:
        """Report."""
        Industry.objects.count()
        return name

    assert report("a") == "a"
    assert report.last_log.count == 1  # type: ignore[attr-defined]
    assert (report.__name__, report.__doc__) == ("report", "Report.")


def test_as_a_decorator_each_call_is_captured_apart_even_when_it_recurses() -> None:
    logs = []

    @capture_queries()
    def count_down(number: int) -> None:
        Industry.objects.count()
        if number:
            count_down(number - 1)
            logs.append(count_down.last_log)  # type: ignore[attr-defined]

    count_down(2)
    assert [log.count for log in logs] == [1, 2]
    assert count_down.last_log.count == 3  # type: ignore[attr-defined]


def test_as_a_decorator_the_log_of_a_call_that_raised_is_kept() -> None:
    @capture_queries()
    def broken() -> None:
        Industry.objects.count()
        raise LookupError

    with pytest.raises(LookupError):
        broken()
    assert broken.last_log.count == 1  # type: ignore[attr-defined]


def test_as_a_decorator_of_a_generator_its_consumer_is_not_counted() -> None:
    @capture_queries()
    def numbers() -> Iterator[int]:
        for _ in range(3):
            yield Industry.objects.count()

    for _ in numbers():
        Group.objects.count()
    assert numbers.last_log.count == 3  # type: ignore[attr-defined]
    assert all("jobs_industry" in query.sql for query in numbers.last_log)  # type: ignore[attr-defined]


async def _counted_async() -> int:
    await Industry.objects.acount()
    return await Industry.objects.acount()


@pytest.mark.django_db(transaction=True)
def test_as_a_decorator_of_a_coroutine_function_it_waits_for_the_await() -> None:
    decorated = capture_queries()(_counted_async)
    assert inspect.iscoroutinefunction(decorated)
    asyncio.run(_closing(decorated()))
    assert decorated.last_log.count == 2  # type: ignore[attr-defined]


@pytest.mark.django_db(transaction=True)
def test_as_a_decorator_of_an_async_generator() -> None:
    @capture_queries()
    async def numbers() -> AsyncIterator[int]:
        for _ in range(3):
            yield await Industry.objects.acount()

    async def consume() -> None:
        async for _ in numbers():
            await Group.objects.acount()

    asyncio.run(_closing(consume()))
    assert numbers.last_log.count == 3  # type: ignore[attr-defined]


# Async code and threads.


async def _closing(work: Any) -> Any:
    """Await, then close the connections of the thread that the ORM's async methods ran on."""
    try:
        return await work
    finally:
        await sync_to_async(connections.close_all)()


@pytest.mark.django_db(transaction=True)
def test_async_queries_count() -> None:
    async def work() -> int:
        with capture_queries() as log:
            await Industry.objects.acount()
            [_ async for _ in Industry.objects.all()]
            await Industry.objects.filter(name="x").afirst()
        return log.count

    assert asyncio.run(_closing(work())) == 3


@pytest.mark.django_db(transaction=True)
def test_gather_counts_all_its_children_and_a_child_only_its_own() -> None:
    async def child(queries: int) -> int:
        with capture_queries() as log:
            for _ in range(queries):
                await Industry.objects.acount()
        return log.count

    async def work() -> tuple[int, list[int]]:
        with capture_queries() as log:
            counts = await asyncio.gather(*(child(number) for number in range(1, 6)))
        return log.count, counts

    assert asyncio.run(_closing(work())) == (15, [1, 2, 3, 4, 5])


@pytest.mark.django_db(transaction=True)
def test_thread_sensitive_false_counts() -> None:
    def count() -> int:
        try:
            return Industry.objects.count()
        finally:
            connection.close()

    async def work() -> int:
        with capture_queries() as log:
            run = sync_to_async(count, thread_sensitive=False)
            await asyncio.gather(run(), run(), run())
        return log.count

    assert asyncio.run(work()) == 3


@pytest.mark.django_db(transaction=True)
def test_a_task_that_outlives_the_block_adds_nothing_to_it() -> None:
    async def work() -> int:
        go_on = asyncio.Event()

        async def late() -> None:
            await go_on.wait()
            await Industry.objects.acount()

        with capture_queries() as log:
            task = asyncio.create_task(late())
            await Industry.objects.acount()
        go_on.set()
        await task
        return log.count

    assert asyncio.run(_closing(work())) == 1


@pytest.mark.django_db(transaction=True)
def test_copy_context_takes_the_capture_into_threads() -> None:
    def work(_: int = 0) -> None:
        Industry.objects.count()
        connection.close()

    with capture_queries() as log:
        thread = threading.Thread(target=copy_context(work))
        thread.start()
        thread.join()
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(copy_context(work), range(6)))
    assert log.count == 7


@pytest.mark.django_db(transaction=True)
def test_a_plain_thread_counts_where_python_hands_it_the_context() -> None:
    def work() -> None:
        Industry.objects.count()
        connection.close()

    with capture_queries() as log, ThreadPoolExecutor(1) as pool:
        pool.submit(work).result()
    assert log.count == getattr(sys.flags, "thread_inherit_context", 0)


# Recording: the scope that may be suspended.


def test_a_recording_that_is_left_and_entered_again_goes_on() -> None:
    recording = Recording()
    for _ in range(2):
        with recording:
            Industry.objects.count()
        Industry.objects.count()
    recording.close()
    with recording:
        Industry.objects.count()
    assert recording.log.count == 2


def test_without_origins_no_stack_is_walked() -> None:
    recording = Recording(origins=False)
    with recording:
        Industry.objects.count()
    assert recording.log.queries[0].origin is None


def test_nothing_is_left_behind() -> None:
    wrappers = list(connection.execute_wrappers)
    with capture_queries():
        Industry.objects.count()
    assert list(connection.execute_wrappers) == wrappers
    assert not connection.force_debug_cursor
    assert logging.getLogger("django_querybudget").handlers == []


def test_a_database_error_of_the_driver_is_not_wrapped() -> None:
    with capture_queries(), pytest.raises(DatabaseError) as raised, connection.cursor() as cursor:
        cursor.execute("SELECT no_such_column")
    assert "no_such_column" in str(raised.value)


def test_parameters_are_those_that_were_sent_whatever_the_caller_does_later() -> None:
    with capture_queries() as log, connection.cursor() as cursor:
        positional, named = [1], {"a": 1}
        for number in (1, 2):
            positional[0] = named["a"] = number
            cursor.execute("SELECT %s", positional)
            cursor.execute("SELECT %(a)s", named)
    assert [query.params for query in log] == [(1,), {"a": 1}, (2,), {"a": 2}]
    assert log.duplicate_count == 0


def sent_and_received(log: QueryLog) -> Any:
    return pickle.loads(pickle.dumps(log))  # noqa: S301 - of our own making


@pytest.mark.parametrize("again", [copy.deepcopy, sent_and_received])
def test_a_log_can_be_copied_and_sent_to_another_process(again: Any) -> None:
    with capture_queries() as log, transaction.atomic():
        industries(2)
        list(Industry.objects.filter(name="farming"))
    copied = again(log)
    assert copied.queries == log.queries
    assert copied.transactions == log.transactions
    assert [query.origin for query in copied] == [query.origin for query in log]
    assert copied.queries[0].origin.function == "industries"
    copied.append(RawRecord("SELECT 1", None, False, "default", "sqlite", 0.0, 0.0))
    assert (copied.count, log.count) == (3, 2)


@pytest.mark.parametrize("again", [copy.deepcopy, sent_and_received])
def test_what_tells_queries_of_a_line_apart_is_copied_with_them(again: Any) -> None:
    log = QueryLog()
    log.append(RawRecord("SELECT 1", None, False, "default", "sqlite", 0.0, 0.0, inside=7))
    assert [raw.inside for raw in again(log).raw] == [7]


def test_a_context_that_outlives_the_block_does_not_hold_its_log() -> None:
    """A pool's worker task, started in a request, lives as long as the process."""
    with capture_queries() as log:
        Industry.objects.count()
        context = contextvars.copy_context()
    held = weakref.ref(log)
    del log
    gc.collect()
    assert held() is None
    assert context.run(Industry.objects.count) == 0


@pytest.mark.parametrize("using", [[], (), set(), {}])
def test_no_alias_at_all_is_an_error_since_it_would_count_nothing_for_ever(using: Any) -> None:
    with pytest.raises(ValueError, match=r"names no database; leave it out to listen to all"):
        capture_queries(using)


@pytest.mark.django_db(transaction=True)
def test_tasks_that_share_one_capture_object_end_their_own_capture() -> None:
    capture = capture_queries()

    async def first(entered: asyncio.Event, left: asyncio.Event) -> int:
        with capture as log:
            await entered.wait()
            await Industry.objects.acount()
        left.set()
        return log.count

    async def second(entered: asyncio.Event, left: asyncio.Event) -> int:
        with capture as log:
            entered.set()
            await left.wait()
            await Industry.objects.acount()
        return log.count

    async def both() -> list[int]:
        entered, left = asyncio.Event(), asyncio.Event()
        return await asyncio.gather(first(entered, left), second(entered, left))

    assert asyncio.run(_closing(both())) == [1, 1]


@pytest.mark.django_db
def test_threads_that_share_one_capture_object_end_their_own_capture() -> None:
    capture = capture_queries()
    entered, left = threading.Event(), threading.Event()

    def other() -> None:
        with capture:
            entered.set()
            left.wait(10)

    thread = threading.Thread(target=other)
    with capture as log:
        thread.start()
        assert entered.wait(10)
        Industry.objects.count()
    Industry.objects.count()  # No longer in the log: this thread's capture is the one that ended.
    left.set()
    thread.join()
    assert log.count == 1
