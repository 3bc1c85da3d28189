"""The stores on real caches, and on a Redis that stops and comes back."""

from __future__ import annotations

import os
import pickle
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import hypothesis
import pytest
from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache
from django.core.checks import run_checks
from django.core.management import call_command
from django.db import connections, transaction
from django.test import override_settings
from hypothesis import strategies as st
from redis.backoff import NoBackoff
from redis.connection import AbstractConnection
from redis.retry import Retry

from django_querybudget.cache import cache_stats, cached_queryset, tokens
from django_querybudget.cache.stores import chosen, resilience, wire
from django_querybudget.cache.stores.backends import BackendStore, ProcessStore
from django_querybudget.cache.stores.chosen import _stores, store_for
from django_querybudget.cache.stores.pulse import PULSE
from django_querybudget.cache.stores.redis import RedisStore
from django_querybudget.cache.stores.store import Store
from django_querybudget.cache.stores.tag_keys import tag_key
from django_querybudget.cache.tokens import TagValue
from django_querybudget.cache.transactions.pending import Pending
from jobs.models import Industry, Subcategory
from tests.servers import Redis, Run

# Every alias that the parametrized tests need, for all of them.
pytestmark = [
    pytest.mark.once,
    pytest.mark.django_db(transaction=True, databases=["default", "postgres"]),
]

BACKENDS = [
    "locmem",
    "file",
    "database",
    "redis",
    "redis msgpack",
    "django's redis",
    pytest.param("memcached", marks=pytest.mark.memcached),
]


def spell(key: str, prefix: str, version: int) -> str:
    """Put a key together as no default does."""
    return f"{prefix}/{version}/{key}"


TABLE, SCRIPTED = "x:t:a", "x:t:b"


class CacheRouter:
    """Keeps the table of Django's database cache in PostgreSQL."""

    def db_for_read(self, model: Any, **_: Any) -> str | None:
        return "postgres" if model._meta.app_label == "django_cache" else None

    db_for_write = db_for_read

    def allow_migrate(self, db: str, app_label: str, **_: Any) -> bool | None:
        return db == "postgres" if app_label == "django_cache" else None


@pytest.fixture(params=BACKENDS)
def alias(
    request: pytest.FixtureRequest, settings: Any, tmp_path: Path, transactional_db: None
) -> Iterator[str]:
    del transactional_db
    name: str = request.param
    url = request.getfixturevalue("redis_url") if "redis" in name else ""
    memcached = request.getfixturevalue("memcached_location") if name == "memcached" else ""
    django_redis = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url}
    folder = "django.core.cache.backends"
    settings.CACHES = {
        **settings.CACHES,
        "tested": {
            # Each worker of xdist has keys of its own: memcached is one for all.
            "KEY_PREFIX": f"p{os.environ.get('PYTEST_XDIST_WORKER', '')}",
            "VERSION": 3,
            "KEY_FUNCTION": "tests.cache.test_store.spell",
            **{
                "locmem": {"BACKEND": f"{folder}.locmem.LocMemCache", "LOCATION": str(tmp_path)},
                "file": {
                    "BACKEND": f"{folder}.filebased.FileBasedCache",
                    "LOCATION": str(tmp_path),
                },
                "database": {"BACKEND": f"{folder}.db.DatabaseCache", "LOCATION": "cache_table"},
                "redis": django_redis,
                "redis msgpack": {
                    **django_redis,
                    "OPTIONS": {"SERIALIZER": "django_redis.serializers.msgpack.MSGPackSerializer"},
                },
                # Of the server's second database: in the first one the keeper of "redis" refreshes
                # the pulse, under the same key, and spells it in its own way.
                "django's redis": {
                    "BACKEND": f"{folder}.redis.RedisCache",
                    "LOCATION": url.replace("db=0", "db=1"),
                },
                "memcached": {
                    "BACKEND": f"{folder}.memcached.PyMemcacheCache",
                    "LOCATION": memcached,
                },
            }[name],
        },
    }
    if name == "database":
        settings.DATABASE_ROUTERS = ["tests.cache.test_store.CacheRouter"]
        call_command("createcachetable", database="postgres", verbosity=0)
    # A store of its own: one that a test before has seen fail asks for the pulse a moment later.
    if (before := _stores.pop("tested", None)) is not None:
        before.retire()
    caches["tested"].clear()
    yield "tested"
    caches["tested"].close()  # memcached's client would leave a socket open


