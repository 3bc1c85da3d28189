"""The read of old scopes inside the host's transaction: it cannot fail, nor wait for anybody.

Each test is a transaction in which the read would fail or wait, and in which the host's own
statements do what they would do without the library.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.cache import caches
from django.db import DatabaseError, OperationalError, connections, transaction

from django_querybudget.cache import cached_queryset
from django_querybudget.cache import tables as tables_module
from django_querybudget.cache.transactions import state_of
from payment.models import Payment
from tests.cache import world
from tests.cache.relations.models import Restaurant

ON_POSTGRESQL = pytest.mark.django_db(transaction=True, databases=["postgres"])
ON_MARIADB = pytest.mark.django_db(transaction=True, databases=["mariadb"])
ON_SERVERS = pytest.mark.parametrize(
    "alias",
    [
        pytest.param("postgres", marks=ON_POSTGRESQL),
        pytest.param("mariadb", marks=ON_MARIADB),
    ],
)


@pytest.fixture(autouse=True)
def scopes(settings: Any) -> None:
    caches["default"].clear()
    settings.QUERYBUDGET = {"CACHE": {"SCOPES": {"payment.Payment": ["payer"]}, "CLOCK_SKEW": 0}}
    for alias in ("postgres", "mariadb"):
        state_of(connections[alias]).lockable = {}  # as on a connection of this test's own


def execute(alias: str, sql: str) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute(sql)


def paid(alias: str, payer: int) -> list[Any]:
    rows = Payment.objects.using(alias).filter(payer=payer).order_by("pk")
    return [payment.amount for payment in cached_queryset(rows)]


def set_amount(alias: str, amount: int = 1000) -> None:
    assert Payment.objects.using(alias).filter(pk=1).update(amount=amount) == 1


def knows(alias: str) -> bool:
    """Whether the transaction has found out which scopes it wrote."""
    pending = state_of(connections[alias])._pending
    assert pending is not None
    return not any(":S:" in tag for tag in pending.tags)


@contextmanager
def beside(alias: str, act: Callable[[], None]) -> Iterator[None]:
    """Let ``act`` run in a transaction of another connection, which ends after the block."""
    acted, over = threading.Event(), threading.Event()

    def run() -> None:
        try:
            with transaction.atomic(using=alias):
                act()
                acted.set()
                over.wait(20)
        finally:
            acted.set()
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    assert acted.wait(20)
    try:
        yield
    finally:
        over.set()
        thread.join()


@ON_SERVERS
def test_it_finds_the_rows_scopes(alias: str) -> None:
    world.fill(alias)
    with transaction.atomic(using=alias):
        set_amount(alias)
        assert knows(alias)


@ON_SERVERS
def test_a_row_that_another_transaction_has_is_not_waited_for(alias: str) -> None:
    """Found out before the host's own statement waits, which here it does not get to."""
    world.fill(alias)
    old = paid(alias, 2)
    setting = {"postgres": "lock_timeout", "mariadb": "innodb_lock_wait_timeout"}[alias]
    execute(alias, f"SET SESSION {setting} = {1000 if alias == 'postgres' else 1}")
    # The host sees its own statement's error, of the kind that it would see without us.
    with (
        beside(alias, lambda: set_amount(alias, 7)),
        pytest.raises(OperationalError),
        transaction.atomic(using=alias),
    ):
        set_amount(alias)
    execute(alias, f"SET SESSION {setting} = DEFAULT")
    assert paid(alias, 2) == [7 if amount == 5 else amount for amount in old]


