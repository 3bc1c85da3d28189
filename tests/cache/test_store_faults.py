"""A store whose server refuses, cannot be reached, or comes back, step by step.

The server is a real Redis of the test's own, and so are its faults. The store's clock is the
test's, so that a wait of seconds takes none, and how long it is can be counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest
import redis as redis_py
from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache
from django.core.exceptions import ImproperlyConfigured
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError
from redis.retry import Retry

from django_querybudget.cache import cache_stats, tags
from django_querybudget.cache.stores import chosen, debts, keeper, resilience, store, trust
from django_querybudget.cache.stores.access import CacheRefused, Lease, client_class, is_busy
from django_querybudget.cache.stores.backends import BackendStore, ProcessStore
from django_querybudget.cache.stores.debts import MANY
from django_querybudget.cache.stores.pulse import ALWAYS, LIFE, MARGIN, PULSE
from django_querybudget.cache.stores.redis import RedisStore
from django_querybudget.cache.stores.resilience import KEEPER_RETRY, PAUSE
from django_querybudget.cache.stores.tag_keys import tag_key
from django_querybudget.cache.stores.trust import RETRY
from django_querybudget.cache.tokens import is_token
from tests.cache.own_redis import OwnRedis

pytestmark = pytest.mark.once

TABLE, OTHER = "x:t:a", "x:t:b"


class Clock:
    """Stands for ``time``: it moves by what is slept, and says what never ends."""

    def __init__(self) -> None:
        self.now, self.slept, self.asked = 1000.0, 0.0, 0
        self.on_sleep: Callable[[], object] = lambda: None
        self.time = time.time

    def monotonic(self) -> float:
        self.asked += 1
        assert self.asked < 2000, "it never ends"
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += seconds
        assert self.slept < 60, "it waits for ever"
        self.on_sleep()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (store, resilience, trust, debts):
        monkeypatch.setattr(module, "time", clock)
    return clock


def watched(tested: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Have ``started`` say how often the keeper was asked for: each round is the test's."""
    tested.started = 0

    def start() -> None:
        tested.started += 1

    monkeypatch.setattr(tested._keeper, "start", start)
    return tested


