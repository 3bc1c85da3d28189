"""A transaction that ends in a way its ``atomic()`` does not tell: committed all the same."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core.cache import caches
from django.db import OperationalError, connections, transaction

from django_querybudget.cache import cache_stats, cached_queryset
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
