"""The connection that a process keeps for marks and renewals, on a real Redis."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis as redis_py
from django.core.cache import caches
from redis.backoff import ConstantBackoff
from redis.connection import AbstractConnection, ConnectionPool, UnixDomainSocketConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from django_querybudget.cache import cache_stats, tokens
from django_querybudget.cache.stores import chosen, wire
from django_querybudget.cache.stores.access import Lease
from django_querybudget.cache.stores.chosen import store_for
from django_querybudget.cache.stores.redis import DONE
from django_querybudget.cache.stores.resp import packed
from django_querybudget.cache.stores.store import Store

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parents[2]
TABLE = "x:t:wire"


def value(tested: Store) -> str:
    return tested._read(None, [TABLE])[1].get(TABLE, "")


@pytest.fixture
def make(settings: Any, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Store]:
    """Returns the store of a cache with a pool of its own, made with the given options."""
    from django_redis.pool import ConnectionFactory

    def make(**options: Any) -> Store:
        monkeypatch.setattr(ConnectionFactory, "_pools", {})
        monkeypatch.setattr(chosen, "_stores", {})
        options.setdefault("CONNECTION_POOL_KWARGS", {})["client_name"] = f"wire{uuid4().hex}"
        own = {**settings.CACHES["redis"], "KEY_PREFIX": "wire", "OPTIONS": options}
        settings.CACHES = {**settings.CACHES, "wire": own}
        caches["wire"].clear()
        cache_stats(reset=True)
        return store_for("wire")

    return make


def connections_of(tested: Store) -> int:
    """How many connections this store's cache has, each of which was given its pool's name."""
    cache: Any = tested.cache
    primary = cache.client.get_client()
    own = primary.connection_pool.connection_kwargs["client_name"]
    return sum(client["name"] == own for client in primary.client_list())


def test_a_process_keeps_one_connection_besides_the_pools(make: Callable[..., Store]) -> None:
    tested = make()
    for writer in ("a", "b", "c"):
        assert tested.mark([TABLE], writer, 60)
        assert tested.renew([TABLE], writer, marked=True)
    assert connections_of(tested) == 2


@pytest.mark.parametrize(
    ("options", "closing"),
    [
        ({"CONNECTION_POOL_KWARGS": {"max_connections": 5}}, False),
        ({"CONNECTION_POOL_CLASS": "redis.connection.BlockingConnectionPool"}, False),
        ({}, True),
    ],
    ids=["limited", "waiting", "closed after each request"],
)
def test_a_host_that_counts_its_connections_has_no_more_of_them(
    make: Callable[..., Store], settings: Any, options: dict[str, Any], closing: bool
) -> None:
    settings.DJANGO_REDIS_CLOSE_CONNECTION = closing
    tested = make(**options)
    assert tested.mark([TABLE], "a", 60)
    assert tested.renew([TABLE], "a", marked=True)
    assert tokens.readable(value(tested))
    assert connections_of(tested) == 1


def test_a_connection_that_the_server_closed_is_no_failure(make: Callable[..., Store]) -> None:
    tested = make()
    assert tested.mark([TABLE], "a", 60)
    cache: Any = tested.cache
    primary = cache.client.get_client()
    primary.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    assert tested.mark([TABLE], "b", 60)
    assert "b@" in value(tested)
    assert tested.mark([TABLE], "c", 60)
    assert "c@" in value(tested)
    assert tested._opened() == 2
    assert cache_stats().errors == 0
    assert not tested.distrusted


def test_who_finds_all_connections_in_use_takes_one_of_the_pool(
    make: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    tested: Any = make()
    assert tested.mark([TABLE], "a", 60)
    with monkeypatch.context() as patch:
        patch.setattr(wire, "OWN", 0)
        patch.setattr(tested._wire, "_idle", [])
        assert tested.mark([TABLE], "b", 60)
        assert tested.renew([TABLE], "a", marked=True)
    assert "b@" in value(tested)
    assert "a@" not in value(tested)


def test_an_answer_that_nobody_read_is_not_the_next_ones(
    make: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    tested = make()
    assert tested.mark([TABLE], "a", 60)

    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(wire, "read_answer", interrupted)
        with pytest.raises(KeyboardInterrupt):
            tested.mark([TABLE], "b", 60)
    cache: Any = tested.cache
    cache.client.get_client().script_flush()
    # An old answer would be taken for that of this call, and the script's absence be overlooked.
    assert tested.mark([TABLE], "c", 60)
    assert "c@" in value(tested)


def test_as_many_connections_of_its_own_as_it_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "OWN", 2)
    tested = wire.Wire(ConnectionPool())
    first, second = tested._take(), tested._take()
    assert None not in (first, second)
    assert tested._take() is None
    tested._idle.append(second)
    assert tested._take() is second


def test_what_its_own_connections_take_of_the_pools_options() -> None:
    retry = Retry(ConstantBackoff(60), 7)
    pool = ConnectionPool(max_connections=wire.UNLIMITED, socket_timeout=0.2)
    pool.connection_kwargs |= {"maint_a": 1, "orig_b": 2, "health_check_interval": 9}
    pool.connection_kwargs |= {"retry": retry, "client_name": "c"}
    options = wire.Wire(pool)._options
    assert options is not None
    assert not [name for name in options if name.startswith(("maint_", "orig_"))]
    assert (options["client_name"], options["health_check_interval"]) == ("c", 0)
    assert (options["socket_timeout"], options["socket_connect_timeout"]) == (0.2, wire.BOUND)
    assert options["retry"]._retries == 0
    assert wire.Wire(ConnectionPool(socket_timeout=30))._options["socket_timeout"] == wire.BOUND  # type: ignore[index]
    assert not wire.Wire(ConnectionPool(max_connections=wire.UNLIMITED - 1)).has_own


def test_a_server_that_is_not_there_is_tried_once() -> None:
    pool: Any = ConnectionPool(UnixDomainSocketConnection, path="/nowhere")
    tested = wire.Wire(pool)
    for times in (1, 2):
        with pytest.raises(RedisConnectionError):
            tested.ask(packed(b"PING"))
        assert tested.opened == times


@pytest.mark.parametrize("limit", [None, 1])
def test_an_answer_that_comes_too_late_is_nobodys(redis_url: str, limit: int | None) -> None:
    options: dict[str, Any] = {"socket_timeout": 0.05, "retry": None, "max_connections": limit}
    pool = ConnectionPool.from_url(redis_url, decode_responses=True, **options)
    tested = wire.Wire(pool)
    key = f"wire{uuid4().hex}"
    with pytest.raises(RedisTimeoutError):
        tested.ask(packed(b"BLPOP", key.encode(), b"0"))
    for _ in range(2):
        assert tested.ask(packed(b"ECHO", b"mine")) == b"mine"  # in bytes
    assert tested.opened == 2


# What is not waited for


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What is sent on connections of our own, and ``b"read"`` for each answer that is read."""
    noted: list[bytes] = []
    exchange, read = wire.Wire._exchange_by_hand, wire.read_answer

    def noting(self: Any, own: Any, command: bytes, *, silent: bool) -> Any:
        noted.append(command)
        return exchange(self, own, command, silent=silent)

    def reading(*arguments: Any) -> Any:
        noted.append(b"read")
        return read(*arguments)

    monkeypatch.setattr(wire.Wire, "_exchange_by_hand", noting)
    monkeypatch.setattr(wire, "read_answer", reading)
    return noted


