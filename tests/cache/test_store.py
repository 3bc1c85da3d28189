"""The stores on real caches, and on a Redis that stops and comes back."""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache
from django.core.management import call_command
from django.db import connections
from redis.backoff import NoBackoff
from redis.connection import AbstractConnection
from redis.retry import Retry

from django_querybudget.cache import cache_stats, cached_queryset, store
from django_querybudget.cache.redis import RedisStore
from django_querybudget.cache.store import Store, store_for
from django_querybudget.cache.tags import every_database, everything
from jobs.models import Industry
from tests.servers import Redis, Run

BACKENDS = ["locmem", "file", "database", "redis", "redis msgpack"]
TABLE = "x:t:a"


@pytest.fixture(params=BACKENDS)
def alias(request: pytest.FixtureRequest, settings: Any, tmp_path: Path) -> str:
    name: str = request.param
    django_redis = {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": request.getfixturevalue("redis_url") if "redis" in name else "",
        "KEY_PREFIX": "p",
        "VERSION": 3,
    }
    folder = "django.core.cache.backends"
    settings.CACHES = {
        **settings.CACHES,
        "tested": {
            "locmem": {"BACKEND": f"{folder}.locmem.LocMemCache", "LOCATION": str(tmp_path)},
            "file": {"BACKEND": f"{folder}.filebased.FileBasedCache", "LOCATION": str(tmp_path)},
            "database": {"BACKEND": f"{folder}.db.DatabaseCache", "LOCATION": "cache_table"},
            "redis": django_redis,
            "redis msgpack": {
                **django_redis,
                "OPTIONS": {"SERIALIZER": "django_redis.serializers.msgpack.MSGPackSerializer"},
            },
        }[name],
    }
    if name == "database":
        request.getfixturevalue("transactional_db")
        call_command("createcachetable", verbosity=0)
    caches["tested"].clear()
    return "tested"


def value(tested: Store, tag: str = TABLE) -> str | None:
    answer = tested.read(None, [tag])
    assert answer is not None
    return answer[1].get(tag)


def test_tokens_and_entries(alias: str) -> None:
    tested = store_for(alias)
    assert isinstance(tested, RedisStore) == isinstance(caches[alias], _redis_cache())
    assert tested.read("qb:e:1", [TABLE]) == (None, {})
    first = tested.ensure([TABLE])
    assert tested.ensure([TABLE]) == first
    assert tested.write("qb:e:1", b"\x00entry", 60)
    assert tested.read("qb:e:1", [TABLE, "x:t:b"]) == (b"\x00entry", first)
    assert tested.renew([TABLE])
    assert value(tested) not in {None, first[TABLE]}


def _redis_cache() -> type:
    from django_redis.cache import RedisCache

    return RedisCache


def test_marks_of_two_writers(alias: str) -> None:
    tested = store_for(alias)
    tested.ensure([TABLE])
    assert tested.mark([TABLE], "a", 60)
    assert tested.mark([TABLE], "b", 60)
    marked = value(tested)
    assert marked is not None
    assert marked.count("@") == 2
    assert not store.readable(marked)
    assert tested.renew([TABLE], "a")
    left = value(tested)
    assert left is not None
    assert "b@" in left
    assert "a@" not in left
    assert tested.renew([TABLE], "b")
    assert store.readable(value(tested) or "")


def test_a_mark_ends_by_itself_and_takes_the_token_along(alias: str) -> None:
    tested = store_for(alias)
    before = tested.ensure([TABLE])[TABLE]
    tested.mark([TABLE], "dead", 0.2)
    threading.Event().wait(2.3 if type(tested) is Store else 0.3)
    assert value(tested) is None
    assert tested.ensure([TABLE])[TABLE] != before


def test_a_tag_that_no_cache_takes_in_a_key(alias: str) -> None:
    tested = store_for(alias)
    odd = f"x:t:{'long name ' * 40}\n"
    assert tested.ensure([odd]).keys() == {odd}
    assert tested.renew([odd])


def test_prefix_version_and_key_function_are_the_caches(alias: str, settings: Any) -> None:
    store_for(alias).ensure([TABLE])
    cache: Any = caches[alias]
    if hasattr(cache, "client"):
        assert cache.client.get_client().exists(f"p:3:qb:t:{TABLE}") == 1
    else:
        assert cache.get(f"qb:t:{TABLE}")


def test_the_entry_under_a_pickling_redis_is_no_pickle(redis_url: str) -> None:
    tested = store_for("redis")
    tested.write("qb:e:1", b"qb1\n", 60)
    cache: Any = caches["redis"]
    raw = cache.client.get_client().get(cache.client.make_key("qb:e:1"))
    assert raw == b"qb1\n"
    with pytest.raises(pickle.UnpicklingError):
        pickle.loads(raw)  # noqa: S301  # that it is none is what is tested


