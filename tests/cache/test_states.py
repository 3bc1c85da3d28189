"""What is known of one connection, step by step: each rule of ``cache.transactions.State``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.cache import caches
from django.db import connection, connections, transaction

from django_querybudget.cache import cache_stats, transactions
from django_querybudget.cache.stores.chosen import store_for
from django_querybudget.cache.tokens import readable
from django_querybudget.cache.transactions import Mode, State, mode_of, on_commit

pytestmark = [pytest.mark.once, pytest.mark.django_db(transaction=True)]

TAG, OTHER = "d:t:states", "d:t:other"


@pytest.fixture
def state() -> Iterator[State]:
    caches["default"].clear()
    cache_stats(reset=True)
    on_commit.dropped.clear()
    yield State()
    on_commit.dropped.clear()


def settle(state: State) -> None:
    state.settle(connection, mode_of(connection))


def write(state: State, *tags: str) -> Any:
    return state.writing(connection, mode_of(connection), tags or (TAG,))


def token() -> str:
    """Return what stands under the tag, which may be a token with marks, or nothing."""
    answer = store_for("default").read(None, [TAG])
    assert answer is not None
    return answer[1].get(TAG, "")


# Raw transactions, where the driver tells of none


@pytest.mark.parametrize(
    ("statements", "began"),
    [
        (["BEGIN"], True),
        (["START TRANSACTION"], True),
        (["BEGIN", "SAVEPOINT a"], True),
        (["BEGIN", "SAVEPOINT a", "RELEASE SAVEPOINT a"], True),
        (["BEGIN", "SAVEPOINT a", "ROLLBACK TO SAVEPOINT a"], True),
        (["BEGIN", "SET TRANSACTION ISOLATION LEVEL READ COMMITTED"], True),
        (["BEGIN", "SELECT 1", "UPDATE t SET a = 1"], True),
        (["BEGIN", "COMMIT"], False),
        (["BEGIN", "ROLLBACK"], False),
        (["BEGIN", "SAVEPOINT a", "COMMIT"], False),
        (["SAVEPOINT a"], False),
        (["RELEASE SAVEPOINT a"], False),
        (["SET TRANSACTION ISOLATION LEVEL READ COMMITTED"], False),
        (["SELECT 1"], False),
        (["COMMIT"], False),
        # That it rolls back to a savepoint says that a transaction is open.
        (["ROLLBACK TO SAVEPOINT a"], True),
    ],
)
def test_a_raw_transaction_is_known_by_its_words(
    state: State, statements: list[str], began: bool
) -> None:
    for sql in statements:
        state.note(sql)
    assert state.began is began
    state.note(object())  # a driver's own type, which says nothing here
    assert state.began is began


class Silent:
    """A connection whose driver tells little, as those of MySQL do."""

    vendor = "mysql"

    def __init__(self, **driver: Any) -> None:
        self.connection = SimpleNamespace(**driver)
        self.autocommit = True
        self.in_atomic_block = False


@pytest.mark.parametrize(
    ("driver", "began", "mode"),
    [
        ({}, False, Mode.AUTOCOMMIT),
        ({}, True, Mode.MANUAL),
        ({"get_autocommit": lambda: True}, False, Mode.AUTOCOMMIT),
        ({"get_autocommit": lambda: False}, False, Mode.MANUAL),
        ({"get_autocommit": lambda: True}, True, Mode.MANUAL),
    ],
)
def test_what_the_drivers_of_mysql_tell(driver: dict[str, Any], began: bool, mode: Mode) -> None:
    silent: Any = Silent(**driver)
    transactions.state_of(silent).began = began
    assert mode_of(silent) is mode


@pytest.mark.parametrize(
    ("status", "mode"),
    [
        (0, Mode.AUTOCOMMIT),  # idle
        (1, Mode.MANUAL),  # active
        (2, Mode.MANUAL),  # in a transaction
        (3, Mode.MANUAL),  # in one that failed
        (4, Mode.AUTOCOMMIT),  # the connection is lost
    ],
)
@pytest.mark.parametrize("where", ["pgconn", "info"])  # psycopg 3, psycopg2
def test_what_the_drivers_of_postgresql_tell(where: str, status: int, mode: Mode) -> None:
    telling: Any = Silent(**{where: SimpleNamespace(transaction_status=status)})
    telling.vendor = "postgresql"
    assert mode_of(telling) is mode
    telling.connection = SimpleNamespace()
    assert mode_of(telling) is Mode.AUTOCOMMIT


# Whether there is anything to settle


def test_a_connection_that_did_nothing_has_met_whatever_is_read(state: State) -> None:
    assert not state.is_watched
    assert state.has_met(connection)
    with transaction.atomic():
        assert not state.has_met(connection)  # the transaction's time is to be noted
        settle(state)
        assert state.has_met(connection)
        with transaction.atomic():
            assert state.has_met(connection)  # it has no snapshot of its own
    assert state.has_met(connection)
    with transaction.atomic():
        assert not state.has_met(connection)  # another one


def test_the_same_block_that_begins_again_is_another_transaction(state: State) -> None:
    block = transaction.atomic()
    with block:
        settle(state)
    assert state.has_met(connection)  # outside of it: forgets the block
    with block:
        assert not state.has_met(connection)
        settle(state)
    settle(state)
    with block:
        assert not state.has_met(connection)


def test_what_is_to_be_settled(state: State) -> None:
    with transaction.atomic():
        settle(state)
        assert state.has_met(connection)
        assert write(state) is None
        assert state.is_watched
        assert not state.has_met(connection)
        assert state.has_written()
        assert state.is_to_renew(TAG)
        assert not state.is_to_renew(OTHER)
    settle(state)
    assert not state.is_watched
    assert not state.has_written()
    assert not state.is_to_renew(TAG)


def test_a_manual_transaction_is_to_be_settled(state: State) -> None:
    state.writing(connection, Mode.MANUAL, [TAG])
    assert state.is_watched
    assert not state.has_written()  # who reads sees to it by the mode
    marked = token()
    state.settle(connection, Mode.MANUAL)  # it is not over
    assert state.is_watched
    assert token() == marked
    assert not readable(marked)
    assert cache_stats().invalidations == 0
    state.settle(connection, Mode.AUTOCOMMIT)
    assert not state.is_watched
    assert cache_stats().invalidations == 1
    assert readable(token())


@pytest.mark.parametrize(("share", "marks"), [(0.3, 1), (0.4, 2)])
def test_the_marks_of_a_long_manual_transaction_are_put_again(
    state: State, settings: Any, share: float, marks: int
) -> None:
    settings.QUERYBUDGET = {"CACHE": {"MARK_TIMEOUT": 60, "IN_FLIGHT_MARKS": False}}
    state.writing(connection, Mode.MANUAL, [TAG])  # marked all the same: nothing else tells
    assert state._manual is not None
    state._manual.marked_at -= share * 60
    state.settle(connection, Mode.MANUAL)
    assert cache_stats().marks == marks


def test_what_a_dropped_callback_left_is_to_be_settled(state: State) -> None:
    pending = write(State(), TAG)
    assert pending is not None
    on_commit.dropped.append(on_commit.Dropped(pending, lambda: None))  # type: ignore[arg-type]
    assert state.is_watched
    settle(state)
    assert pending.done
    assert not state.is_watched


# The callback that renews at the commit


def test_a_commit_renews_before_other_callbacks_and_whatever_they_raise(state: State) -> None:
    seen: list[str] = []
    with transaction.atomic():
        write(state)
        transaction.on_commit(lambda: seen.append(token()))
        assert not readable(token())
    assert readable(seen[0])
    assert cache_stats().invalidations == 1


def test_a_renewal_that_raises_does_not_stop_the_hosts_callbacks(
    state: State, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[int] = []
    with transaction.atomic():
        write(state)
        transaction.on_commit(lambda: seen.append(1))
        assert state._pending is not None
        monkeypatch.setattr(state._pending, "renew", lambda: 1 / 0)
    assert seen == [1]
    assert "ZeroDivisionError" in caplog.text
    monkeypatch.undo()


def hold(state: State) -> Any:
    """Write, and return the callback, so that it stays whatever becomes of its place."""
    write(state)
    assert state._pending is not None
    assert state._pending.callback is not None
    return state._pending.callback()


def test_a_callback_is_found_where_others_before_it_are_gone(state: State) -> None:
    with transaction.atomic():
        transaction.on_commit(lambda: None)
        callback = hold(state)
        del connection.run_on_commit[0]
        assert state._is_waiting(connection, state._pending)  # type: ignore[arg-type]
        assert state._place == 0
        settle(state)
        assert cache_stats().invalidations == 0
        assert connection.run_on_commit[0][1] is callback


@pytest.mark.parametrize(
    "taken",
    [
        lambda waiting: waiting.clear(),
        lambda waiting: waiting.__setitem__(0, (set(), lambda: None, True)),
    ],
    ids=["cleared", "another in its place"],
)
def test_a_callback_that_is_gone_from_an_open_transaction(
    state: State, taken: Callable[[Any], None]
) -> None:
    """It is renewed what may be committed, and another callback waits."""
    with transaction.atomic():
        callback = hold(state)
        before = token()
        taken(connection.run_on_commit)
        assert not state._is_waiting(connection, state._pending)  # type: ignore[arg-type]
        settle(state)
        assert cache_stats().invalidations == 1
        assert token().partition("|")[0] != before.partition("|")[0]
        assert not readable(token())  # the mark stays
        assert state.has_written()
        assert connection.run_on_commit[-1][1] is not callback
        assert state._is_waiting(connection, state._pending)  # type: ignore[arg-type]
        settle(state)
        assert cache_stats().invalidations == 1
    assert cache_stats().invalidations == 2
    assert readable(token())


def test_a_callback_that_nobody_holds_is_not_waiting(state: State) -> None:
    with transaction.atomic():
        write(state)
        connection.run_on_commit.clear()
        assert not state._is_waiting(connection, state._pending)  # type: ignore[arg-type]
        on_commit.dropped.clear()  # what was noted of it does not matter here
        settle(state)
        assert len(connection.run_on_commit) == 1


def test_a_transaction_that_is_over_without_its_callback_is_renewed(state: State) -> None:
    with transaction.atomic():
        callback = hold(state)
        connection.run_on_commit.clear()
    assert cache_stats().invalidations == 0
    settle(state)
    assert cache_stats().invalidations == 1
    assert not state.is_watched
    assert readable(token())
    del callback


def test_in_the_next_transaction_the_one_before_is_renewed_and_done(state: State) -> None:
    with transaction.atomic():
        callback = hold(state)
        first = state._pending
        assert first is not None
        connection.run_on_commit.clear()
    with transaction.atomic():
        settle(state)
        assert first.done
        assert not state.has_written()
        assert connection.run_on_commit == []
    del callback


def test_in_a_callback_of_the_commit_itself_nothing_is_put_to_wait(state: State) -> None:
    """What the transaction wrote is renewed; a statement of the callback's is one of its own."""
    seen: list[Any] = []

    def task() -> None:
        settle(state)
        seen.append((state.is_watched, mode_of(connection), list(connection.run_on_commit)))

    with transaction.atomic():
        write(state)
        transaction.on_commit(task)
    assert seen == [(False, Mode.AUTOCOMMIT, [])]


