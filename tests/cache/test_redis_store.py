"""What the store on a Redis sends, one rule after the other, on a real one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis as redis_py
from django.core.cache import caches
from django_redis.client import ShardClient
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from django_querybudget.cache import cache_stats, tokens
from django_querybudget.cache.stores import chosen
from django_querybudget.cache.stores.access import CacheRefused
from django_querybudget.cache.stores.pulse import LIFE, PULSE, Beat, beat_of
from django_querybudget.cache.stores.redis import DONE, RedisStore
from django_querybudget.cache.stores.scripts import BEAT
from django_querybudget.cache.stores.tag_keys import TRANSIENT_TIMEOUT, tag_key
from django_querybudget.cache.stores.wire import Wire

pytestmark = pytest.mark.once

TABLE, OTHER, ROW = "x:t:a", "x:t:b", "x:r:a:1"


@pytest.fixture
def client(redis_url: str) -> Iterator[redis_py.Redis]:
    with redis_py.Redis.from_url(redis_url) as client:
        client.flushdb()
        yield client


@pytest.fixture
def tested(client: redis_py.Redis, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisStore]:
    monkeypatch.setattr(chosen, "_stores", {})
    cache_stats(reset=True)
    store = RedisStore("redis")
    store.keeps_beating = False
    yield store
    store._keeper.stop()


def value(tested: RedisStore, tag: str) -> str:
    return tested._read(None, [tag])[1].get(tag, "")


def test_one_that_was_never_asked_has_opened_nothing(tested: RedisStore) -> None:
    assert tested._opened() == 0
    assert tested._read(None, []) == (None, {})
    assert tested._opened() == 0
    tested._read(None, [TABLE])
    assert tested._opened() == 1


def test_an_entry_and_the_tags_are_read_at_once(tested: RedisStore) -> None:
    token = tested._ensure([TABLE])
    assert tested.write("qb:e:1", b"entry", 60)
    assert tested._read("qb:e:1", [TABLE, OTHER]) == (b"entry", token)
    assert tested._read("qb:e:2", [TABLE]) == (None, token)
    assert tested._read("qb:e:1", []) == (b"entry", {})
    assert tested._read(None, [OTHER, TABLE]) == (None, token)


def test_tokens_are_read_and_given_in_one_trip(
    tested: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tested.tokens([OTHER])
    sent: list[bytes] = []
    ask = Wire.ask

    def noting(wire: Wire, command: bytes, **more: Any) -> Any:
        # The pulse is refreshed whenever that is due.
        if BEAT.sha not in command and BEAT.text not in command:
            sent.append(command)
        return ask(wire, command, **more)

    monkeypatch.setattr(Wire, "ask", noting)
    found = tested.tokens([TABLE, OTHER])
    assert len(sent) == 1
    assert found == {TABLE: value(tested, TABLE), OTHER: (before or {})[OTHER]}


def test_a_process_speaks_over_one_wire(tested: RedisStore) -> None:
    cache: Any = caches["redis"]
    wire = tested._wire_of(cache.client)
    assert tested._wire_of(cache.client) is wire
    assert tested.keeps_beating is wire.has_own is True
    tested._wire = Wire(redis_py.ConnectionPool(), opened=5)
    assert tested._wire_of(cache.client) is not wire
    assert tested._wire_of(cache.client).pool is wire.pool
    assert tested._opened() == 6  # another pool may be another server's


def test_which_clients_have_one_primary_for_all_keys() -> None:
    cache: Any = caches["redis"]
    assert RedisStore.takes(cache.client)
    assert not RedisStore.takes(ShardClient.__new__(ShardClient))
    assert not RedisStore.takes(object())


def test_who_never_marked_may_renew(tested: RedisStore) -> None:
    seen: list[bool] = []
    thread = threading.Thread(target=lambda: seen.append(tested.renew([TABLE], "a")))
    thread.start()
    thread.join()
    assert seen == [True]
    assert tested.renew([TABLE], "a")
    assert cache_stats().errors == 0


def test_a_renewal_is_of_the_tags_and_the_writer_that_it_names(tested: RedisStore) -> None:
    """However like the mark before it is."""
    before = tested._ensure([TABLE, OTHER])
    assert tested.mark([TABLE], "a", 60)
    assert tested.renew([TABLE, OTHER], "a")
    assert value(tested, TABLE) != before[TABLE]
    assert value(tested, OTHER) != before[OTHER]
    assert tested.mark([TABLE], "a", 60)
    assert tested.renew([TABLE], "b")
    assert "|a@" in value(tested, TABLE)
    assert tested.renew([TABLE], "a")
    assert tokens.readable(value(tested, TABLE))


@pytest.mark.parametrize(
    ("timeout", "least", "most"),
    [(60, 59_000, 60_000), (0.5, 0, 500), (None, -1, -1)],
    ids=["a minute", "half a second", "for ever"],
)
def test_how_long_an_entry_stays(
    tested: RedisStore, client: redis_py.Redis, timeout: float | None, least: int, most: int
) -> None:
    assert tested.write("qb:e:1", b"entry", timeout)
    (key,) = client.keys("*qb:e:1")
    assert least <= client.pttl(key) <= most


def test_an_entry_for_less_than_a_millisecond_is_no_error(tested: RedisStore) -> None:
    assert tested.write("qb:e:1", b"entry", 0.0001)
    assert cache_stats().errors == 0


@pytest.mark.parametrize("wanted", [[ROW, TABLE], [TABLE, ROW]], ids=["row first", "row last"])
@pytest.mark.parametrize("how", ["ensure", "renew"])
def test_a_tables_token_stays_for_ever_and_a_rows_for_a_day(
    tested: RedisStore, client: redis_py.Redis, wanted: list[str], how: str
) -> None:
    tested._ensure(wanted)
    if how == "renew":
        tested._renew(wanted, "a")
    assert client.pttl(tag_key(TABLE)) == -1
    assert 0 < client.pttl(tag_key(ROW)) <= 1000 * TRANSIENT_TIMEOUT
    assert client.pttl(tag_key(ROW)) > 1000 * TRANSIENT_TIMEOUT - 60_000


def test_a_writers_end_leaves_anothers_mark_on_what_has_no_token(tested: RedisStore) -> None:
    tested._mark([ROW], "a", 60)
    tested._mark([ROW], "b", 60)
    tested._renew([ROW], "a")
    assert "|b@" in value(tested, ROW)
    assert "a@" not in value(tested, ROW)


def test_a_token_whose_marks_are_over_is_another_one(
    tested: RedisStore, client: redis_py.Redis
) -> None:
    """Who put them may have written, and died."""
    client.set(tag_key(TABLE), "1-a|gone@1")
    token = tested._ensure([TABLE])[TABLE]
    assert tokens.is_token(token)
    assert token != "1-a"
    client.set(tag_key(TABLE), "1-a|gone@1")
    tested._mark([TABLE], "a", 60)
    token, _, marks = value(tested, TABLE).partition("|")
    assert tokens.is_token(token)
    assert token != "1-a"
    assert marks.startswith("a@")


@pytest.mark.parametrize("how", ["ensure", "mark", "renew", "beat", "take"])
def test_what_is_no_text_is_replaced(
    tested: RedisStore, client: redis_py.Redis, settings: Any, how: str
) -> None:
    settings.QUERYBUDGET = {"CACHE": {"ALIAS": "redis", "RECOVERY_TIME": 0}}
    leased: Any = caches["redis"]
    for key in (tag_key(TABLE), tag_key(PULSE), leased.make_key("qb:l:1")):
        client.lpush(key, "somebody else's")
    if how == "ensure":
        assert tokens.is_token(tested._ensure([TABLE])[TABLE])
    elif how == "mark":
        tested._mark([TABLE], "a", 60)
        assert value(tested, TABLE).startswith("|a@")
    elif how == "renew":
        tested._renew([TABLE], "a")
        assert tokens.is_token(value(tested, TABLE))
    elif how == "beat":
        beat = beat_of(tested._beat(look=False))
        assert beat is not None
        assert tokens.is_token(beat.token)
    else:
        assert tested._take("qb:l:1", "a", 60)
        assert not tested._take("qb:l:1", "b", 60)


@pytest.mark.parametrize("text", ["1-a!", "!1-a", "1-", "1" * 39 + "-a"])
def test_what_is_only_like_a_token_is_replaced(
    tested: RedisStore, client: redis_py.Redis, text: str
) -> None:
    client.set(tag_key(TABLE), text)
    assert tokens.is_token(tested._ensure([TABLE])[TABLE])


def test_a_mark_stays_for_its_timeout(tested: RedisStore, client: redis_py.Redis) -> None:
    tested._mark([TABLE], "a", 30.0)
    assert 29_000 < client.pttl(tag_key(TABLE)) <= 30_000
    tested._mark([OTHER], "a", 0.0)  # a moment, not for ever
    assert client.pttl(tag_key(OTHER)) < 2


def test_a_lease_that_was_given_back_is_remembered_for_a_while(
    tested: RedisStore, client: redis_py.Redis
) -> None:
    tested._take("qb:l:1", "a", 60)
    cache: Any = caches["redis"]
    key = cache.make_key("qb:l:1")
    assert 59_000 < client.pttl(key) <= 60_000
    tested._drop("qb:l:1", "a")
    assert value(tested, TABLE) == ""  # what was not waited for is done
    assert 0 < client.pttl(key) <= 1000 * DONE


def test_the_last_of_the_marks_is_waited_for(tested: RedisStore, client: redis_py.Redis) -> None:
    for writer, seconds in (("a", 90), ("b", 30), ("c", 10)):
        tested._mark([TABLE], writer, seconds)
        assert 60_000 < client.pttl(tag_key(TABLE)) <= 90_000
    tested._renew([TABLE], "c")
    assert 60_000 < client.pttl(tag_key(TABLE)) <= 90_000
    tested._renew([TABLE], "a")
    assert 0 < client.pttl(tag_key(TABLE)) <= 30_000


def test_a_mark_ends_by_the_servers_clock(tested: RedisStore, client: redis_py.Redis) -> None:
    def now() -> int:
        seconds, rest = client.time()
        return 1000 * seconds + rest // 1000

    before = now()
    tested._mark([TABLE], "a", 30.0)
    deadline = int(value(tested, TABLE).partition("@")[2])
    assert before <= deadline - 30_000 <= now()


def test_what_was_evicted_since_the_pulse_was_heard_may_have_been_a_mark(
    tested: RedisStore,
) -> None:
    for evicted, is_evicting in [("0", False), ("7", True)]:
        tested._pulse = ("", Beat("1-a", 0, evicted, False))
        tested._ensure([f"x:t:{evicted}"])
        assert tested.is_evicting() is is_evicting
    tested._evicting_until = 0.0
    tested._pulse = ("", Beat("", 5, "7", False))  # it rests: nobody trusts anyhow
    tested._ensure(["x:t:resting"])
    tested._pulse = ("", None)
    tested._ensure(["x:t:unheard"])
    tested._pulse = ("", Beat("1-a", 0, "7", False))
    tested._ensure(["x:t:unheard"])  # it was there
    assert not tested.is_evicting()


@pytest.mark.parametrize("seconds", [0, 7])
def test_a_new_pulse_rests_as_long_as_the_settings_say(
    tested: RedisStore, settings: Any, seconds: int
) -> None:
    settings.QUERYBUDGET = {"CACHE": {"ALIAS": "redis", "RECOVERY_TIME": seconds}}
    beat = beat_of(tested._beat(look=False))
    assert beat is not None
    assert bool(beat.token) is (seconds == 0)
    if seconds:
        assert 6000 < beat.deadline - 1000 * time.time() <= 7000


def test_a_pulse_that_rests_rests_once(
    tested: RedisStore, settings: Any, client: redis_py.Redis
) -> None:
    settings.QUERYBUDGET = {"CACHE": {"ALIAS": "redis", "RECOVERY_TIME": 7}}
    first = beat_of(tested._beat(look=True))
    assert first is not None
    assert beat_of(tested._beat(look=True)) == first
    found: Any = client.get(tag_key(PULSE))
    others = found.decode().partition(" ")[2]
    client.set(tag_key(PULSE), f"|{first.deadline + 60_000} {others}")  # by another clock
    beat = beat_of(tested._beat(look=False))
    assert beat is not None
    assert first.deadline <= beat.deadline < first.deadline + 60_000
    client.set(tag_key(PULSE), f"|{first.deadline - 60_000} {others}")  # it is over
    beat = beat_of(tested._beat(look=False))
    assert beat is not None
    assert tokens.is_token(beat.token)
    client.set(tag_key(PULSE), f"{beat.token} {others[:-1]}7")  # nobody of ours says this
    beat = beat_of(tested._beat(look=True))
    assert beat is not None
    assert beat.token == ""


def test_a_pulse_is_refreshed_after_a_quarter_of_its_life(
    tested: RedisStore, settings: Any, client: redis_py.Redis
) -> None:
    def now() -> float:
        seconds, rest = client.time()
        return 1000 * seconds + rest / 1000

    settings.QUERYBUDGET = {"CACHE": {"ALIAS": "redis", "RECOVERY_TIME": 0}}
    tested._beat(look=True)
    end = now() + 700 * LIFE
    client.pexpire(tag_key(PULSE), int(700 * LIFE))
    tested._beat(look=False)
    assert client.pttl(tag_key(PULSE)) + now() > end + 200 * LIFE


def test_the_pulse_of_another_server_is_none(
    tested: RedisStore, settings: Any, client: redis_py.Redis
) -> None:
    settings.QUERYBUDGET = {"CACHE": {"ALIAS": "redis", "RECOVERY_TIME": 0}}
    server, links = client.info("server"), client.info("replication")
    told = tested._beat(look=True).split(" ")
    assert told[3] == server["run_id"][:8] + links["master_replid"][:8]
    client.set(tag_key(PULSE), " ".join([*told[:3], "another", told[4]]))
    again = tested._beat(look=True).split(" ")
    assert again[3] == told[3]
    assert again[0] != told[0]


def test_a_fresh_pulse_is_put_again_only_by_who_looks(
    tested: RedisStore, settings: Any, client: redis_py.Redis
) -> None:
    settings.QUERYBUDGET = {"CACHE": {"ALIAS": "redis", "RECOVERY_TIME": 0}}
    first = tested._beat(look=False)
    life = int(LIFE * 1000)
    client.pexpire(tag_key(PULSE), 100 * life)  # fresh for as long as the test takes
    assert tested._beat(look=False) == first
    assert client.pttl(tag_key(PULSE)) > life
    assert beat_of(tested._beat(look=True)) == beat_of(first)
    assert 0 < client.pttl(tag_key(PULSE)) <= life
    client.pexpire(tag_key(PULSE), 100 * life)
    tested.try_scripts()
    assert 0 < client.pttl(tag_key(PULSE)) <= life
    tested._break_pulse()
    assert not client.exists(tag_key(PULSE))


def test_what_the_checks_ask(tested: RedisStore, client: redis_py.Redis, redis_url: str) -> None:
    cache: Any = caches["redis"]
    assert tested.pool is cache.client.get_client().connection_pool
    assert tested.default_limit == getattr(redis_py.connection, "DEFAULT_SOCKET_TIMEOUT", None)
    assert tested.eviction_policy() == client.config_get("maxmemory-policy")["maxmemory-policy"]


def test_a_user_who_may_not_ask_the_server_anything(
    client: redis_py.Redis, redis_url: str, settings: Any
) -> None:
    client.execute_command("ACL", "SETUSER", "blind", "on", ">secret", "~*", "+@all", "-info")
    location = redis_url.replace("://", "://blind:secret@", 1)
    settings.CACHES = {
        **settings.CACHES,
        "blind": {**settings.CACHES["redis"], "LOCATION": location},
    }
    settings.QUERYBUDGET = {"CACHE": {"ALIAS": "blind", "RECOVERY_TIME": 0}}
    blind = RedisStore("blind")
    assert blind.eviction_policy() == "?"
    assert tokens.is_token(blind._ensure([TABLE])[TABLE])
    beat = beat_of(blind._beat(look=False))
    assert beat is not None
    assert tokens.is_token(beat.token)
    assert (beat.evicted, beat.is_evicting) == ("?", True)
    again = beat_of(blind._beat(look=True))
    assert again is not None
    assert again.token == beat.token


def test_a_refusal_is_an_answer(tested: RedisStore) -> None:
    assert tested._is_refusal(ResponseError("OOM"))
    assert tested._is_refusal(CacheRefused())
    assert not tested._is_refusal(RedisConnectionError())


def test_what_the_clients_encoding_has_not_is_encoded_as_the_client_does(
    client: redis_py.Redis, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django_redis.pool import ConnectionFactory

    monkeypatch.setattr(ConnectionFactory, "_pools", {})
    encoding = {"encoding": "ascii", "encoding_errors": "xmlcharrefreplace"}
    settings.CACHES = {
        **settings.CACHES,
        "ascii": {
            **settings.CACHES["redis"],
            "KEY_PREFIX": "pré",
            "OPTIONS": {"CONNECTION_POOL_KWARGS": encoding},
        },
    }
    assert RedisStore("ascii").write("qb:e:1", b"entry", 60)
    assert client.keys("pr&#233;*") != []
