"""Where a connection stands: TestCase, callbacks captured, replicas, and what is left behind."""

from __future__ import annotations

import gc
import time
from contextlib import suppress
from typing import Any

import pytest
from django.core.cache import caches
from django.db import connection, connections, transaction
from django.test import TestCase
from django.test.utils import CaptureQueriesContext

from django_querybudget.cache import cache_stats, cached_queryset
from django_querybudget.cache.tokens import new_token
from django_querybudget.cache.transactions import Mode, State, mode_of, state_of
from jobs.models import Industry


def names() -> list[str]:
    return [each.name for each in cached_queryset(Industry.objects.order_by("pk"))]


def queries_of_names() -> int:
    with CaptureQueriesContext(connection) as queries:
        names()
    return len(queries)


class TestInATestCase(TestCase):
    def setUp(self) -> None:
        caches["default"].clear()
        cache_stats(reset=True)

    def test_own_writes_are_seen_and_nothing_is_shared(self) -> None:
        assert mode_of(connection) is Mode.TEST
        before = names()
        Industry.objects.create(name="mine")
        assert names() == [*before, "mine"]
        assert queries_of_names() == 1
        assert cache_stats().bypasses["the transaction has written"] == 2
        assert cache_stats().invalidations == 0

    def test_the_hosts_callbacks_are_the_only_ones_captured(self) -> None:
        calls: list[str] = []
        with self.captureOnCommitCallbacks(execute=True) as callbacks:
            Industry.objects.create(name="mine")
            transaction.on_commit(lambda: calls.extend(names()))
        assert len(callbacks) == 1
        assert calls == ["mine"]

    def test_a_rolled_back_block_inside(self) -> None:
        with suppress(ZeroDivisionError), transaction.atomic():
            Industry.objects.create(name="undone")
            raise ZeroDivisionError
        assert names() == []


@pytest.mark.django_db(transaction=True)
class TestForReal:
    @pytest.fixture(autouse=True)
    def empty(self, settings: Any) -> None:
        caches["default"].clear()
        settings.QUERYBUDGET = {"CACHE": {"CLOCK_SKEW": 0.05}}
        cache_stats(reset=True)

    def test_a_transaction_renews_once_whatever_it_wrote(self) -> None:
        with transaction.atomic():
            for number in range(10):
                Industry.objects.create(name=str(number))
            Industry.objects.filter(name="1").delete()
            assert cache_stats().invalidations == 0
        assert cache_stats().invalidations == 1

    def test_a_rollback_leaves_nothing_behind(self) -> None:
        names()
        with suppress(ZeroDivisionError), transaction.atomic():
            Industry.objects.create(name="undone")
            raise ZeroDivisionError
        gc.collect()
        assert names() == []
        assert queries_of_names() == 0
        assert not state_of(connection).has_written()

    def test_a_quiet_table_is_cached_inside_a_transaction(self) -> None:
        names()
        caches["default"].delete_many([key for key in _keys() if key.startswith("qb:e:")])
        time.sleep(0.1)
        with transaction.atomic():
            assert queries_of_names() == 1
            assert queries_of_names() == 0

    def test_a_table_just_written_is_not(self) -> None:
        Industry.objects.create(name="new")
        with transaction.atomic():
            assert queries_of_names() == 1
            assert queries_of_names() == 1
        assert cache_stats().not_stored == {"the snapshot may be older than a write": 2}

    def test_a_callback_of_the_hosts_that_runs_first_sees_the_write(self) -> None:
        seen: list[list[str]] = []
        with transaction.atomic():
            transaction.on_commit(lambda: seen.append(names()))
            Industry.objects.create(name="new")
        assert seen == [["new"]]

    def test_a_callback_that_raises_takes_nothing_along(self) -> None:
        names()

        def fail() -> None:
            raise ZeroDivisionError

        with suppress(ZeroDivisionError), transaction.atomic():
            transaction.on_commit(fail)
            Industry.objects.create(name="committed")
        assert names() == ["committed"]

    def test_a_raw_begin_is_a_transaction_out_of_sight(self) -> None:
        names()
        with connection.cursor() as cursor:
            cursor.execute("BEGIN")
            assert mode_of(connection) is Mode.MANUAL
            cursor.execute("INSERT INTO jobs_industry (name) VALUES ('raw')")
            assert names() == ["raw"]
            cursor.execute("COMMIT")
        assert mode_of(connection) is Mode.AUTOCOMMIT
        assert names() == ["raw"]
        assert queries_of_names() == 0


@pytest.mark.django_db(transaction=True)
def test_the_mode_of_a_connection_out_of_autocommit() -> None:
    transaction.set_autocommit(False)
    try:
        assert mode_of(connection) is Mode.MANUAL  # before any statement
        with transaction.atomic():
            assert mode_of(connection) is Mode.MANUAL  # its end commits nothing
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)
    assert mode_of(connection) is Mode.AUTOCOMMIT
    with transaction.atomic():
        assert mode_of(connection) is Mode.ATOMIC


@pytest.mark.parametrize(("autocommit", "mode"), [(True, Mode.AUTOCOMMIT), (False, Mode.MANUAL)])
def test_the_mode_of_a_connection_that_is_not_open(autocommit: bool, mode: Mode) -> None:
    unopened = connections["default"].copy()
    unopened.settings_dict["AUTOCOMMIT"] = autocommit
    assert mode_of(unopened) is mode
    assert unopened.connection is None


BEGINNINGS = ["BEGIN;", "/* by */ BEGIN", "-- by\nSTART TRANSACTION", "SET autocommit = 0"]


@pytest.mark.django_db(transaction=True, databases=["mariadb"])
@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_however_a_raw_transaction_begins_where_the_driver_does_not_tell(beginning: str) -> None:
    caches["default"].clear()
    used = connections["mariadb"]
    Industry.objects.using("mariadb").create(name="before")
    with used.cursor() as cursor:
        cursor.execute(beginning)
        assert mode_of(used) is Mode.MANUAL
        Industry.objects.using("mariadb").update(name="undone")
        list(cached_queryset(Industry.objects.using("mariadb")))
        cursor.execute("ROLLBACK")
    names = [each.name for each in cached_queryset(Industry.objects.using("mariadb"))]
    used.close()
    assert names == ["before"]


def test_a_replica_may_be_behind() -> None:
    state, now = State(), time.time()
    token = new_token()
    assert state.may_store([token], Mode.AUTOCOMMIT, now + 1, 0)
    assert not state.may_store([token], Mode.AUTOCOMMIT, now + 1, lag=5)
    assert state.may_store([token], Mode.AUTOCOMMIT, now + 10, lag=5)


def _keys() -> list[str]:
    cache: Any = caches["default"]
    return [key.rpartition(":1:")[2] for key in cache._cache]