# What may be stored


@pytest.mark.parametrize(
    ("age", "mode", "lag", "expected"),
    [
        (0.0, Mode.AUTOCOMMIT, 0.0, True),
        (0.0, Mode.AUTOCOMMIT, 5.0, False),
        (6.9, Mode.AUTOCOMMIT, 5.0, False),  # the lag, and the skew of clocks
        (7.1, Mode.AUTOCOMMIT, 5.0, True),
        (1.9, Mode.ATOMIC, 0.0, False),
        (2.1, Mode.ATOMIC, 0.0, True),
        (6.9, Mode.ATOMIC, 5.0, False),
        (7.1, Mode.ATOMIC, 5.0, True),
        (2.1, Mode.MANUAL, 0.0, True),
        (1.9, Mode.MANUAL, 0.0, False),
    ],
)
def test_a_token_has_to_be_older_than_what_was_read(
    state: State, settings: Any, age: float, mode: Mode, lag: float, expected: bool
) -> None:
    settings.QUERYBUDGET = {"CACHE": {"CLOCK_SKEW": 2.0}}
    began = 1_700_000_000.0
    made, old = (f"{int(1000 * (began - each))}-a" for each in (age, 3600))
    state._started = began + 100
    assert state.may_store([made], mode, began, lag) is expected
    assert state.may_store([old, made], mode, began, lag) is expected
    assert state.may_store([made, old], mode, began, lag) is expected
    if mode is not Mode.AUTOCOMMIT:
        # A snapshot may be of the transaction's first statement.
        state._started = began
        assert state.may_store([made], mode, began + 100, lag) is expected


