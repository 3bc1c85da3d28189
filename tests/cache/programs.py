"""What actors do: each function is one program, named by the tests."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from django.apps import apps
from django.db import Error, connections, transaction
from django.db.models import QuerySet, Sum

from django_querybudget.cache.reading.querysets import CachedQuerySetMixin
from jobs.models import Industry
from payment.models import Payment
from tests.cache.relations.models import Receipt


class ThePast(AssertionError):
    """What a program itself has read is older than it may be."""


def on_begun() -> None:
    """Replaced by the actor: a read begins."""


def cached(queryset: QuerySet[Any]) -> QuerySet[Any]:
    """Read through the library under test; replaced where that is a peer."""
    from django_querybudget.cache import cached_queryset

    return cached_queryset(queryset, 600)


def _by_key(rows: QuerySet[Payment]) -> Decimal:
    return rows.get(pk=1).amount


def _by_scope(rows: QuerySet[Payment]) -> Decimal:
    return sum(rows.filter(payer=2).values_list("amount", flat=True), Decimal())


def _by_list(rows: QuerySet[Payment]) -> Decimal:
    return sum((payment.amount for payment in rows.filter(job=3)), Decimal())


def _by_condition(rows: QuerySet[Payment]) -> Decimal:
    """Of a list that a row comes into when it is written."""
    return sum((payment.amount for payment in rows.filter(job=3, amount__gte=500)), Decimal())


def _by_join(rows: QuerySet[Payment]) -> Decimal:
    """Of a list of other rows, to which payments are joined."""
    receipts = Receipt.objects.using(rows.db).filter(holder=4).select_related("payment")
    if isinstance(rows, CachedQuerySetMixin):
        receipts = cached(receipts)
    return sum((each.payment.amount for each in receipts if each.payment), Decimal())


def _by_table(rows: QuerySet[Payment]) -> Decimal:
    total: Decimal = rows.aggregate(total=Sum("amount"))["total"]
    return total


FORMS: dict[str, Callable[[QuerySet[Payment]], Decimal]] = {
    "key": _by_key,
    "scope": _by_scope,
    "list": _by_list,
    "condition": _by_condition,
    "join": _by_join,
    "table": _by_table,
}


BY_VIEW = "view by "
"""What the name of a form begins with that reads through a cached view."""


def _view() -> Callable[..., Any]:
    from django.http import HttpRequest, HttpResponse

    from django_querybudget.cache import cached_view

    @cached_view(600, vary_on=())
    def view(request: HttpRequest, alias: str, form: str) -> HttpResponse:
        return HttpResponse(str(FORMS[form](Payment.objects.using(alias))))

    return view


_views: list[Callable[..., Any]] = []


def _by_view(alias: str, form: str) -> Decimal:
    from django.test import RequestFactory

    if not _views:
        _views.append(_view())
    form = form.removeprefix(BY_VIEW)
    response = _views[0](RequestFactory().get(f"/{form}/"), alias, form)
    return Decimal(response.content.decode())


def read(alias: str, form: str) -> list[Decimal]:
    on_begun()
    if form.startswith(BY_VIEW):
        return [_by_view(alias, form)]
    return [FORMS[form](cached(Payment.objects.using(alias)))]


def read_twice(alias: str, form: str) -> list[Decimal]:
    return read(alias, form) + read(alias, form)


def read_together(alias: str, form: str) -> list[Decimal]:
    """Return payment 1's amount by its key, by its payer, and by its table, read as a group.

    ``form`` is that of another read, which is compared with the same amount.
    """
    from django_querybudget.cache import fetch_together

    rows = Payment.objects.using(alias)
    pages = [cached(rows.filter(pk=1)), cached(rows.filter(payer=2)), cached(rows.order_by("pk"))]
    for _ in pages:
        on_begun()
    del form
    return [
        payment.amount for page in fetch_together(*pages) for payment in page if payment.pk == 1
    ]


def read_together_twice(alias: str, form: str) -> list[Decimal]:
    return read_together(alias, form) + read_together(alias, form)


def read_the_database(alias: str, form: str) -> list[Decimal]:
    return [FORMS[form.removeprefix(BY_VIEW)](Payment.objects.using(alias))]


def read_in_atomic(alias: str, form: str) -> list[Decimal]:
    """Return what was read in a transaction whose snapshot, if it has one, is older."""
    with transaction.atomic(using=alias):
        Industry.objects.using(alias).count()
        return read(alias, form)


def read_in_repeatable_read(alias: str, form: str) -> list[Decimal]:
    """Ask for the isolation level by hand, behind the settings' back."""
    with transaction.atomic(using=alias):
        _execute(alias, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        Industry.objects.using(alias).count()
        return read(alias, form)


def read_in_session_repeatable_read(alias: str, form: str) -> list[Decimal]:
    _execute(alias, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    try:
        with transaction.atomic(using=alias):
            Industry.objects.using(alias).count()
            return read(alias, form)
    finally:
        _execute(alias, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")


def read_in_raw_transaction(alias: str, form: str) -> list[Decimal]:
    """A transaction of the application's own SQL."""
    _execute(alias, "BEGIN")
    try:
        Industry.objects.using(alias).count()
        return read(alias, form)
    finally:
        _execute(alias, "COMMIT")


def read_in_manual_transaction(alias: str, form: str) -> list[Decimal]:
    transaction.set_autocommit(False, using=alias)
    try:
        Industry.objects.using(alias).count()
        return read(alias, form)
    finally:
        transaction.commit(using=alias)
        transaction.set_autocommit(True, using=alias)


# Writes: each sets the amount of payment ``pk`` in the end, or leaves it as it is


def save(alias: str, pk: int, amount: int) -> None:
    payment = Payment(pk=pk, payer_id=2, recipient_id=3, job_id=3, amount=Decimal(amount))
    payment.save(using=alias, force_update=True)


def update(alias: str, pk: int, amount: int) -> None:
    Payment.objects.using(alias).filter(pk=pk).update(amount=Decimal(amount))


def update_of_a_payers(alias: str, pk: int, amount: int) -> None:
    """Set the amounts of all that the payer of payment ``pk`` has paid, by the foreign key."""
    Payment.objects.using(alias).filter(payer=1 + pk % 2).update(amount=Decimal(amount))


def update_of_another_column(alias: str, pk: int, amount: int) -> None:
    """Leave the amount as it is."""
    Payment.objects.using(alias).filter(pk=pk).update(currency=str(amount)[:3])


def raw(alias: str, pk: int, amount: int) -> None:
    _execute(alias, "UPDATE payment_payment SET amount = %s WHERE id = %s", [amount, pk])


def update_in_atomic(alias: str, pk: int, amount: int) -> None:
    with transaction.atomic(using=alias):
        update(alias, pk, amount)


def save_in_atomic(alias: str, pk: int, amount: int) -> None:
    with transaction.atomic(using=alias):
        save(alias, pk, amount)


def write_twice_in_atomic(alias: str, pk: int, amount: int) -> None:
    with transaction.atomic(using=alias):
        save(alias, pk, 1)
        update(alias, pk, amount)


def write_after_a_savepoint_rolled_back(alias: str, pk: int, amount: int) -> None:
    with transaction.atomic(using=alias):
        try:
            with transaction.atomic(using=alias):
                update(alias, pk, 1)
                raise _Stop
        except _Stop:
            pass
        update(alias, pk, amount)


def write_before_a_savepoint_rolled_back(alias: str, pk: int, amount: int) -> None:
    with transaction.atomic(using=alias):
        update(alias, pk, amount)
        try:
            with transaction.atomic(using=alias):
                update(alias, pk, 1)
                raise _Stop
        except _Stop:
            pass


def write_in_a_savepoint(alias: str, pk: int, amount: int) -> None:
    with transaction.atomic(using=alias), transaction.atomic(using=alias):
        update(alias, pk, amount)


def roll_back(alias: str, pk: int, amount: int) -> None:
    try:
        with transaction.atomic(using=alias):
            update(alias, pk, amount)
            raise _Stop
    except _Stop:
        pass


def write_and_read_in_atomic(alias: str, pk: int, amount: int) -> None:
    """Read the uncommitted write through the cache, which must keep it to itself."""
    with transaction.atomic(using=alias):
        update(alias, pk, amount)
        rows = cached(Payment.objects.using(alias))
        for form, read_as in FORMS.items():
            if (seen := read_as(rows)) != (true := read_as(Payment.objects.using(alias))):
                raise ThePast(f"by {form}, {seen}, not {true}")


def write_and_read_by_view_in_atomic(alias: str, pk: int, amount: int) -> None:
    """The same through a cached view, by a key that no reader of the order's shares."""
    with transaction.atomic(using=alias):
        update(alias, pk, amount)
        if (seen := _by_view(alias, "key")) != (true := read_the_database(alias, "key")[0]):
            raise ThePast(f"by a view, {seen}, not {true}")


def write_manually(alias: str, pk: int, amount: int) -> None:
    transaction.set_autocommit(False, using=alias)
    try:
        update(alias, pk, amount)
        transaction.commit(using=alias)
    finally:
        transaction.set_autocommit(True, using=alias)


def write_in_raw_transaction(alias: str, pk: int, amount: int) -> None:
    _execute(alias, "BEGIN")
    update(alias, pk, amount)
    _execute(alias, "COMMIT")


def roll_back_in_raw_transaction(alias: str, pk: int, amount: int) -> None:
    _execute(alias, "BEGIN")
    update(alias, pk, amount)
    _execute(alias, "ROLLBACK")


def write_and_read_on_commit(alias: str, pk: int, amount: int) -> Any:
    """R4: tasks of on_commit, one registered before the write and one after, read."""
    seen: list[Decimal] = []

    def task() -> None:
        seen.extend(read(alias, "key"))

    with transaction.atomic(using=alias):
        transaction.on_commit(task, using=alias)
        update(alias, pk, amount)
        transaction.on_commit(task, using=alias)
    if seen != [Decimal(amount)] * 2:
        raise ThePast(f"after the commit, {seen}, not {amount}")
    return None


def write_in_commit_hook(alias: str, pk: int, amount: int) -> None:
    """A task of on_commit writes: in autocommit, while callbacks of the transaction run."""
    with transaction.atomic(using=alias):
        Industry.objects.using(alias).filter(pk=1).update(name="art")
        transaction.on_commit(lambda: update(alias, pk, amount), using=alias)


def write_after_a_failed_entry(alias: str, pk: int, amount: int) -> None:
    """R13: the database could not be reached when a transaction was to begin."""
    connection = connections[alias]
    where = dict(connection.settings_dict)
    connection.close()
    connection.settings_dict.update(HOST="/nowhere", NAME="/nowhere/database")
    try:
        with transaction.atomic(using=alias):
            raise AssertionError("there is no database at /nowhere")
    except Error:
        pass
    finally:
        connection.settings_dict.update(where)
    update(alias, pk, amount)


def open_connections(alias: str) -> None:
    """Connect, and let the server know our scripts: no step of a program's own."""
    read(alias, "key")
    update(alias, 3, 15)
    if apps.is_installed("django_querybudget"):  # in a benchmark's process, a peer may be alone
        _by_view(alias, "key")
    connections[alias].ensure_connection()


def forget(alias: str) -> None:
    """Forget what a process learns with time, and owes: each order begins with the same."""
    from django_querybudget.cache.reading import leases
    from django_querybudget.cache.reading.remembered import _dependencies, _rows
    from django_querybudget.cache.transactions import mode_of, state_of
    from django_querybudget.cache.views import learned

    connection = connections[alias]
    learned._reads.clear()
    state_of(connection).settle(connection, mode_of(connection))
    _dependencies.clear()
    _rows.forget()
    leases._unstored.clear()


def counts(alias: str) -> tuple[int, int, str]:
    """Return the hits and the stores of this process since the last call, and all as text."""
    from django_querybudget.cache import cache_stats

    del alias
    stats = cache_stats(reset=True)
    return stats.hits, stats.stores, str(stats)


def trusts(alias: str) -> bool:
    """Return whether this process has the cache back, after a failure."""
    from django_querybudget.cache.stores.chosen import store_for

    del alias
    return not store_for("redis").distrusted


class _Stop(Exception):
    pass


def _execute(alias: str, sql: str, params: Any = None) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute(sql, params)