def value(tested: Store, tag: str = TABLE) -> str | None:
    answer = tested.read(None, [tag])
    assert answer is not None
    return answer[1].get(tag)


def read(tested: Store, key: str, wanted: list[str]) -> tuple[Any, dict[str, str]]:
    """Return the entry and the tags' values; the pulse has to be among them."""
    answer = tested.read(key, wanted)
    assert answer is not None
    assert answer[1].pop(PULSE)
    return answer


def test_tokens_and_entries(alias: str) -> None:
    tested = store_for(alias)
    assert isinstance(tested, RedisStore) == isinstance(caches[alias], _redis_cache())
    assert read(tested, "qb:e:1", [TABLE]) == (None, {})
    first = tested.ensure([TABLE])
    assert tested.ensure([TABLE]) == first
    assert tested.write("qb:e:1", b"\x00entry", 60)
    assert read(tested, "qb:e:1", [TABLE, "x:t:b"]) == (b"\x00entry", first)
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
    assert not tokens.readable(marked)
    assert tested.renew([TABLE], "a")
    left = value(tested)
    assert left is not None
    assert "b@" in left
    assert "a@" not in left
    assert tested.renew([TABLE], "b")
    assert tokens.readable(value(tested) or "")


def test_a_mark_ends_by_itself_and_takes_the_token_along(alias: str) -> None:
    tested = store_for(alias)
    before = tested.ensure([TABLE])[TABLE]
    tested.mark([TABLE], "dead", 0.2)
    # The clock of memcached ticks once a second, on a busy machine later.
    deadline = time.monotonic() + 10
    while value(tested) is not None and time.monotonic() < deadline:
        threading.Event().wait(0.1)
    assert value(tested) is None
    assert tested.ensure([TABLE])[TABLE] != before


def test_a_tag_that_no_cache_takes_in_a_key(alias: str) -> None:
    tested = store_for(alias)
    odd = f"x:t:{'long name ' * 40}\n"
    assert tested.ensure([odd]).keys() == {odd}
    assert tested.renew([odd])


def test_an_entrys_key_is_the_caches_and_a_tokens_is_not(alias: str) -> None:
    """Entries may differ by tenant or by release; what is renewed is shared."""
    tested, cache = store_for(alias), caches[alias]
    token = tested.ensure([TABLE])[TABLE]
    assert tested.write("qb:e:1", b"entry", 60)
    spelled = spell("qb:e:1", cache.key_prefix, 3)
    if isinstance(tested, RedisStore):
        raw = cast("Any", cache).client.get_client()
        assert (raw.get(spelled), raw.get(f"qb:t:{TABLE}")) == (b"entry", token.encode())
    else:
        assert cache.make_key("qb:e:1") == spelled
        assert cache.get("qb:e:1") == b"entry"
        assert cache.get("qb:e:1", version=4) is None
        assert cache.get(f"qb:t:{TABLE}") is None
        assert cast("Any", tested)._plain.get(f"qb:t:{TABLE}") == token


@pytest.mark.parametrize("using", ["default", "postgres"])
def test_reads_through_it_are_cached_and_right(alias: str, using: str, settings: Any) -> None:
    """A whole round on each backend: miss, hit, a write, a transaction, a rollback.

    ``postgres`` is the database that holds the database cache, too.
    """
    settings.QUERYBUDGET = {"CACHE": {"ALIAS": alias}}
    industries = Industry.objects.using(using)
    industries.create(name="a")
    cache_stats(reset=True)
    assert names(using) == names(using) == ["a"]
    assert cache_stats().hits == 1
    industries.update(name="b")
    assert names(using) == names(using) == ["b"]
    assert cache_stats().hits == 2
    with transaction.atomic(using=using):
        industries.create(name="c")
        assert names(using) == ["b", "c"]
    assert names(using) == names(using) == ["b", "c"]
    with suppress(ZeroDivisionError), transaction.atomic(using=using):
        industries.all().delete()
        assert names(using) == []
        raise ZeroDivisionError
    assert names(using) == names(using) == ["b", "c"]
    assert cache_stats().errors == 0