@ON_SERVERS
def test_a_deadlock_is_the_hosts_own(alias: str) -> None:
    """One of two that lock two rows crosswise is told by its own statement, and is rolled back."""
    world.fill(alias)
    both = threading.Barrier(2, timeout=20)
    errors: list[BaseException] = []

    def write(first: int, second: int) -> None:
        rows = Payment.objects.using(alias)
        try:
            with transaction.atomic(using=alias):
                rows.filter(pk=first).update(amount=first * 100)
                both.wait()
                rows.filter(pk=second).update(amount=first * 100)
        except DatabaseError as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=write, args=order) for order in ((1, 2), (2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    [error] = errors
    assert isinstance(error, OperationalError)
    amounts = dict(Payment.objects.using(alias).filter(pk__in=(1, 2)).values_list("pk", "amount"))
    assert amounts in ({1: 100, 2: 100}, {1: 200, 2: 200})  # all of one, nothing of the other


@ON_POSTGRESQL
def test_a_column_that_is_not_there_aborts_nothing() -> None:
    """The model is ahead of its migration."""
    world.fill("postgres")
    execute("postgres", "ALTER TABLE payment_payment RENAME payer_id TO payer_old")
    try:
        with transaction.atomic(using="postgres"):
            set_amount("postgres")
            assert not knows("postgres")
            set_amount("postgres", 1001)
    finally:
        execute("postgres", "ALTER TABLE payment_payment RENAME payer_old TO payer_id")
    assert 1001 in paid("postgres", 2)


@pytest.fixture
def writer() -> Iterator[str]:
    """A role that may update payments and not read who paid."""
    world.fill("postgres")
    execute("postgres", "CREATE ROLE querybudget_writer NOINHERIT")
    execute("postgres", "GRANT UPDATE ON payment_payment TO querybudget_writer")
    execute("postgres", "GRANT SELECT (id, amount) ON payment_payment TO querybudget_writer")
    yield "querybudget_writer"
    execute("postgres", "RESET ROLE")
    execute("postgres", "DROP OWNED BY querybudget_writer")
    execute("postgres", "DROP ROLE querybudget_writer")


@ON_POSTGRESQL
@pytest.mark.parametrize("known", [False, True], ids=["at once", "after it was asked"])
@pytest.mark.parametrize("role", ["SET LOCAL ROLE {}", "SELECT set_config('role', '{}', true)"])
def test_a_column_that_may_not_be_read_aborts_nothing(writer: str, known: bool, role: str) -> None:
    if known:
        with transaction.atomic(using="postgres"):
            set_amount("postgres", 500)
            assert knows("postgres")
    before = paid("postgres", 2)
    with transaction.atomic(using="postgres"):
        execute("postgres", role.format(writer))
        set_amount("postgres")
        assert not knows("postgres")
        set_amount("postgres", 1001)
    assert 1001 in paid("postgres", 2) != before


@ON_POSTGRESQL
@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_a_snapshot_that_is_too_old_is_the_hosts_own_error(level: str) -> None:
    world.fill("postgres")

    def write_too_late() -> None:
        with transaction.atomic(using="postgres"):
            execute("postgres", f"SET TRANSACTION ISOLATION LEVEL {level}")
            assert Payment.objects.using("postgres").count() == 3
            with beside("postgres", lambda: set_amount("postgres", 7)):
                pass
            set_amount("postgres")

    with pytest.raises(OperationalError, match="serialize"):
        write_too_late()
    assert 7 in paid("postgres", 2)


@ON_POSTGRESQL
def test_a_table_with_row_level_security_is_not_locked() -> None:
    world.fill("postgres")
    execute("postgres", "ALTER TABLE payment_payment ENABLE ROW LEVEL SECURITY")
    try:
        with transaction.atomic(using="postgres"):
            set_amount("postgres")
            assert not knows("postgres")
    finally:
        execute("postgres", "ALTER TABLE payment_payment DISABLE ROW LEVEL SECURITY")


@ON_SERVERS
def test_a_multi_table_parents_field_is_no_scope(
    alias: str,
    settings: Any,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server runs no checks: the scope is left out, and that is said once."""
    monkeypatch.setattr(tables_module, "_told", set())
    tables_module.forget()
    settings.QUERYBUDGET = {"CACHE": {"SCOPES": {"relations.Restaurant": ["id", "stars"]}}}
    world.fill(alias)
    for stars in (4, 5):
        with transaction.atomic(using=alias):
            row = Restaurant.objects.using(alias).get(pk=2)
            row.stars = stars
            row.save()
    assert Restaurant.objects.using(alias).get(pk=2).stars == 5
    [told] = [record.message for record in caplog.records if "no column" in record.message]
    assert "'id' of relations.Restaurant" in told


@ON_POSTGRESQL
def test_a_row_that_moves_is_missed_by_no_list() -> None:
    world.fill("postgres")
    for payer in (3, 4, 1, 2):
        for each in (1, 2, 3, 4):
            paid("postgres", each)
        with transaction.atomic(using="postgres"):
            row = Payment.objects.using("postgres").get(pk=1)
            row.payer_id = payer
            row.save()
            assert knows("postgres")
        for each in (1, 2, 3, 4):
            true = Payment.objects.using("postgres").filter(payer=each).order_by("pk")
            assert paid("postgres", each) == [payment.amount for payment in true]
