"""A transaction that ends in a way its ``atomic()`` does not tell: committed all the same."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.cache import caches
from django.db import OperationalError, connections, transaction

from django_querybudget.cache import cached_queryset
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
