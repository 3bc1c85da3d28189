"""A transaction that ends in a way its ``atomic()`` does not tell: committed all the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from django.core.cache import caches
from django.db import IntegrityError, OperationalError, connections, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test import RequestFactory

from django_querybudget.cache import cache_stats, cached_queryset, cached_view
from payment.models import Payment
from tests.cache import world

ON_EACH_DATABASE = [
    pytest.param(alias, marks=pytest.mark.django_db(transaction=True, databases=[alias]))
    for alias in ("default", "postgres", "mariadb")
]
ON_POSTGRESQL, ON_MARIADB = ON_EACH_DATABASE[1:]


class Wrong(Exception):
    """What goes wrong in the host's code."""


@pytest.fixture(autouse=True)
def rows(alias: str, redis_url: str, db: None, settings: Any) -> None:
    del redis_url, db
    settings.QUERYBUDGET = {"CACHE": {**settings.QUERYBUDGET["CACHE"], "ALIAS": "redis"}}
    caches["redis"].clear()
    world.fill(alias)
    read(alias)
    assert read(alias) == database(alias)


def read(alias: str) -> list[Any]:
    return [payment.amount for payment in cached_queryset(_payments(alias), 600)]


def database(alias: str) -> list[Any]:
    return [payment.amount for payment in _payments(alias)]


def _payments(alias: str) -> Any:
    return Payment.objects.using(alias).order_by("pk")


def write(alias: str) -> None:
    Payment.objects.using(alias).filter(pk=1).update(amount=1000)


def execute(alias: str, sql: str) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute(sql)


def assert_written_and_seen(alias: str) -> None:
    assert 1000 in database(alias)
    assert read(alias) == database(alias)
    assert read(alias) == database(alias)


@pytest.mark.parametrize("alias", ON_EACH_DATABASE)
def test_an_on_commit_callback_raises_before_ours_ran(alias: str) -> None:
    """Django drops the callbacks that follow, of a transaction that is committed."""

    def task() -> None:
        raise Wrong

    with pytest.raises(Wrong), transaction.atomic(using=alias):
        transaction.on_commit(task, using=alias)
        write(alias)
    assert_written_and_seen(alias)