@pytest.mark.django_db(transaction=True)
def test_a_database_cache_in_sqlite_is_left_alone(settings: Any) -> None:
    """Its transaction, after an INSERT whose row is not fetched, would roll the INSERT back."""
    settings.CACHES = {
        **settings.CACHES,
        "database": {
            "BACKEND": "django.core.cache.backends.db.DatabaseCache",
            "LOCATION": "cache_table",
        },
    }
    call_command("createcachetable", verbosity=0)
    settings.QUERYBUDGET = {"CACHE": {"ALIAS": "database"}}
    Industry.objects.create(name="a")
    assert names() == names() == ["a"]
    Industry.objects.update(name="b")
    with transaction.atomic():
        Industry.objects.create(name="c")
    assert names() == ["b", "c"]
    with connections["default"].cursor() as cursor:
        cursor.execute("INSERT INTO jobs_industry (name) VALUES ('d'), ('e') RETURNING name")
        assert names() == ["b", "c", "d", "e"]  # a read through the cache, with a row to come
        assert [name for (name,) in cursor.fetchall()] == ["d", "e"]
    assert names() == ["b", "c", "d", "e"]
    [message] = run_checks(tags=["querybudget"])
    assert message.id == "querybudget.W022"


def test_the_entry_under_a_pickling_redis_is_no_pickle(redis_url: str) -> None:
    tested = store_for("redis")
    tested.write("qb:e:1", b"qb4\n", 60)
    cache: Any = caches["redis"]
    raw = cache.client.get_client().get(cache.client.make_key("qb:e:1"))
    assert raw == b"qb4\n"
    with pytest.raises(pickle.UnpicklingError):
        pickle.loads(raw)  # noqa: S301  # that it is none is what is tested


