"""What a transaction that writes many rows keeps and sends: bounded, and counted here."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest
from django.core.cache import caches
from django.db import connections, transaction
from hypothesis import given
from hypothesis import strategies as st

from accounts.models import CustomUser
from django_querybudget.cache import cache_stats, cached_queryset, invalidate, tags
from django_querybudget.cache.stores.store import Store
from django_querybudget.cache.transactions import pending as pendings
from django_querybudget.cache.transactions.pending import MANY_ROWS, MANY_TAGS, Pending
from jobs.models import Industry, Job
from payment.models import Payment

DATABASE = "default.12345678"


class Sent:
    """What the store was told to do, by the numbers of tags."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.marks: list[int] = []
        self.renewals: list[int] = []
        mark, renew = Store.mark, Store.renew

        def counted_mark(store: Store, wanted: Collection[str], *args: Any) -> bool:
            self.marks.append(len(wanted))
            return mark(store, wanted, *args)

        def counted_renew(store: Store, wanted: Collection[str], *args: Any, **named: Any) -> bool:
            self.renewals.append(len(wanted))
            return renew(store, wanted, *args, **named)

        monkeypatch.setattr(Store, "mark", counted_mark)
        monkeypatch.setattr(Store, "renew", counted_renew)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    caches["default"].clear()
    cache_stats(reset=True)
    return Sent(monkeypatch)


def rows_written(rows: int, *, tables: int = 1) -> Pending:
    pending = Pending("default")
    for row in range(rows):
        for table in range(tables):
            name = f"table{table}"
            pending.add({tags.table_tag(DATABASE, name), tags.row_tag(DATABASE, name, str(row))})
    return pending


def test_the_tags_kept_do_not_grow_with_the_rows() -> None:
    few, many = rows_written(1000), rows_written(20_000)
    assert few.tags == many.tags
    assert len(many.tags) == MANY_ROWS + 3
    assert tags.bulk_tag(DATABASE, "table0") in many.tags
    assert tags.any_value_tag(DATABASE, "table0") in many.tags
    assert few._numbers.keys() == many._numbers.keys()


def test_what_is_sent_does_not_grow_with_the_rows(sent: Sent) -> None:
    """Each row costs one mark of one tag, until two tags stand for the others."""
    rows_written(1000).renew()
    marks, renewals = sent.marks.copy(), sent.renewals.copy()
    assert sum(marks) == MANY_ROWS + 3
    assert renewals == [MANY_ROWS + 3]
    rows_written(20_000).renew()
    assert sent.marks == marks * 2
    assert sent.renewals == renewals * 2


def test_many_tables_are_bounded_too(sent: Sent) -> None:
    pending = rows_written(MANY_ROWS, tables=40)
    assert len(pending.tags) <= MANY_TAGS + 3 * 40
    assert sum(sent.marks) == len(pending.tags)


def test_many_tags_of_the_projects_own_end_in_everything() -> None:
    pending = Pending("default")
    for number in range(3 * MANY_TAGS):
        pending.add({tags.user_tag(f"user{number}")})
    assert len(pending.tags) <= MANY_ROWS + len(tags.every_database())
    assert pending.tags >= {tags.everything(database) for database in tags.every_database()}


def test_marks_renewed_in_a_long_transaction_are_few(
    sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every third of MARK_TIMEOUT all tags are marked again: all are a bounded number."""
    now = 0.0
    monkeypatch.setattr(pendings.time, "monotonic", lambda: now)
    pending = Pending("default")
    for row in range(5000):
        now += 1.0
        pending.add({tags.table_tag(DATABASE, "t"), tags.row_tag(DATABASE, "t", str(row))})
    assert len(sent.marks) <= MANY_ROWS + 1 + 5000 / 10
    assert max(sent.marks) <= MANY_ROWS + 3


name = st.text(alphabet='ab:"_.%', min_size=1, max_size=6)


@given(table=name, column=name.filter(lambda text: ":" not in text), value=st.integers())
def test_what_stands_for_a_tag_is_of_its_own_table(table: str, column: str, value: int) -> None:
    row = tags.row_tag(DATABASE, table, str(value))
    scope = tags.scope_tag(DATABASE, table, column, str(value))
    assert tags.stand_ins(row) == {
        tags.bulk_tag(DATABASE, table), tags.any_value_tag(DATABASE, table)
    }  # fmt: skip
    assert tags.stand_ins(scope) == {tags.any_scope_tag(DATABASE, table)}
    for few in (tags.table_tag, tags.bulk_tag, tags.any_scope_tag):
        assert tags.stand_ins(few(DATABASE, table)) == frozenset()


@pytest.mark.django_db(transaction=True)
class TestForReal:
    def test_rows_past_the_bound_are_as_new_as_those_before(
        self, sent: Sent, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pendings, "MANY_ROWS", 3)
        rows = [Industry.objects.create(name=f"old {n}") for n in range(8)]
        unwritten = Industry.objects.create(name="old 9")

        def name_of(row: Industry) -> str:
            return cached_queryset(Industry.objects.all()).get(pk=row.pk).name.split()[0]

        assert {name_of(row) for row in [*rows, unwritten]} == {"old"}
        del sent.marks[:]
        with transaction.atomic():
            for row in rows:
                row.name = row.name.replace("old", "new")
                row.save()
        assert sum(sent.marks) == 1 + 3 + 2  # the table, three rows, what stands for the others
        assert {name_of(row) for row in rows} == {"new"}
        assert name_of(unwritten) == "old"

    def test_old_scopes_are_not_asked_for_any_more(
        self, sent: Sent, monkeypatch: pytest.MonkeyPatch, settings: Any
    ) -> None:
        """An immediate transaction of SQLite locks every row: there they are read."""
        monkeypatch.setattr(pendings, "MANY_ROWS", 3)
        used = connections["default"]
        used.ensure_connection()  # which sets the mode
        monkeypatch.setattr(used, "transaction_mode", "IMMEDIATE")
        settings.QUERYBUDGET = {"CACHE": {"SCOPES": {"payment.Payment": ["payer"]}}}
        asked = 0
        create_cursor = used.create_cursor

        def counted(*args: Any) -> Any:
            nonlocal asked
            asked += 1
            return create_cursor(*args)

        users = [CustomUser.objects.create(username=f"u{n}", email=f"{n}@x") for n in range(2)]
        job = Job.objects.create(
            client=users[0], industry=Industry.objects.create(name="i"), title="t", budget=1
        )
        payments = [
            Payment.objects.create(payer=users[0], recipient=users[1], job=job, amount=1)
            for _ in range(8)
        ]
        with transaction.atomic():
            monkeypatch.setattr(used, "create_cursor", counted)
            for payment in payments:
                payment.save()
        assert asked == 8 + 4  # one for each UPDATE, and of old scopes until the fourth row

    def test_invalidate_in_a_loop_is_bounded(self, sent: Sent) -> None:
        with transaction.atomic():
            for number in range(2 * MANY_TAGS):
                invalidate(f"user:{number}")
        assert sum(sent.marks) < MANY_TAGS
        assert len(sent.renewals) == 1