def test_a_transactions_time_is_that_of_its_first_statement(state: State) -> None:
    before = time.time()
    with transaction.atomic():
        settle(state)
        first = state._started
        assert before <= first <= time.time()
        time.sleep(0.002)
        settle(state)
        with transaction.atomic():
            settle(state)
        assert state._started == first
    time.sleep(0.002)
    with transaction.atomic():
        settle(state)
        assert state._started > first


def test_out_of_djangos_sight_each_statement_may_begin_a_transaction(state: State) -> None:
    state.settle(connection, Mode.MANUAL)
    first = state._started
    time.sleep(0.002)
    state.settle(connection, Mode.MANUAL)
    assert state._started > first


# What is done with a write


def test_a_statement_outside_of_a_transaction_is_renewed_by_who_runs_it(state: State) -> None:
    pending = write(state)
    assert pending.tags == {TAG}
    assert not readable(token())
    assert not state.is_watched
    assert cache_stats().invalidations == 0
    pending.renew()
    assert readable(token())


def test_a_transaction_has_one_writer(state: State) -> None:
    with transaction.atomic():
        write(state)
        first = state._pending
        with transaction.atomic():
            write(state, OTHER)
        assert state._pending is first
        assert len(connection.run_on_commit) == 1
        assert state.is_to_renew(TAG)
        assert state.is_to_renew(OTHER)
    assert cache_stats().invalidations == 1


def test_a_manual_transaction_has_one_writer(state: State) -> None:
    for tag in (TAG, OTHER):
        state.writing(connection, Mode.MANUAL, [tag])
    state.settle(connection, Mode.AUTOCOMMIT)
    assert cache_stats().invalidations == 1
    assert readable(token())


def test_a_connection_has_one_state() -> None:
    assert transactions.state_of(connection) is transactions.state_of(connection)
    assert transactions.state_of(connection) is not transactions.state_of(connections["other"])


class TestInATestCase:
    def test_a_write_is_seen_by_nobody_until_the_innermost_test_is_over(self, state: State) -> None:
        outer, inner = transaction.atomic(), transaction.atomic()
        outer._from_testcase = inner._from_testcase = True  # type: ignore[attr-defined]
        with outer:
            assert mode_of(connection) is Mode.TEST
            with inner:
                with transaction.atomic():
                    assert write(state) is None
                    assert state.is_watched
                    assert state.has_written()
                settle(state)
                assert state.has_written()
                transaction.set_rollback(True)
            settle(state)
            assert not state.has_written()
            assert not state.is_watched
        assert cache_stats().marks == 0
        assert cache_stats().invalidations == 0