@hypothesis.settings(deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(
    st.dictionaries(st.sampled_from("abcd"), st.sampled_from([-3, 60, 90]), max_size=4),
    st.lists(st.tuples(st.sampled_from("abc"), st.none() | st.sampled_from([30, 70])), max_size=6),
)
def test_the_script_changes_a_tag_as_a_tag_value_is_changed(
    redis_url: str, before: dict[str, int], changes: list[tuple[str, int | None]]
) -> None:
    """``before``: the seconds that marks still hold. ``changes``: marks for seconds; renewals."""
    tested = store_for("redis")
    now = int(time.time() * 1000)
    model = TagValue("1-0", tuple((name, now + 1000 * left) for name, left in before.items()))
    cache: Any = caches["redis"]
    cache.client.get_client().set(tag_key(SCRIPTED), str(model))
    for writer, seconds in changes:
        if seconds is None:
            tested._renew([SCRIPTED], writer)
            model = model.renewed(writer, now, "fresh")
        else:
            tested._mark([SCRIPTED], writer, seconds)
            model = model.marked(writer, now, now + 1000 * seconds, "fresh")
    found = TagValue.parse(value(tested, SCRIPTED) or "")
    assert (found.token == "1-0") is (model.token == "1-0")
    assert [name for name, _ in found.marks] == [name for name, _ in model.marks]
    for (_, deadline), (_, expected) in zip(found.marks, model.marks, strict=True):
        assert 0 <= deadline - expected < 20_000


@pytest.fixture
def replies(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What Redis answers to this process."""
    read: list[Any] = []

    def noted(function: Any) -> Any:
        def noting(*args: Any, **kwargs: Any) -> Any:
            answer = function(*args, **kwargs)
            if threading.current_thread() is threading.main_thread():  # not the keeper's
                read.append(answer)
            return answer

        return noting

    monkeypatch.setattr(
        AbstractConnection, "read_response", noted(AbstractConnection.read_response)
    )
    monkeypatch.setattr(wire, "read_answer", noted(wire.read_answer))
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
    assert tokens.readable(after or "")
    assert after != before


def test_a_renewal_without_a_mark_is_waited_for(redis_url: str, replies: list[Any]) -> None:
    tested = store_for("redis")
    tested.renew([TABLE])  # may connect, which the server answers as well
    replies.clear()
    tested.renew([TABLE])
    assert len(replies) == 1


@pytest.mark.parametrize(("share", "heard"), [(0.4, 0), (0.6, 1), (1.1, 1), (1.9, 1), (2.1, 1)])
def test_a_renewal_is_waited_for_where_the_mark_may_be_over_before_it_arrives(
    redis_url: str, settings: Any, replies: list[Any], share: float, heard: int
) -> None:
    """Or one that is lost leaves the old token, and no mark that says so."""
    settings.QUERYBUDGET = {"CACHE": {"ALIAS": "redis", "MARK_TIMEOUT": 60}}
    for _ in range(2):  # the first asks whether the server can be silent
        pending = Pending("default")
        pending.add({TABLE})
        pending.marked_at -= 60 * share
        replies.clear()
        pending.renew()
    assert len(replies) == heard
    assert tokens.readable(value(store_for("redis")) or "")


def test_a_renewal_that_is_lost_on_its_way_costs_the_marks_time(redis_url: str) -> None:
    tested = store_for("redis")
    before = tested.ensure([TABLE])[TABLE]
    tested.mark([TABLE], "a", 0.3)
    cache: Any = caches["redis"]
    cache.client.get_client().script_flush()  # it will be refused, and the refusal not be read
    assert tested.renew([TABLE], "a", marked=True)
    assert not tokens.readable(value(tested) or "")  # nobody trusts it
    threading.Event().wait(0.4)
    assert value(tested) is None
    assert tested.ensure([TABLE])[TABLE] != before
    tested.mark([TABLE], "a", 60)  # loads the script again


def test_a_server_that_always_answers_is_waited_for(
    redis_url: str, settings: Any, replies: list[Any], monkeypatch: pytest.MonkeyPatch
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
    # A machine that stood still would have the pulse looked at once more.
    monkeypatch.setattr(type(tested), "_is_late", lambda _: False)
    for writer in ("a", "b"):
        tested.mark([TABLE], writer, 60)
        replies.clear()
        assert tested.renew([TABLE], writer, marked=True)
        assert tokens.readable(value(tested) or "")
    assert len(replies) == 2  # of the renewal and of the read


@pytest.fixture
def pooled(settings: Any, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Returns the store of a cache with a pool of its own, made with the given options."""
    from django_redis.pool import ConnectionFactory

    def make(**options: Any) -> Store:
        monkeypatch.setattr(ConnectionFactory, "_pools", {})
        monkeypatch.setattr(chosen, "_stores", {})
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
    monkeypatch.setattr(resilience, "PAUSE", 0.2)
    monkeypatch.setattr(chosen, "_stores", {})
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


def names(using: str = "default") -> list[str]:
    return [each.name for each in cached_queryset(Industry.objects.using(using).order_by("pk"))]


def keeps_a_list_at_anothers_insert(alias: str, *rows: str, **options: Any) -> bool:
    """Whether a list that a foreign key pins is a hit after an insert with another value of it."""
    industries = [Industry.objects.create(name=name) for name in "ab"]
    for name in rows:
        industries[0].subcategories.create(name=name)
    with override_settings(QUERYBUDGET={"CACHE": {"ALIAS": alias, **options}}):

        def hits() -> int:
            before = cache_stats().hits
            pinned = Subcategory.objects.filter(industry=industries[0])
            assert [each.name for each in cached_queryset(pinned, 600)] == [*rows]
            return cache_stats().hits - before

        assert [hits(), hits()] == [0, 1]
        industries[1].subcategories.create(name="another")
        return bool(hits())


@pytest.mark.parametrize("rows", [(), ("one",)], ids=["no rows", "a row"])
def test_a_foreign_key_pins_a_list_where_writers_are_told_apart(
    alias: str, rows: tuple[str, ...]
) -> None:
    """Elsewhere a writer of older code could not be noticed."""
    apart = isinstance(store_for(alias), RedisStore | ProcessStore)
    assert keeps_a_list_at_anothers_insert(alias, *rows) is apart


@pytest.mark.parametrize("alias", ["locmem"], indirect=True)
def test_without_marks_the_rows_of_a_list_are_not_read_one_after_the_other(alias: str) -> None:
    """A write changes its tags so, too, and no mark tells that it is half done."""
    assert not keeps_a_list_at_anothers_insert(alias, "one", IN_FLIGHT_MARKS=False)


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
    _close(store_for("own"))
    Industry.objects.update(name="b")
    assert names() == ["b"]
    hidden.rename(socket)
    _wait_until_trusted()
    assert names() == ["b"]


def test_what_a_dead_server_is_owed_is_put_when_it_is_back(own_redis: Redis) -> None:
    tested = store_for("own")
    before = tested.ensure([TABLE])
    socket, hidden = own_redis.folder / "socket", own_redis.folder / "hidden"
    socket.rename(hidden)
    _close(tested)
    assert tested.renew([TABLE]) is False
    assert tested.mark([TABLE], "a", 60) is False
    assert cache_stats().waits == 1  # the second knew
    hidden.rename(socket)
    _wait_until_trusted()
    mark = value(tested)
    assert mark is not None
    assert mark.partition("|")[0] != before[TABLE]
    assert "|a@" in mark


def _close(tested: Any) -> None:
    """Close all connections to the server, so that the next use opens one."""
    tested.cache.client.disconnect()
    for connection in list(tested._wire._idle):
        connection.disconnect()


def test_the_keeper_of_a_cache_that_is_taken_out_of_the_settings_ends_without_an_error() -> None:
    raised: list[BaseException] = []

    def close() -> None:
        try:
            BackendStore("taken out")._close_own()
        except BaseException as error:  # told to the test's own thread
            raised.append(error)

    keeper = threading.Thread(target=close, name="querybudget-taken out")
    keeper.start()
    keeper.join()
    assert not raised


def test_a_cache_that_refuses_by_its_return_value_is_owed_what_it_refused(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CACHES = {
        **settings.CACHES,
        "refusing": {"BACKEND": "tests.cache.test_store.RefusingCache"},
    }
    monkeypatch.setattr(chosen, "_stores", {})
    tested = store_for("refusing")
    assert tested.renew([TABLE]) is False
    assert tested.distrusted
    assert tested.read(None, [TABLE]) is None


def test_an_entry_that_is_too_large_is_not_stored_and_nothing_else(
    alias: str, settings: Any
) -> None:
    settings.QUERYBUDGET = {"CACHE": {"ALIAS": alias, "MAX_BYTES": 100}}
    tested = store_for(alias)
    cache_stats(reset=True)
    assert tested.write("qb:e:1", b"x" * 101, 60) is False
    assert tested.write("qb:e:1", b"x" * 100, 60) is True
    assert cache_stats().not_stored == {"larger than MAX_BYTES": 1}
    assert not tested.distrusted


@pytest.mark.memcached
@pytest.mark.parametrize("alias", ["memcached"], indirect=True)
def test_what_memcached_refuses_is_one_entry_not_stored(alias: str, settings: Any) -> None:
    settings.QUERYBUDGET = {"CACHE": {"ALIAS": alias, "MAX_BYTES": 0}}
    tested = store_for(alias)
    token = tested.ensure([TABLE])
    cache_stats(reset=True)
    assert tested.write("qb:e:1", b"x" * 3_000_000, 60) is False
    assert cache_stats().not_stored == {"the cache did not take it": 1}
    assert not tested.distrusted
    assert read(tested, "qb:e:1", [TABLE]) == (None, token)


def test_a_write_to_a_row_that_nobody_cached_leaves_no_token(redis_url: str) -> None:
    tested, row = store_for("redis"), "x:r:a:1"
    tested.renew([row, TABLE])
    assert tested.mark([row, TABLE], "a", 60)
    assert tested._read(None, [row])[1][row].startswith("|a@")
    assert tested.renew([row, TABLE], "a")
    assert tested._read(None, [row, TABLE])[1].keys() == {TABLE}
    token = tested.ensure([row])
    assert tested.renew([row])
    assert tested._read(None, [row])[1] not in ({}, token)


class RefusingCache(LocMemCache):
    """What memcached does when it takes nothing: it says which keys failed."""

    def set_many(self, data: Any, timeout: Any = None, version: Any = None) -> list[Any]:
        return list(data)


@pytest.mark.parametrize("alias", ["database"], indirect=True)
def test_a_stores_own_statements_are_not_watched(alias: str) -> None:
    cache_stats(reset=True)
    assert store_for(alias).renew([TABLE])
    assert cache_stats().invalidations == 1
    assert cache_stats().marks == 0