@pytest.fixture
def tested(
    own_redis: OwnRedis, settings: Any, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> Any:
    own = {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": own_redis.server.url(),
        "OPTIONS": {"CONNECTION_POOL_KWARGS": {"retry": Retry(NoBackoff(), 0)}},
    }
    settings.CACHES = {**settings.CACHES, "own": own}
    settings.QUERYBUDGET = {"CACHE": {"ALIAS": "own", "RECOVERY_TIME": 0}}
    monkeypatch.setattr(chosen, "_stores", {})
    keeper._stop_all()  # that of a test before would go on refreshing this server's pulse
    tested = watched(RedisStore("own"), monkeypatch)
    assert tested.read(None, [TABLE]).values.keys() == {PULSE}
    tested.started = 0
    cache_stats(reset=True)
    return tested


@pytest.fixture
def admin(own_redis: OwnRedis) -> Iterator[redis_py.Redis]:
    """A user who may do anything, whatever others may not."""
    socket = own_redis.server.socket
    with redis_py.Redis(unix_socket_path=socket) as client:
        client.execute_command("ACL", "SETUSER", "admin", "on", ">x", "~*", "&*", "+@all")
    with redis_py.Redis(unix_socket_path=socket, username="admin", password="x") as admin:
        yield admin


def takes_no_more(admin: redis_py.Redis) -> None:
    """It is full: it refuses what writes, not what deletes."""
    admin.config_set("maxmemory-policy", "noeviction")
    admin.config_set("maxmemory", 1)


def takes_again(admin: redis_py.Redis) -> None:
    admin.config_set("maxmemory", 0)
    admin.execute_command("ACL", "SETUSER", "default", "+@all")


def only_reads(admin: redis_py.Redis) -> None:
    """It refuses what deletes, too."""
    admin.execute_command("ACL", "SETUSER", "default", "-@all", "+@read", "+client", "+select")


def owed(tested: Any) -> dict[str, set[str]]:
    return {writer: set(wanted) for writer, wanted in tested._debts.owed.items()}


def test_what_a_server_refuses_breaks_the_pulse_and_is_owed(
    tested: Any, admin: redis_py.Redis, clock: Clock
) -> None:
    before = tested.ensure([TABLE])
    takes_no_more(admin)
    assert tested.mark([TABLE], "w", 60) is False
    assert not admin.exists(tag_key(PULSE))  # so that nobody trusts what is there
    assert clock.slept == 0
    assert tested._debts.flights["w"].is_unmarked is True
    assert tested._outage.is_settled is True
    assert not tested._outage.is_unreachable
    assert tested.distrusted
    assert tested.started == 2  # at the failure, and for what is owed
    stats = cache_stats()
    assert (stats.marks, stats.errors, stats.waits, stats.unmarked) == (1, 1, 1, 0)
    # What is known need not be tried again.
    assert tested.mark([OTHER], "v", 60) is False
    assert tested.started == 3
    assert tested.renew([TABLE], "w") is False
    assert tested.started == 4
    assert "w" not in tested._debts.flights
    assert owed(tested) == {"w": {TABLE}}
    stats = cache_stats()
    assert (stats.invalidations, stats.errors, stats.waits) == (1, 1, 1)
    assert tested.read(None, [TABLE]) is None
    assert tested.started == 5
    assert cache_stats().errors == 1
    assert tested.tend() == KEEPER_RETRY
    assert owed(tested) == {"w": {TABLE}}
    assert tested._outage.is_trying is False
    takes_again(admin)
    assert tested.tend() == 0.0
    assert not tested.distrusted
    values = tested._read(None, [TABLE, OTHER])[1]
    assert values[TABLE] not in {"", before[TABLE]}
    assert "|v@" in values[OTHER]


def test_a_renewal_under_a_mark_that_is_refused_is_owed_at_once(
    tested: Any, admin: redis_py.Redis
) -> None:
    assert tested.mark([TABLE], "w", 60)
    assert tested.mark([OTHER], "v", 60)
    only_reads(admin)
    tested._wire._keeps_silent = False  # a server that answers: or nobody hears of the refusal
    assert tested.renew([TABLE], "w", marked=True) is False
    assert owed(tested) == {"w": {TABLE}}
    assert cache_stats().waits == 0
    assert admin.exists(tag_key(PULSE))
    takes_no_more(admin)
    admin.execute_command("ACL", "SETUSER", "default", "+@all")
    assert tested.renew([OTHER], "v") is False
    assert cache_stats().waits == 1
    assert owed(tested) == {"w": {TABLE}, "v": {OTHER}}


def test_after_a_refusal_reads_are_answered_and_writes_tried(
    tested: Any, admin: redis_py.Redis, clock: Clock
) -> None:
    tested._outage.failed(clock.now, unreachable=False)
    assert tested.read(None, [TABLE]).values.keys() == {PULSE}
    asked: list[Any] = []
    assert tested._change(asked.append, 1) is True
    assert asked == [1]


def test_what_is_known_of_a_server_is_not_forgotten_for_a_read(tested: Any, clock: Clock) -> None:
    """One that takes no change may answer reads for as long as it likes."""
    tested._outage.failed(clock.now, unreachable=False)
    tested._outage.is_settled = True
    clock.now += PAUSE + 0.1
    assert tested.read(None, [TABLE]) is not None
    assert tested._outage.is_settled


def test_a_writer_waits_until_nobody_can_trust_the_pulse(
    tested: Any, admin: redis_py.Redis, clock: Clock
) -> None:
    admin.persist(tag_key(PULSE))
    only_reads(admin)
    clock.on_sleep = lambda: clock.slept > 4.5 * RETRY and admin.delete(tag_key(PULSE))
    assert tested.mark([TABLE], "w", 60) is False
    assert clock.slept == pytest.approx(5 * RETRY)
    assert (cache_stats().waits, cache_stats().unmarked) == (1, 0)
    assert tested._outage.is_settled


def test_a_writer_that_waits_goes_on_as_soon_as_its_mark_stands(
    tested: Any, admin: redis_py.Redis, clock: Clock
) -> None:
    admin.persist(tag_key(PULSE))
    only_reads(admin)
    clock.on_sleep = lambda: clock.slept > 2.5 * RETRY and takes_again(admin)
    assert tested.mark([TABLE], "w", 60) is True
    assert clock.slept == pytest.approx(3 * RETRY)
    assert tested._debts.flights["w"].is_unmarked is False
    assert "|w@" in tested._read(None, [TABLE])[1][TABLE]
    assert (cache_stats().waits, cache_stats().unmarked) == (1, 0)


def test_a_writer_waits_no_longer_than_any_pulse_can_last(
    tested: Any, admin: redis_py.Redis, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    admin.persist(tag_key(PULSE))  # it seems to be refreshed by others
    only_reads(admin)
    assert tested.mark([TABLE], "w", 60) is False
    assert clock.slept == pytest.approx(2 * LIFE + MARGIN, abs=1.5 * RETRY)
    assert (cache_stats().waits, cache_stats().unmarked) == (1, 1)
    assert sum("others seem to use it" in record.message for record in caplog.records) == 1
    assert {record.name for record in caplog.records} == {"django_querybudget"}
    slept = clock.slept
    assert tested.mark([OTHER], "v", 60) is False
    assert clock.slept == slept


def test_a_server_that_is_away_is_waited_for_until_the_pulse_is_over(
    tested: Any, own_redis: OwnRedis, clock: Clock
) -> None:
    own_redis.cut()
    assert tested.mark([TABLE], "w", 60) is False
    assert clock.slept == pytest.approx(LIFE + MARGIN, abs=1.5 * RETRY)
    assert (cache_stats().waits, cache_stats().unmarked) == (1, 0)
    assert tested._outage.is_unreachable


def test_a_server_that_is_away_is_not_asked_by_every_read(
    tested: Any, own_redis: OwnRedis, clock: Clock
) -> None:
    tested.ensure([TABLE])
    own_redis.cut()
    assert tested.read(None, [TABLE]) is None
    assert (cache_stats().errors, tested.started) == (1, 1)
    assert tested.read(None, [TABLE]) is None
    assert (cache_stats().errors, tested.started) == (1, 2)
    clock.now += PAUSE + 0.01
    assert tested.read(None, [TABLE]) is None
    assert (cache_stats().errors, tested.started) == (2, 4)
    assert tested._outage.is_unreachable
    clock.now += PAUSE + 0.01
    assert [tested._is_away(), tested._is_away()] == [False, True]  # one tries, others need not
    assert tested.ensure([TABLE]) == {}
    assert tested.take("lease", "me", 1) is Lease.TAKEN  # nobody else answers either
    tested.drop("lease", "me")
    assert tested.write("qb:e:1", b"entry", 60) is False
    assert cache_stats().errors == 5  # an entry that is not stored is none
    own_redis.restore()
    clock.now += PAUSE + 0.01
    assert tested.read(None, [TABLE]).values.keys() == {TABLE, PULSE}
    assert not tested._outage.is_unreachable


def test_where_nothing_can_be_asked_nothing_is_known(
    tested: Any, admin: redis_py.Redis, clock: Clock
) -> None:
    admin.execute_command("ACL", "SETUSER", "default", "-@all")
    tested._outage.failed(clock.now, unreachable=False)
    assert tested._nobody_trusts() is False
    assert cache_stats().errors == 1
    assert not is_busy()


def test_a_round_that_is_refused_breaks_the_pulse_only_for_what_is_owed(
    tested: Any, admin: redis_py.Redis, clock: Clock
) -> None:
    """Of a server that takes some changes and not others."""
    takes_no_more(admin)
    tested._outage.failed(clock.now, unreachable=True)
    clock.now += 10
    tested._settle()
    assert tested._outage.is_fresh(1)
    assert not tested._outage.is_unreachable
    assert admin.exists(tag_key(PULSE))
    tested._debts.owe("w", [TABLE], list)
    tested._settle()
    assert owed(tested) == {"w": {TABLE}}
    assert not admin.exists(tag_key(PULSE))


def test_a_renewal_that_fails_ends_the_round(tested: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[bool] = []

    def refuses(*_: Any) -> None:
        tried.append(tested._outage.is_trying)
        if len(tried) == 1:
            raise ResponseError("refused")

    monkeypatch.setattr(tested, "_renew", refuses)
    tested._debts.owe("w", [TABLE], list)
    assert tested.tend() == KEEPER_RETRY
    assert tried == [True]
    assert owed(tested) == {"w": {TABLE}}
    assert not tested._outage.is_trying


def test_a_round_puts_the_marks_that_were_refused_and_no_others(
    tested: Any, admin: redis_py.Redis
) -> None:
    assert tested.mark([TABLE], "w", 60)
    admin.delete(tag_key(TABLE))
    tested._debts.takes_off("v", [OTHER], 60).is_unmarked = True
    assert tested.tend() == 0.0
    values = tested._read(None, [TABLE, OTHER])[1]
    assert values.keys() == {OTHER}
    assert "|v@" in values[OTHER]


def test_very_many_tags_are_owed_as_everything(tested: Any, admin: redis_py.Redis) -> None:
    takes_no_more(admin)
    assert tested.renew([f"x:t:{number}" for number in range(MANY + 1)], "w") is False
    assert owed(tested) == {"": {tags.everything(each) for each in tags.every_database()}}


def test_a_pulse_that_cannot_be_refreshed_is_not_tried_at_every_read(
    tested: Any, admin: redis_py.Redis, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    beat, looked = tested._beat, []

    def noting(*, look: bool) -> Any:
        looked.append(look)
        return beat(look=look)

    monkeypatch.setattr(tested, "_beat", noting)
    takes_no_more(admin)
    admin.delete(tag_key(PULSE))
    clock.now += 10
    assert tested.read(None, [TABLE]) == (None, {})
    assert tested.read(None, [TABLE]) == (None, {})
    assert (looked, cache_stats().errors) == ([False], 1)
    assert tested._beaten(look=True) is None  # there may be another server
    assert looked == [False, True]
    clock.now += 2 * RETRY
    tested._used_at = clock.now
    tested._outage.over()
    assert tested.tend() == KEEPER_RETRY
    assert looked == [False, True, False]
    takes_again(admin)
    assert tested.read(None, [TABLE]) == (None, {})
    clock.now += 1.01 * RETRY
    assert tested.read(None, [TABLE]).values.keys() == {PULSE}
    assert looked == [False, True, False, False]


def test_each_statement_of_a_caches_own_is_known_as_such(
    tested: Any, admin: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the hook would take those of a cache in a database for the host's."""
    done: list[str] = []

    def note(name: str) -> None:
        operation = getattr(tested, name)

        def noting(*arguments: Any, **named: Any) -> Any:
            assert is_busy() or name == "_close_own", name
            done.append(name)
            return operation(*arguments, **named)

        monkeypatch.setattr(tested, name, noting)

    operations = ["_read", "_ensure", "_write", "_take", "_drop", "_mark", "_renew", "_beat"]
    for name in (*operations, "_break_pulse", "_close_own"):
        note(name)
    for name, *arguments in [
        ("read", None, [TABLE]),
        ("ensure", [TABLE]),
        ("write", "qb:e:1", b"entry", 60),
        ("take", "lease", "me", 1),
        ("drop", "lease", "me"),
        ("mark", [TABLE], "w", 60),
        ("renew", [TABLE], "w"),
        ("tend",),
        ("_nobody_trusts",),
    ]:
        getattr(tested, name)(*arguments)
        assert not is_busy(), name
    assert {*operations, "_break_pulse"} == set(done) - {"_close_own"}
    assert done.count("_close_own") == 1
    assert cache_stats().errors == 0


def test_a_cache_that_was_taken_out_of_the_settings_has_not_failed(
    tested: Any, clock: Clock
) -> None:
    tested.alias = "taken out of CACHES"
    assert tested.read(None, [TABLE]) is None
    assert cache_stats().errors == 0
    assert not tested.distrusted
    assert tested.started == 0
    tested._debts.owe("w", [TABLE], list)
    assert tested.tend() is None


def test_a_cache_that_is_another_now_has_not_failed(tested: Any, settings: Any) -> None:
    """As where a test exchanges it: the store of before speaks to what it does not know."""
    tested.chosen_for = client_class(tested.cache)
    tested._debts.owe("w", [TABLE], list)
    assert tested.tend() is not None
    folder = "django.core.cache.backends.locmem.LocMemCache"
    settings.CACHES = {**settings.CACHES, "own": {"BACKEND": folder}}
    tested._debts.owe("w", [TABLE], list)
    assert tested.read(None, [TABLE]) is None
    assert cache_stats().errors == 0
    assert tested.started == 0
    assert tested.tend() is None
    assert owed(tested) == {"w": {TABLE}}


def test_a_cache_that_cannot_be_made_any_more_has_failed(
    tested: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each thread makes a client of its own: what that raises is not the host's to meet."""
    tested.chosen_for = client_class(tested.cache)

    def refuses(self: object) -> NoReturn:
        raise ImproperlyConfigured("no such sentinel")

    monkeypatch.setattr(RedisStore, "cache", property(refuses))
    assert tested.read(None, [TABLE]) is None
    assert tested.renew([TABLE], "w") is False
    assert cache_stats().errors >= 1
    assert tested.distrusted
    assert tested.tend() == KEEPER_RETRY


def test_a_store_that_is_retired_has_no_thread_any_more(
    own_redis: OwnRedis, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": own_redis.server.url()}
    settings.CACHES = {**settings.CACHES, "own": own}
    retired = RedisStore("own")
    retired.read(None, [TABLE])
    thread = retired._keeper._thread
    assert thread is not None
    assert thread.is_alive()
    retired.retire()
    assert not thread.is_alive()


def test_what_is_refused_of_what_was_told_is_counted_and_logged(
    tested: Any, admin: redis_py.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    takes_no_more(admin)
    assert tested.write("qb:e:1", b"entry", 60)  # as far as is known
    tested.read(None, [TABLE])
    takes_again(admin)
    assert cache_stats().not_stored == {"the cache did not take it": 1}
    (record,) = (each for each in caplog.records if "did not take an entry" in each.message)
    assert "OOM" in record.message


def test_an_entry_that_cannot_be_sent_is_counted_and_logged(
    tested: Any, own_redis: OwnRedis, caplog: pytest.LogCaptureFixture
) -> None:
    own_redis.stop(keep=False)
    assert tested.write("qb:e:1", b"entry", 60) is False
    assert cache_stats().not_stored == {"the cache did not take it": 1}
    assert not tested.distrusted  # reads tell of an outage
    (record,) = caplog.records
    assert "The cache 'own' did not take an entry (ConnectionError" in record.message


# Caches that refuse by what they return, and those that need no pulse.


class Refusing(LocMemCache):
    """What memcached does when it takes nothing: it says which keys failed."""

    refuses = True
    patience = 0
    """How often it refuses before it gives in, so that nothing is tried for ever."""

    def set_many(self, data: Any, timeout: Any = None, version: Any = None) -> list[Any]:
        if Refusing.refuses and Refusing.patience:
            Refusing.patience -= 1
            return list(data)
        return super().set_many(data, timeout, version)


@pytest.fixture(params=[ProcessStore, BackendStore])
def refusing(
    request: pytest.FixtureRequest, settings: Any, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> Any:
    settings.CACHES = {
        **settings.CACHES,
        "refusing": {"BACKEND": f"{__name__}.Refusing", "LOCATION": request.node.name},
    }
    settings.QUERYBUDGET = {"CACHE": {"ALIAS": "refusing", "RECOVERY_TIME": 0}}
    monkeypatch.setattr(Refusing, "refuses", False)
    monkeypatch.setattr(Refusing, "patience", 50)
    caches["refusing"].clear()
    cache_stats(reset=True)
    return watched(request.param("refusing"), monkeypatch)


def test_a_tag_without_a_token_is_given_one(refusing: Any) -> None:
    values = refusing.tokens([TABLE])
    assert values.keys() == {TABLE}
    assert is_token(values[TABLE])
    again = refusing.tokens([TABLE, OTHER])
    assert again[TABLE] == values[TABLE]
    assert is_token(again[OTHER])


def test_what_is_refused_by_a_return_value_is_a_refusal(
    refusing: Any, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    assert refusing._is_refusal(CacheRefused("no")) is True
    assert refusing._is_refusal(OSError("no")) is False
    assert refusing.read(None, [TABLE]).values.keys() == {PULSE}
    assert refusing.started == refusing.has_pulse  # to keep it
    Refusing.refuses = True
    assert refusing.write("qb:e:1", b"entry", 60) is False
    assert cache_stats().not_stored == {"the cache did not take it": 1}
    assert caplog.records == []  # it is the cache's way to say it, and counted
    assert not refusing.distrusted
    assert refusing.renew([TABLE], "w") is False
    assert not refusing._outage.is_unreachable
    assert clock.slept == 0
    assert cache_stats().waits == refusing.has_pulse  # nobody trusts what has a pulse, without it
    assert owed(refusing) == {"w": {TABLE}}


@pytest.mark.parametrize("refusing", [ProcessStore], indirect=True)
def test_without_a_pulse_there_is_no_trust_while_anything_is_owed(
    refusing: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken: list[bool] = []
    monkeypatch.setattr(refusing, "_break_pulse", lambda: broken.append(True))
    before = refusing.ensure([TABLE])
    assert refusing.write("qb:e:1", b"entry", 60)
    answer = (b"entry", {**before, PULSE: ALWAYS})
    assert refusing.read("qb:e:1", [TABLE]) == answer
    Refusing.refuses = True
    assert refusing.renew([TABLE], "w") is False
    assert refusing.tend() == KEEPER_RETRY
    started = refusing.started
    Refusing.refuses = False
    assert refusing.read("qb:e:1", [TABLE]) is None  # it failed a moment ago
    assert refusing.started == started + 1
    Refusing.refuses = True
    clock.now += PAUSE + 0.01
    assert refusing.read("qb:e:1", [TABLE]) is None  # this one has tried
    Refusing.refuses = False
    clock.now += PAUSE + 0.01
    after = refusing.read("qb:e:1", [TABLE])
    assert after[1][TABLE] != before[TABLE]
    assert after[1][PULSE] == ALWAYS
    assert not refusing.distrusted
    # What is owed of another thread's, with no failure that is known.
    refusing._debts.owe("v", [TABLE], list)
    again = refusing.read("qb:e:1", [TABLE])
    assert again[1][TABLE] != after[1][TABLE]
    assert not refusing.distrusted
    assert broken == []
    assert refusing._plain.get(tag_key(PULSE)) is None
    refusing._used_at = clock.now
    assert refusing.tend() is None
