"""The rules of a store, one by one, on a real Redis: when it is late, trusts, owes and tells."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis as redis_py
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from django_querybudget.cache import cache_stats, tags
from django_querybudget.cache.stores import chosen, resilience
from django_querybudget.cache.stores.access import Lease
from django_querybudget.cache.stores.pulse import EVERY, PULSE, Beat
from django_querybudget.cache.stores.redis import RedisStore
from django_querybudget.cache.stores.resilience import IDLE, KEEPER_RETRY
from django_querybudget.cache.stores.tag_keys import tag_key
from django_querybudget.cache.stores.trust import RETRY

pytestmark = pytest.mark.once

TABLE, OTHER = "x:t:a", "x:t:b"


@pytest.fixture
def client(redis_url: str) -> Iterator[redis_py.Redis]:
    with redis_py.Redis.from_url(redis_url) as client:
        client.flushdb()
        yield client


@pytest.fixture
def tested(client: redis_py.Redis, settings: Any, monkeypatch: pytest.MonkeyPatch) -> RedisStore:
    settings.QUERYBUDGET = {"CACHE": {"ALIAS": "redis", "RECOVERY_TIME": 0, "CLOCK_SKEW": 1}}
    monkeypatch.setattr(chosen, "_stores", {})
    cache_stats(reset=True)
    store = RedisStore("redis")
    started: list[None] = []  # each round is the test's
    monkeypatch.setattr(store._keeper, "start", lambda: started.append(None))
    monkeypatch.setattr(store, "started", started, raising=False)
    return store


@pytest.fixture
def looked(tested: RedisStore, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each time the pulse was refreshed, whether the server was looked at."""
    beat, looked = tested._beat, []

    def noting(*, look: bool) -> str:
        looked.append(look)
        return beat(look=look)

    monkeypatch.setattr(tested, "_beat", noting)
    return looked