@pytest.fixture
def replies(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What Redis answers to this process."""
    read: list[Any] = []
    read_response = AbstractConnection.read_response

    def noted(self: Any, *args: Any, **kwargs: Any) -> Any:
        answer = read_response(self, *args, **kwargs)
        read.append(answer)
        return answer

    monkeypatch.setattr(AbstractConnection, "read_response", noted)
    return read


def test_a_renewal_under_a_mark_is_not_waited_for(redis_url: str, replies: list[Any]) -> None:
    tested = store_for("redis")
    before = tested.ensure([TABLE])[TABLE]
    for _ in range(2):  # the first asks whether the server can be silent
        tested.mark([TABLE], "a", 60)
        replies.clear()
        assert tested.renew([TABLE], "a", marked=True)
    assert replies == []
    after = value(tested)  # the next on the connection gets its own answer, no other
    assert store.readable(after or "")
    assert after != before


def test_a_renewal_without_a_mark_is_waited_for(redis_url: str, replies: list[Any]) -> None:
    tested = store_for("redis")
    tested.renew([TABLE])
    assert len(replies) == 1


def test_a_renewal_that_is_lost_on_its_way_costs_the_marks_time(redis_url: str) -> None:
    tested = store_for("redis")
    before = tested.ensure([TABLE])[TABLE]
    tested.mark([TABLE], "a", 0.3)
    cache: Any = caches["redis"]
    cache.client.get_client().script_flush()  # it will be refused, and the refusal not be read
    assert tested.renew([TABLE], "a", marked=True)
    assert not store.readable(value(tested) or "")  # nobody trusts it
    threading.Event().wait(0.4)
    assert value(tested) is None
    assert tested.ensure([TABLE])[TABLE] != before
    tested.mark([TABLE], "a", 60)  # loads the script again


def test_a_server_that_always_answers_is_waited_for(
    redis_url: str, settings: Any, replies: list[Any]
) -> None:
    """One whose users may not ask for silence, as those of some proxies and services."""
    cache: Any = caches["redis"]
    cache.client.get_client().execute_command(
        "ACL", "SETUSER", "noisy", "on", ">secret", "~*", "+@all", "-client"
    )
    location = redis_url.replace("://", "://noisy:secret@", 1)
    settings.CACHES = {
        **settings.CACHES,
        "noisy": {**settings.CACHES["redis"], "LOCATION": location},
    }
    tested = store_for("noisy")
    for writer in ("a", "b"):
        tested.mark([TABLE], writer, 60)
        replies.clear()
        assert tested.renew([TABLE], writer, marked=True)
        assert store.readable(value(tested) or "")
    assert len(replies) == 2  # of the renewal and of the read


@pytest.fixture
def pooled(settings: Any, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Returns the store of a cache with a pool of its own, made with the given options."""
    from django_redis.pool import ConnectionFactory

    def make(**options: Any) -> Store:
        monkeypatch.setattr(ConnectionFactory, "_pools", {})
        monkeypatch.setattr(store, "_stores", {})
        own = {**settings.CACHES["redis"], "KEY_PREFIX": "pré", "OPTIONS": options}
        settings.CACHES = {**settings.CACHES, "pooled": own}
        caches["pooled"].clear()
        return store_for("pooled")

    return make


@pytest.mark.parametrize("kind", ["ConnectionPool", "BlockingConnectionPool"])
def test_one_connection_is_enough_to_send_a_script_that_the_server_lost(
    pooled: Any, kind: str
) -> None:
    # Or threads that all have one connection wait for each other's.
    tested = pooled(
        CONNECTION_POOL_CLASS=f"redis.connection.{kind}",
        CONNECTION_POOL_KWARGS={"max_connections": 1}
        | ({"timeout": 1} if kind == "BlockingConnectionPool" else {}),
    )
    cache: Any = caches["pooled"]
    cache.client.get_client().script_flush()
    assert tested.mark([TABLE], "a", 60)


def test_keys_are_encoded_as_the_client_encodes_them(pooled: Any) -> None:
    tested = pooled(CONNECTION_POOL_KWARGS={"encoding": "latin-1"})
    tested.renew([TABLE])  # the server has the script by now
    before = value(tested)
    tested.renew([TABLE])
    assert value(tested) != before


@pytest.fixture
def own_redis(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A Redis that the test may stop and start."""
    server = Redis(Run(owner=os.getpid(), folder=tmp_path))
    settings.CACHES = {
        **settings.CACHES,
        "own": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": server.url(),
            "OPTIONS": {"CONNECTION_POOL_KWARGS": {"retry": Retry(NoBackoff(), 0)}},
        },
    }
    settings.QUERYBUDGET = {"CACHE": {"ALIAS": "own"}}
    monkeypatch.setattr(store, "PAUSE", 0.2)
    monkeypatch.setattr(store, "_stores", {})
    server.start()
    cache_stats(reset=True)
    yield server
    server.run.clean_up()


def stop(server: Redis) -> None:
    import psutil

    pid = int((server.folder / "pid").read_text().split()[0])
    process = psutil.Process(pid)
    process.kill()
    process.wait()


def restart(server: Redis) -> None:
    (server.folder / "pid").unlink()
    (server.folder / "socket").unlink(missing_ok=True)
    server.folder.rename(server.folder.with_name("before"))
    server.start()


def names() -> list[str]:
    return [each.name for each in cached_queryset(Industry.objects.order_by("pk"))]


@pytest.mark.django_db(transaction=True)
def test_a_redis_that_is_down_means_slower_and_nothing_else(own_redis: Redis) -> None:
    Industry.objects.create(name="a")
    assert names() == names() == ["a"]
    assert cache_stats().hits == 1
    stop(own_redis)
    assert names() == ["a"]
    Industry.objects.create(name="b")  # no error
    assert names() == ["a", "b"]
    stats = cache_stats()
    assert stats.errors >= 1
    assert stats.bypasses["cache failed"] >= 1
    restart(own_redis)
    _wait_until_trusted()
    assert names() == ["a", "b"]
    cache_stats(reset=True)
    assert names() == ["a", "b"]
    assert cache_stats().hits == 1


def _wait_until_trusted() -> None:
    event = threading.Event()
    for _ in range(200):
        if not store_for("own").distrusted:
            return
        event.wait(0.05)
    pytest.fail("the store never came back, and nothing asked it to: the retry is its own")


@pytest.mark.django_db(transaction=True)
def test_what_was_written_while_redis_was_cut_off_is_renewed_when_it_is_back(
    own_redis: Redis,
) -> None:
    """The entries are there again, with their tokens, as after a network that was cut."""
    Industry.objects.create(name="a")
    assert names() == names() == ["a"]
    hidden = own_redis.folder / "hidden"
    socket = own_redis.folder / "socket"
    socket.rename(hidden)
    caches["own"].client.disconnect()  # type: ignore[attr-defined]
    Industry.objects.update(name="b")
    assert names() == ["b"]
    hidden.rename(socket)
    _wait_until_trusted()
    assert names() == ["b"]


def test_a_renewal_that_is_skipped_while_another_thread_recovers_is_owed(
    own_redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    tested = store_for("own")
    monkeypatch.setattr(tested, "_start_retrying", lambda: None)
    with tested._owing:
        tested.distrusted = True
    renew = tested._renew

    def renew_and_meanwhile(wanted: Any, writer: str) -> None:
        renew(wanted, writer)
        monkeypatch.setattr(tested, "_renew", renew)
        assert tested.renew([TABLE]) is False  # skipped: the store is not trusted yet

    monkeypatch.setattr(tested, "_renew", renew_and_meanwhile)
    assert tested._recover() is False
    assert tested.distrusted
    before = value_of_everything(tested)
    assert tested._recover() is True
    assert value_of_everything(tested) != before


def value_of_everything(tested: Store) -> dict[str, str]:
    return tested._read(None, [everything(name) for name in every_database()])[1]


def test_a_cache_that_refuses_by_its_return_value_is_distrusted(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CACHES = {
        **settings.CACHES,
        "refusing": {"BACKEND": "tests.cache.test_store.RefusingCache"},
    }
    monkeypatch.setattr(store, "_stores", {})
    tested = store_for("refusing")
    monkeypatch.setattr(tested, "_start_retrying", lambda: None)
    assert tested.renew([TABLE]) is False
    assert tested.distrusted
    assert tested.read(None, [TABLE]) is None


class RefusingCache(LocMemCache):
    """What memcached does when it takes nothing: it says which keys failed."""

    def set_many(self, data: Any, timeout: Any = None, version: Any = None) -> list[Any]:
        return list(data)


def test_a_stores_own_statements_are_not_watched(settings: Any, db: None) -> None:
    settings.CACHES = {
        **settings.CACHES,
        "database": {
            "BACKEND": "django.core.cache.backends.db.DatabaseCache",
            "LOCATION": "cache_table",
        },
    }
    call_command("createcachetable", verbosity=0)
    cache_stats(reset=True)
    assert store_for("database").renew([TABLE])
    assert cache_stats().invalidations == 1
    assert cache_stats().marks == 0
    connections["default"].ensure_connection()