@pytest.mark.parametrize("alias", ON_EACH_DATABASE)
def test_the_servers_answer_to_commit_is_lost(alias: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server has committed; the client only knows that the connection broke."""
    connection = connections[alias]
    commit = connection._commit

    def commit_and_break() -> None:
        commit()
        raise OperationalError("server closed the connection unexpectedly")

    with pytest.raises(OperationalError), transaction.atomic(using=alias):
        write(alias)
        monkeypatch.setattr(connection, "_commit", commit_and_break)
    monkeypatch.undo()
    assert_written_and_seen(alias)


@pytest.mark.parametrize("alias", ON_EACH_DATABASE[:2])  # MariaDB refuses the row itself
@pytest.mark.parametrize("by_hand", [False, True])
def test_a_commit_that_a_constraint_refuses(alias: str, by_hand: bool) -> None:
    """A foreign key is looked at there: a row refers to none."""

    def write_both() -> None:
        write(alias)
        Payment.objects.using(alias).filter(pk=2).update(payer=999)

    if by_hand:
        transaction.set_autocommit(False, using=alias)
        write_both()
        with pytest.raises(IntegrityError):
            transaction.commit(using=alias)
        transaction.rollback(using=alias)
        transaction.set_autocommit(True, using=alias)
    else:
        with pytest.raises(IntegrityError), transaction.atomic(using=alias):
            write_both()
    assert 1000 not in database(alias)
    for _ in range(2):
        assert read(alias) == database(alias)


@pytest.mark.parametrize("alias", [ON_MARIADB])
def test_a_schema_change_commits_and_atomic_rolls_back(alias: str) -> None:
    """MariaDB and MySQL commit before every CREATE TABLE."""
    with pytest.raises(Wrong), transaction.atomic(using=alias):
        write(alias)
        execute(alias, "CREATE TABLE endings (id INT)")
        execute(alias, "DROP TABLE endings")
        raise Wrong
    assert_written_and_seen(alias)


@pytest.mark.parametrize("alias", ON_EACH_DATABASE)
def test_a_raw_commit_inside_of_atomic(alias: str) -> None:
    """Then atomic()'s own end finds no transaction: a warning, or an error, and no rollback."""
    with pytest.raises((Wrong, OperationalError)), transaction.atomic(using=alias):
        write(alias)
        execute(alias, "COMMIT")
        raise Wrong
    assert_written_and_seen(alias)


@pytest.mark.parametrize("alias", [ON_MARIADB])
def test_a_table_without_transactions_is_not_rolled_back(alias: str) -> None:
    execute(alias, "SET FOREIGN_KEY_CHECKS = 0")
    execute(alias, "ALTER TABLE payment_payment RENAME payment_kept")
    execute(alias, "CREATE TABLE payment_payment ENGINE=MyISAM AS SELECT * FROM payment_kept")
    try:
        read(alias)
        assert read(alias) == database(alias)
        with pytest.raises(Wrong), transaction.atomic(using=alias):
            write(alias)
            raise Wrong
        assert_written_and_seen(alias)
    finally:
        execute(alias, "DROP TABLE payment_payment")
        execute(alias, "ALTER TABLE payment_kept RENAME payment_payment")
        execute(alias, "SET FOREIGN_KEY_CHECKS = 1")


@pytest.mark.parametrize("alias", ON_EACH_DATABASE)
def test_a_rollback_of_nothing_but_a_savepoint_by_hand(alias: str) -> None:
    with transaction.atomic(using=alias):
        write(alias)
        savepoint = connections[alias].savepoint()
        Payment.objects.using(alias).filter(pk=2).update(amount=1)
        connections[alias].savepoint_rollback(savepoint)
    assert_written_and_seen(alias)


@pytest.fixture(params=[True, False], ids=["marks", "no marks"])
def marks(request: pytest.FixtureRequest, settings: Any, alias: str) -> bool:
    on: bool = request.param
    settings.QUERYBUDGET = {
        "CACHE": {**settings.QUERYBUDGET["CACHE"], "IN_FLIGHT_MARKS": on, "CLOCK_SKEW": 0}
    }
    del alias
    return on


EMPTIED = {
    "cleared": lambda connection: connection.run_on_commit.clear(),
    "another list": lambda connection: setattr(connection, "run_on_commit", []),
    "sliced": lambda connection: connection.run_on_commit.__delitem__(slice(None)),
}


def in_another_thread(act: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor(1) as pool:
        try:
            return pool.submit(act).result()
        finally:
            pool.submit(connections.close_all).result()


@pytest.mark.parametrize("emptied", EMPTIED)
@pytest.mark.parametrize("alias", ON_EACH_DATABASE)
def test_run_on_commit_emptied_in_the_middle(alias: str, marks: bool, emptied: str) -> None:
    """Some helpers of tests and other libraries do so; the transaction goes on, and commits."""
    with transaction.atomic(using=alias):
        write(alias)
        EMPTIED[emptied](connections[alias])
        assert 1000 in read(alias)  # its own write
        if alias != "default":  # SQLite lets nobody read beside a writer
            assert 1000 not in in_another_thread(lambda: read(alias))
        Payment.objects.using(alias).filter(pk=2).update(amount=2000)
    assert_written_and_seen(alias)
    assert 2000 in read(alias)


@pytest.mark.parametrize("alias", ON_EACH_DATABASE)
def test_run_on_commit_emptied_after_the_last_statement(alias: str, marks: bool) -> None:
    with transaction.atomic(using=alias):
        write(alias)
        connections[alias].run_on_commit.clear()
        # Other threads of the process run statements: none of their business yet.
        in_another_thread(lambda: execute(alias, "SELECT 1"))
    assert_written_and_seen(alias)


@pytest.mark.parametrize("alias", ON_EACH_DATABASE[1:])
def test_run_on_commit_emptied_and_others_read_before_the_commit(alias: str, marks: bool) -> None:
    """A reader of another thread may fill what it sees until then; nothing of it stays."""
    with transaction.atomic(using=alias):
        write(alias)
        connections[alias].run_on_commit.clear()
        for _ in range(2):
            assert 1000 not in in_another_thread(lambda: read(alias))
    assert_written_and_seen(alias)


@pytest.mark.parametrize("alias", ON_EACH_DATABASE)
def test_a_decorator_begins_the_next_transaction_with_the_same_block(
    alias: str, marks: bool
) -> None:
    """The first one's callback went with an exception after its COMMIT."""

    @transaction.atomic(using=alias)
    def step(number: int) -> None:
        if number == 1:
            transaction.on_commit(lambda: 1 / 0, using=alias)
            write(alias)
        else:
            assert 1000 in read(alias)
            Payment.objects.using(alias).filter(pk=2).update(amount=2000)

    with pytest.raises(ZeroDivisionError):
        step(1)
    step(2)
    assert_written_and_seen(alias)
    assert 2000 in read(alias)


@cached_queryset(timeout=600)
def payments(alias: str) -> Any:
    return _payments(alias)


def of_a_call(alias: str) -> list[Any]:
    """Read by a decorated function: which databases it asks is not known before its answer is."""
    return [payment.amount for payment in payments(alias)]


@cached_view(timeout=600, vary_on=())
def view(request: HttpRequest) -> HttpResponse:
    return JsonResponse(database(request.GET["alias"]), safe=False)


def of_a_view(alias: str) -> list[Any]:
    """Nor which databases a view asks."""
    answer = view(RequestFactory().get("/", {"alias": alias}))
    return list(map(Decimal, json.loads(answer.content)))


@pytest.mark.parametrize("how", ["a callback raises", "emptied"])
@pytest.mark.parametrize("ask", [of_a_call, of_a_view], ids=["function", "view"])
@pytest.mark.parametrize("alias", ON_EACH_DATABASE)
def test_what_is_asked_first_after_the_end_hears_of_it(
    alias: str, marks: bool, ask: Callable[[str], list[Any]], how: str
) -> None:
    for _ in range(3):
        ask(alias)
    assert cache_stats().hits
    with suppress(ZeroDivisionError), transaction.atomic(using=alias):
        if how == "a callback raises":
            transaction.on_commit(lambda: 1 / 0, using=alias)
        write(alias)
        if how == "emptied":
            connections[alias].run_on_commit.clear()
    for _ in range(2):
        assert ask(alias) == database(alias)


@pytest.mark.parametrize("alias", ON_EACH_DATABASE)
def test_so_it_is_after_a_commit_by_hand_whose_mark_was_lost(alias: str) -> None:
    """Evicted: so another connection stored what it saw before the commit."""
    for _ in range(3):
        of_a_call(alias)
    transaction.set_autocommit(False, using=alias)
    write(alias)
    client = caches["redis"].client.get_client()
    client.delete(*client.keys("qb:[th]:*"))
    cache_stats(reset=True)
    for _ in range(2):
        assert 1000 not in in_another_thread(lambda: connections.all() and of_a_call(alias))
    assert cache_stats().hits == 1
    transaction.commit(using=alias)
    transaction.set_autocommit(True, using=alias)
    for _ in range(2):
        assert of_a_call(alias) == database(alias)


@pytest.mark.parametrize("alias", ON_EACH_DATABASE)
def test_what_is_committed_is_renewed_while_the_same_block_goes_on(alias: str, marks: bool) -> None:
    """Others must not wait for the end of the next transaction."""

    @transaction.atomic(using=alias)
    def step(number: int) -> None:
        if number == 1:
            transaction.on_commit(lambda: 1 / 0, using=alias)
            write(alias)
        else:
            read(alias)  # hears of the end
            for _ in range(2):
                assert 1000 in in_another_thread(lambda: read(alias))

    with pytest.raises(ZeroDivisionError):
        step(1)
    step(2)


@pytest.mark.parametrize("alias", ON_EACH_DATABASE[1:])
def test_run_on_commit_emptied_before_reads_alone(alias: str, marks: bool) -> None:
    """No other write of the transaction would renew what it wrote before."""
    with transaction.atomic(using=alias):
        write(alias)
        connections[alias].run_on_commit.clear()
        read(alias)  # hears of it
        for _ in range(2):
            assert 1000 not in in_another_thread(lambda: read(alias))
    for _ in range(2):
        assert 1000 in in_another_thread(lambda: read(alias))


def audit(alias: str, sql: str) -> Callable[..., Any]:
    """Return a wrapper of the host's that sends ``sql`` before every statement."""

    def wrapper(execute: Any, statement: str, params: Any, many: bool, context: Any) -> Any:
        if "audit" not in statement:
            with connections[alias].cursor() as cursor:
                cursor.execute(f"{sql} /* audit */")
        return execute(statement, params, many, context)

    return wrapper


@pytest.mark.parametrize(
    "sql",
    ["SELECT 1", "UPDATE payment_payment SET status = 'seen' WHERE id = 2"],
    ids=["reads", "writes"],
)
@pytest.mark.parametrize("alias", ON_EACH_DATABASE)
def test_a_wrapper_that_sends_a_statement_of_its_own(alias: str, marks: bool, sql: str) -> None:
    cache_stats(reset=True)
    with connections[alias].execute_wrapper(audit(alias, sql)):
        write(alias)
    assert_written_and_seen(alias)
    assert cache_stats().hits == 1  # no mark was left