@pytest.fixture
def asked(tested: RedisStore, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What was asked for at each read."""
    read, asked = tested._read, []

    def noting(key: Any, wanted: Any) -> Any:
        asked.append(tuple(wanted))
        return read(key, wanted)

    monkeypatch.setattr(tested, "_read", noting)
    return asked


def test_while_the_server_evicts_a_young_token_may_have_lost_its_mark(tested: RedisStore) -> None:
    now = time.time()
    young, old = (f"{int(1000 * (now - age))}-a" for age in (2.5, 3.5))  # a rest of 2 s, and a skew
    assert not tested.may_be_marked([young])
    tested._evicts()
    assert tested.is_evicting()
    assert tested.may_be_marked([young])
    assert tested.may_be_marked([old, young])
    assert not tested.may_be_marked([old])
    tested._evicting_until = time.monotonic() - 1
    assert not tested.may_be_marked([young])


def test_the_pulse_is_late_after_two_rounds(tested: RedisStore) -> None:
    assert tested._is_late()
    tested._beat_at = time.monotonic() - 2 * EVERY + 0.3
    assert not tested._is_late()
    tested._beat_at = time.monotonic() - 2 * EVERY - 0.01
    assert tested._is_late()


def test_a_read_brings_the_pulse_only_with_tags(tested: RedisStore) -> None:
    answer = tested.read(None, [TABLE])
    assert answer is not None
    assert answer[1].keys() == {PULSE}
    assert tested.write("qb:e:1", b"entry", 60)
    assert tested.read("qb:e:1", []) == (b"entry", {})


def test_a_pulse_that_rests_is_not_trusted(tested: RedisStore, settings: Any) -> None:
    settings.QUERYBUDGET = {"CACHE": {"ALIAS": "redis", "RECOVERY_TIME": 60}}
    assert tested.read(None, [TABLE]) == (None, {})
    assert tested.tend() == KEEPER_RETRY


def test_what_was_read_before_a_new_pulse_came_is_read_again(
    tested: RedisStore, client: redis_py.Redis, asked: list[Any]
) -> None:
    tested.read(None, [TABLE])
    asked.clear()
    client.delete(tag_key(PULSE))
    tested._missed_at = float("-inf")
    answer = tested.read(None, [TABLE])
    assert asked == [(TABLE, PULSE)] * 2
    assert answer is not None
    assert PULSE in answer[1]
    tested.read(None, [TABLE])
    assert len(asked) == 3


def test_tokens_over_a_new_connection_may_be_another_servers(
    tested: RedisStore, client: redis_py.Redis, looked: list[bool]
) -> None:
    before = tested.tokens([TABLE])
    assert before is not None
    assert before.keys() == {TABLE}
    assert looked == [True]
    assert tested.tokens([TABLE]) == before
    assert looked == [True]
    client.client_kill_filter(_type="normal", skipme=True)
    assert tested.tokens([TABLE]) == before
    assert looked == [True, True]


def test_what_was_read_under_a_pulse_that_rested_is_read_again(
    tested: RedisStore, client: redis_py.Redis, asked: list[Any]
) -> None:
    client.set(tag_key(PULSE), "|1 0 0 ? 0")  # until long ago
    answer = tested.read(None, [TABLE])
    assert len(asked) == 2
    assert answer is not None
    assert answer[1][PULSE]


def test_the_pulse_is_refreshed_when_it_is_late_or_the_connection_is_another(
    tested: RedisStore, client: redis_py.Redis, looked: list[bool], asked: list[Any]
) -> None:
    tested.read(None, [TABLE])
    assert looked == [True]  # of the first connection
    tested.read(None, [TABLE])
    assert looked == [True]
    tested._beat_at -= 3 * EVERY
    asked.clear()
    assert tested.read(None, [TABLE]) is not None
    assert looked == [True, False]
    assert len(asked) == 1  # it is the same
    client.client_kill_filter(_type="normal", skipme=True)
    assert tested.read(None, [TABLE]) is not None
    assert looked == [True, False, True]
    assert tested._beaten(look=False) is not None
    assert tested._beaten(look=False) is not None  # none was missed
    assert tested.tend() == EVERY
    assert looked == [True, False, True, False, False, False]


def test_a_pulse_that_rests_is_refreshed_once_in_a_while(
    tested: RedisStore, settings: Any, looked: list[bool], asked: list[Any]
) -> None:
    settings.QUERYBUDGET = {"CACHE": {"ALIAS": "redis", "RECOVERY_TIME": 60}}
    assert tested.read(None, [TABLE]) == (None, {})
    assert (looked, len(asked)) == ([True], 1)
    assert tested._beaten(look=False) is None
    assert looked == [True]
    tested._missed_at -= 1.01 * RETRY
    beat = tested._beaten(look=False)
    assert beat is not None
    assert beat.token == ""
    assert looked == [True, False]
    tested._missed_at -= 1.01 * RETRY
    assert tested.tend() == KEEPER_RETRY
    assert looked == [True, False, False]


def test_a_thread_refreshes_the_pulse_only_where_it_may(tested: Any) -> None:
    tested.read(None, [TABLE])
    assert len(tested.started) == 1
    tested.keeps_beating = False
    tested._beaten(look=True)
    assert len(tested.started) == 1


def test_a_round_of_the_keeper(tested: RedisStore) -> None:
    tested.keeps_beating = True
    assert tested.tend() is None  # nobody has used it
    tested._used_at = time.monotonic()
    assert tested.tend() == EVERY
    assert not tested._is_late()
    tested._used_at = time.monotonic() - IDLE - 1
    assert tested.tend() is None
    tested._used_at = time.monotonic()
    tested.keeps_beating = False
    assert tested.tend() is None
    tested.alias = "taken out of CACHES"
    assert tested.tend() is None


def test_a_round_does_what_else_is_to_be_done(
    tested: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    monkeypatch.setattr(resilience, "chores", [done.append])
    tested.keeps_beating = True
    tested.tend()  # nobody has used it
    assert done == []
    tested._used_at = time.monotonic()
    tested.tend()
    assert done == ["redis"]


def test_a_round_puts_what_is_owed(tested: RedisStore) -> None:
    before = tested._ensure([TABLE, OTHER])
    tested._debts.owe("w", [TABLE], list)
    flight = tested._debts.takes_off("v", [OTHER], 60.0)
    flight.is_unmarked = True
    assert tested.distrusted
    tested._outage.failed(time.monotonic(), unreachable=True)
    assert tested.tend() == 0.0
    assert not tested.distrusted
    assert not flight.is_unmarked
    assert not tested._debts.owed
    after = tested._read(None, [TABLE, OTHER])[1]
    assert after[TABLE] != before[TABLE]
    assert "|v@" in after[OTHER]
    assert tested._heard(tested._pulse[0]) is not None  # the pulse is there again
    assert not tested._is_late()


def test_a_mark_that_may_be_evicted_is_put_again(
    tested: RedisStore, client: redis_py.Redis
) -> None:
    tested.keeps_beating = True
    assert tested.mark([TABLE], "w", 60)
    client.delete(tag_key(TABLE))
    assert tested.tend() == EVERY
    assert not client.exists(tag_key(TABLE))  # nothing is evicted: it is not looked for
    tested._evicts()
    assert tested.tend() == EVERY
    assert "|w@" in tested._read(None, [TABLE])[1][TABLE]
    client.delete(tag_key(TABLE))
    tested._debts.flights["w"].marked_at -= 61  # over: its writer was never heard of again
    tested.tend()
    assert not client.exists(tag_key(TABLE))


def test_a_writer_that_ended_while_its_mark_was_put_is_owed_a_renewal(tested: RedisStore) -> None:
    flight = tested._debts.takes_off("w", [TABLE], 60.0)
    flight.is_unmarked = True
    mark = tested._mark

    def ends_meanwhile(*what: Any) -> None:
        mark(*what)
        tested._debts.flights.pop("w")

    tested._mark = ends_meanwhile  # type: ignore[method-assign]
    tested._put_marks(every=False)
    assert tested._debts.owed == {"w": frozenset({TABLE})}


def test_a_failure_is_counted_and_told_once_a_minute(
    tested: RedisStore, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="django_querybudget"):
        tested._failed(RedisConnectionError("away"), time.monotonic())
        assert tested._outage.is_unreachable
        tested._failed(ResponseError("OOM"), time.monotonic())
        assert not tested._outage.is_unreachable
        assert len(caplog.records) == 1
        tested._logged["failed"] -= 61
        tested._failed(ResponseError("OOM"), time.monotonic())
        assert len(caplog.records) == 2
        tested._log("another", "Another %s.", "thing")
        assert len(caplog.records) == 3
    assert cache_stats().errors == 3
    assert tested.distrusted


def test_while_it_is_known_that_nobody_trusts_no_change_waits(tested: RedisStore) -> None:
    tested._outage.failed(time.monotonic(), unreachable=True)
    tested._outage.is_settled = True
    asked: list[Any] = []
    assert tested._change(asked.append, 1) is False
    assert asked == []
    tested._outage.failed_at = time.monotonic() - 2 * KEEPER_RETRY - 0.1
    assert tested._change(asked.append, 1) is True
    assert asked == [1]
    assert cache_stats().waits == 0


def test_an_eviction_is_heard_of_with_the_pulse(tested: RedisStore) -> None:
    assert tested._heard("1-a 7 123 abc 0") == Beat("1-a", 0, "7", False)
    assert not tested.is_evicting()
    assert tested._heard("1-a 7 123 abc 1") == Beat("1-a", 0, "7", True)
    assert tested.is_evicting()
    tested._evicting_until = float("-inf")
    tested._heard("1-a 7 123 abc 1")  # the same again
    assert tested.is_evicting()
    assert tested._heard("what somebody else has put there") is None


@pytest.mark.parametrize("evicts", [False, True])
def test_a_renewal_is_heard_while_the_server_evicts(tested: RedisStore, evicts: bool) -> None:
    """Its mark may be gone, which would cover it."""
    seen: list[bool] = []
    renew = tested._renew

    def noting(wanted: Any, writer: str, marked: bool = False) -> None:
        seen.append(marked)
        renew(wanted, writer, marked)

    tested._renew = noting  # type: ignore[method-assign]
    assert tested.mark([TABLE], "w", 60)
    if evicts:
        tested._evicts()
    assert tested.renew([TABLE], "w", marked=True)
    assert tested.renew([TABLE], "w", marked=False)
    assert seen == [not evicts, False]


def test_an_answer_ends_that_the_server_cannot_be_reached(tested: RedisStore) -> None:
    tested._outage.failed(time.monotonic() - 10, unreachable=True)
    tested._outage.failed_at = time.monotonic() - 10
    assert tested.read(None, [TABLE]) is not None
    assert not tested._outage.is_unreachable
    assert tested.distrusted  # it has taken no change


def test_what_is_marked_or_ensured_stands(tested: RedisStore) -> None:
    values = tested.ensure([TABLE])
    assert tested._read(None, [TABLE])[1] == values
    assert tested.mark([TABLE], "w", 60)
    assert "|w@" in tested._read(None, [TABLE])[1][TABLE]


def test_the_key_of_a_tag() -> None:
    long = "x:t:" + "a" * 146
    assert tag_key(PULSE) == "qb:pulse"
    assert tag_key(TABLE) == "qb:t:x:t:a"
    assert tag_key(long) == f"qb:t:{long}"
    for each in (f"{long}a", "x:t:a b", "x:t:\u00e9"):
        assert tag_key(each) == f"qb:h:{tags.digest(each)}"


def test_an_entry_larger_than_allowed_is_not_stored(tested: RedisStore, settings: Any) -> None:
    settings.QUERYBUDGET = {"CACHE": {"ALIAS": "redis", "MAX_BYTES": 100}}
    assert tested.write("qb:e:1", b"x" * 100, 60) is True
    assert tested.write("qb:e:1", b"x" * 101, 60) is False
    assert cache_stats().not_stored == {"larger than MAX_BYTES": 1}
    settings.QUERYBUDGET = {"CACHE": {"ALIAS": "redis", "MAX_BYTES": 0}}
    assert tested.write("qb:e:1", b"x" * 101, 60) is True
    assert not tested.distrusted


def test_a_lease_is_one_processs_until_it_is_over_or_given_back(
    tested: RedisStore, client: redis_py.Redis
) -> None:
    assert tested.take("lease", "a", 60) is Lease.TAKEN
    assert tested.take("lease", "b", 60) is Lease.HELD
    assert 30_000 < client.pttl(tested.cache.make_key("lease")) <= 60_000
    tested.drop("lease", "b")
    assert tested.take("lease", "b", 60) is Lease.HELD
    tested.drop("lease", "a")
    assert tested.take("lease", "b", 600) is Lease.TAKEN_AFTER_ANOTHER
    assert 300_000 < client.pttl(tested.cache.make_key("lease")) <= 600_000


def test_an_entry_and_the_end_of_its_lease_arrive_together(tested: RedisStore) -> None:
    tested.take("lease", "a", 60)
    assert tested.write("qb:e:1", b"entry", 60, ("lease", "a"))
    assert tested.take("lease", "b", 60) is Lease.TAKEN_AFTER_ANOTHER
    assert tested.read("qb:e:1", ()) == (b"entry", {})


def test_many_entries_are_read_with_tags_or_without(tested: RedisStore) -> None:
    tested.write("qb:e:1", b"one", 60)
    tested.write("qb:e:2", b"two", 60)
    keys = ["qb:e:2", "qb:e:none", "qb:e:1"]
    assert tested.read_many(keys, ()) == ([b"two", None, b"one"], {})
    values = tested.ensure([TABLE])
    found = tested.read_many(keys, [TABLE])
    assert found is not None
    assert found[0] == [b"two", None, b"one"]
    assert found[1].keys() == {TABLE, PULSE}
    assert found[1][TABLE] == values[TABLE]


def test_what_a_row_depends_on_is_forgotten_in_a_day(
    tested: RedisStore, client: redis_py.Redis
) -> None:
    tested.ensure(["x:r:a:1", TABLE])
    assert 0 <= 24 * 3600 - client.ttl(tag_key("x:r:a:1")) < 60
    assert client.ttl(tag_key(TABLE)) == -1