def test_a_renewal_is_not_waited_for(
    make: Callable[..., Store], sent: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    tested: Any = make()
    cache: Any = tested.cache
    cache.client.get_client().script_flush()
    asked: list[int] = []
    ask = wire.Wire._ask_for_silence
    monkeypatch.setattr(wire.Wire, "_ask_for_silence", lambda self: asked.append(1) or ask(self))
    assert tested.mark([TABLE], "a", 60)
    for writer in ("a", "b"):
        assert tested.mark([TABLE], writer, 60)
        sent.clear()
        assert tested.renew([TABLE], writer, marked=True)
        [renewal] = sent
        assert renewal.startswith(packed(b"CLIENT", b"REPLY", b"SKIP"))
    assert tokens.readable(value(tested))
    assert tested._opened() == 1  # no answer of another's was met
    assert asked == [1]


def test_a_script_that_the_server_may_not_have_is_not_sent_unheard(
    make: Callable[..., Store],
) -> None:
    first: Any = make()
    assert first.mark([TABLE], "a", 60)
    tested: Any = make()
    tested.cache.client.get_client().script_flush()
    before = value(first)
    assert tested.renew([TABLE], "a", marked=True)
    assert tokens.readable(value(first))
    assert value(first) != before


def key_of(tested: Any, name: str) -> Any:
    return tested.cache.client.make_key(name)


def test_a_lease_is_given_back_in_one_message_with_the_entry(
    make: Callable[..., Store], sent: list[bytes]
) -> None:
    tested: Any = make()
    client = tested.cache.client.get_client()
    for number in range(2):
        name = f"lease{number}"
        assert tested.take(name, "me", 60) is Lease.TAKEN
        assert 59_000 < client.pttl(str(key_of(tested, name))) <= 60_000
        assert tested.take(name, "you", 60) is Lease.HELD
        tested.take("other", "me", 60)
        sent.clear()
        tested.drop("other", "me")
        assert len(sent) == 1  # and is not waited for
        sent.clear()
        assert tested.write("qb:e:1", b"entry", 60, (name, "me"))
        [message] = sent
        assert message.index(b"entry") < message.index(b"drop")
        assert tested._read("qb:e:1", [])[0] == b"entry"
        assert tested.take(name, "you", 60) is Lease.TAKEN_AFTER_ANOTHER
    assert tested._opened() == 1


@pytest.mark.parametrize("forbidden", ["", "client|reply"])
def test_a_lease_that_cannot_be_given_back_unheard_is_given_back(
    make: Callable[..., Store], forbidden: str
) -> None:
    tested: Any = make()
    client = tested.cache.client.get_client()
    try:
        if forbidden:
            assert tested.take("other", "me", 60) is Lease.TAKEN  # the script is known
            forbid(tested, forbidden)
        else:
            client.script_flush()
        client.set(str(key_of(tested, "lease")), "me", px=60_000)
        assert tested.write("qb:e:1", b"entry", 60, ("lease", "me"))
        assert tested._read("qb:e:1", [])[0] == b"entry"
        assert client.get(str(key_of(tested, "lease"))) == b"done"
        assert 0 < client.pttl(str(key_of(tested, "lease"))) <= 1000 * DONE
        assert refused_here() == 0
        assert tested._opened() == 1
    finally:
        forbid(tested)


@pytest.mark.parametrize("decode", [False, True])
def test_whether_the_server_keeps_silent(redis_url: str, decode: bool) -> None:
    pool = ConnectionPool.from_url(redis_url, max_connections=1, decode_responses=decode)
    tested = wire.Wire(pool)
    assert tested._can_keep_silent() is True
    assert tested.ask(packed(b"PING")) == b"PONG"  # the pool's one connection was given back
    assert (tested.opened, tested.ask(packed(b"PING")), tested.opened) == (1, b"PONG", 1)


def test_a_server_that_refuses_to_keep_silent(redis_url: str) -> None:
    pool = ConnectionPool.from_url(redis_url)
    with redis_py.Redis.from_url(redis_url) as client:
        client.execute_command(
            "ACL", "SETUSER", "loud", "on", ">secret", "~*", "+@all", "-client|reply"
        )
    pool.connection_kwargs |= {"username": "loud", "password": "secret"}
    tested = wire.Wire(pool)
    assert tested._can_keep_silent() is False
    assert tested.ask(packed(b"ECHO", b"mine"), silent=True) == b"mine"


# What is told: an entry, whose answer is read with that of the next command.


def refused_here() -> int:
    return cache_stats().not_stored.get("the cache did not take it", 0)


def forbid(tested: Store, *commands: str) -> None:
    """Let the server refuse commands to who asks from now on; all, without any."""
    cache: Any = tested.cache
    client = cache.client.get_client()
    rules = [f"-{command}" for command in commands] or ["+@all"]
    client.execute_command("ACL", "SETUSER", "default", *rules)


@pytest.fixture
def forbidding(make: Callable[..., Store]) -> Iterator[Store]:
    tested = make()
    yield tested
    forbid(tested)


def test_an_entry_that_the_server_refuses_is_counted_with_the_next_answer(
    forbidding: Store, caplog: pytest.LogCaptureFixture
) -> None:
    tested = forbidding
    assert tested.mark([TABLE], "a", 60)
    forbid(tested, "set")
    assert tested.write("qb:e:1", b"entry", 60)
    assert tested.write("qb:e:2", b"entry", 60)
    assert refused_here() == 0
    # The next one gets its own answer.
    assert tested._read("qb:e:1", [TABLE]) == (None, {TABLE: value(tested)})
    assert refused_here() == 2
    assert "did not take an entry" in caplog.text
    assert cache_stats().errors == 0
    assert not tested.distrusted
    forbid(tested)
    assert tested.write("qb:e:1", b"entry", 60)
    assert tested._read("qb:e:1", [])[0] == b"entry"
    assert refused_here() == 2


def test_answers_are_not_left_unread_without_end(
    forbidding: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    tested: Any = forbidding
    assert tested.mark([TABLE], "a", 60)
    monkeypatch.setattr(wire, "MOST_UNHEARD", 3)
    forbid(tested, "set")
    for number in range(1, 4):
        assert tested.write(f"qb:e:{number}", b"entry", 60)
    assert refused_here() == 0
    assert not tested.write("qb:e:4", b"entry", 60)  # waited for, and refused
    assert refused_here() == 4
    assert not any(tested._wire._unheard.values())


def test_one_answer_may_be_left_unread(forbidding: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    tested: Any = forbidding
    assert tested.mark([TABLE], "a", 60)
    monkeypatch.setattr(wire, "MOST_UNHEARD", 1)
    forbid(tested, "set")
    assert tested.write("qb:e:1", b"entry", 60)
    assert not tested.write("qb:e:2", b"entry", 60)


def test_an_entry_that_is_lost_is_a_miss_and_nothing_else(make: Callable[..., Store]) -> None:
    tested: Any = make()
    assert tested.mark([TABLE], "a", 60)
    assert tested.write("qb:e:1", b"entry", 60)
    [own] = tested._wire._idle
    own.disconnect()  # with the answer that nobody has read
    before = value(tested)
    assert "a@" in before
    assert tested.write("qb:e:2", b"entry", 60)
    cache: Any = tested.cache
    cache.client.get_client().execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    assert tested.write("qb:e:3", b"entry", 60)  # whether it was lost, nobody has said
    assert tested._read(None, [TABLE]) == (None, {TABLE: before})
    assert tested._read("qb:e:2", [])[0] == b"entry"
    assert cache_stats().errors == 0
    assert not tested.distrusted


def test_an_interrupted_command_leaves_no_answers_behind(
    make: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    tested: Any = make()
    assert tested.mark([TABLE], "a", 60)
    assert tested.write("qb:e:1", b"entry", 60)

    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(wire, "read_answer", interrupted)
        with pytest.raises(KeyboardInterrupt):
            tested.read(None, [TABLE])
    assert not any(tested._wire._unheard.values())
    assert "a@" in value(tested)


def test_an_interrupted_command_on_the_pools_connection_leaves_no_answer_behind(
    make: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    tested: Any = make(CONNECTION_POOL_KWARGS={"max_connections": 5})
    assert tested.mark([TABLE], "a", 60)

    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(AbstractConnection, "read_response", interrupted)
        with pytest.raises(KeyboardInterrupt):  # its answer comes later than the next one's is due
            tested._wire.ask(packed(b"BLPOP", b"nothing", b"0.3"))
    assert tested._wire.ask(packed(b"ECHO", b"next")) == b"next"


def test_a_host_that_counts_its_connections_hears_at_once(make: Callable[..., Store]) -> None:
    tested: Any = make(CONNECTION_POOL_KWARGS={"max_connections": 5})
    assert tested.write("qb:e:1", b"entry", 60)
    assert not tested._wire._unheard
    try:
        forbid(tested, "set")
        assert not tested.write("qb:e:1", b"entry", 60)
    finally:
        forbid(tested)
    assert refused_here() == 1


def test_where_scripts_are_thrown_away_a_renewal_is_waited_for(make: Callable[..., Store]) -> None:
    tested = make()
    cache: Any = tested.cache
    assert tested.mark([TABLE], "a", 60)
    cache.client.get_client().script_flush()
    assert tested.mark([TABLE], "b", 60)
    cache.client.get_client().script_flush()
    assert tested.renew([TABLE], "a", marked=True)
    assert "a@" not in value(tested)
    assert "b@" in value(tested)


FORKING = """
import os, sys
from django.conf import settings
import django
settings.configure(
    CACHES={"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": sys.argv[1],
                        "KEY_PREFIX": "forking"}},
    INSTALLED_APPS=["django_querybudget"], QUERYBUDGET={"CACHE": {}},
)
django.setup()
from django_querybudget.cache.stores.chosen import store_for
store = store_for("default")
tags = ["x:t:fork"]
assert store.mark(tags, "parent", 60)
parents = store._wire
child = os.fork()
if not child:
    done = all(store.mark(tags, f"child{n}", 60) for n in range(50))
    done = done and store._wire is not parents  # whose answers may be read by either
    done = done and all(store.renew(tags, f"child{n}", marked=True) for n in range(50))
    os._exit(0 if done else 1)
for n in range(50):
    assert store.mark(tags, f"parent{n}", 60)
    assert store.renew(tags, f"parent{n}", marked=True)
assert os.waitpid(child, 0)[1] == 0
value = store._read(None, tags)[1][tags[0]]
marks = value.partition("|")[2]
assert [mark.partition("@")[0] for mark in marks.split(",")] == ["parent"], value
print("done")
"""


def test_a_forked_process_has_its_own(redis_url: str) -> None:
    result = subprocess.run(
        [sys.executable, "-c", FORKING, redis_url],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert result.stdout == "done\n", result.stderr


KEEPING = """
import os, sys, threading, warnings
warnings.simplefilter("error")
from django.conf import settings
import django
settings.configure(
    CACHES={"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": sys.argv[1]}},
    INSTALLED_APPS=["django_querybudget"],
    QUERYBUDGET={"CACHE": {"RECOVERY_TIME": 0, "TOKEN_PREFIX": "keeping"}},
)
django.setup()
from django_querybudget.cache.stores.chosen import store_for
store = store_for("default")
def keepers():
    return [each.name for each in threading.enumerate() if each.name.startswith("querybudget")]
store.read(None, ["x:t:a"])
assert keepers() == ["querybudget-default"], keepers()
child = os.fork()  # beside a running thread, this would be a warning
if not child:
    alone = not keepers()
    store.read(None, ["x:t:a"])
    os._exit(0 if alone and store._is_late() is False else 1)
assert os.waitpid(child, 0)[1] == 0
assert not keepers()
store._beat_at = float("-inf")  # a while later
store.read(None, ["x:t:a"])
assert keepers() == ["querybudget-default"]
print("done")
"""


def test_a_process_that_forks_has_no_keeper_then_and_one_again(redis_url: str) -> None:
    result = subprocess.run(
        [sys.executable, "-c", KEEPING, redis_url],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert result.stdout == "done\n", result.stderr
