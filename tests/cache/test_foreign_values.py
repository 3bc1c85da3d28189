"""What somebody else has put under the keys of tokens: a miss, replaced, and never an error."""

from __future__ import annotations

import pickle
import threading
import time
from typing import Any
from uuid import uuid4

import pytest
from django.core.cache import caches
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from django_querybudget.cache import cache_stats, cached_queryset
from django_querybudget.cache.stores.chosen import store_for
from django_querybudget.cache.stores.pulse import PULSE, beat_of
from django_querybudget.cache.stores.tag_keys import tag_key
from django_querybudget.cache.tokens import TagValue, is_known, readable, token_time
from jobs.models import Industry

pytestmark = pytest.mark.django_db(transaction=True)

TAG = "x:t:foreign"
FAR = 99_999_999_999_999
WRONG = [
    b"9" * 400,
    b"9" * 5000 + b"-00",
    b"|w@" + b"9" * 400,
    b"1-00|w@%d" % FAR,
    b"|%d" % FAR,
    b"|%d ? 0 ? 0" % FAR,
    b"| 0 0 ? 0",
    "²-00|w@²".encode(),
    b"a|b",
    b"|",
    b"\xff\xfe",
    pickle.dumps("1-00"),
    pickle.dumps({"a": 1}),
]


@pytest.fixture(params=["redis", "django's redis"])
def alias(request: pytest.FixtureRequest, settings: Any, redis_url: str) -> str:
    backend = {
        "redis": "django_redis.cache.RedisCache",
        "django's redis": "django.core.cache.backends.redis.RedisCache",
    }[request.param]
    prefix = f"{uuid4().hex}:"
    settings.CACHES = {
        **settings.CACHES,
        "foreign": {"BACKEND": backend, "LOCATION": redis_url, "KEY_PREFIX": prefix},
    }
    settings.QUERYBUDGET = {"CACHE": {"ALIAS": "foreign", "TOKEN_PREFIX": prefix}}
    return "foreign"


def put(redis_url: str, key: str, value: bytes) -> None:
    import redis

    with redis.Redis.from_url(redis_url) as client:
        client.set(key, value)


@hypothesis_settings(deadline=None, max_examples=30, suppress_health_check=list(HealthCheck))
@given(value=st.sampled_from(WRONG) | st.binary(max_size=60))
def test_a_tag_and_the_pulse_are_used_again(alias: str, redis_url: str, value: bytes) -> None:
    tested = store_for(alias)
    for tag in (TAG, PULSE):
        put(redis_url, tag_key(tag), value)
    tested.read("qb:e:foreign", [TAG])
    if not is_known(tested._read(None, [TAG])[1].get(TAG, "")):
        tested.ensure([TAG])
    answer = tested.read("qb:e:foreign", [TAG])
    for _ in range(400):  # a pulse that seems to rest is looked at by the keeper
        if answer is not None and PULSE in answer[1]:
            break
        time.sleep(0.01)
        answer = tested.read("qb:e:foreign", [TAG])
    assert answer is not None
    assert readable(answer[1][PULSE])
    assert is_known(answer[1][TAG])
    put(redis_url, tag_key(TAG), value)
    assert tested.mark([TAG], "w", 60)
    assert tested.renew([TAG], "w")
    answer = tested.read(None, [TAG])
    assert answer is not None
    assert readable(answer[1][TAG])
    assert not tested.distrusted


@pytest.mark.parametrize("value", WRONG)
def test_reads_are_right_and_soon_cached(alias: str, redis_url: str, value: bytes) -> None:
    import redis

    Industry.objects.create(name="a")
    read = lambda: [each.name for each in cached_queryset(Industry.objects.order_by("pk"))]  # noqa: E731
    assert read() == ["a"]
    with redis.Redis.from_url(redis_url) as client:
        for key in client.scan_iter(match=f"{caches[alias].key_prefix}*", count=1000):
            client.set(key, value)
    assert read() == ["a"]
    Industry.objects.update(name="b")
    assert read() == ["b"]
    cache_stats(reset=True)
    for _ in range(400):  # a pulse that seems to rest is looked at by the keeper
        assert read() == ["b"]
        if cache_stats().hits:
            break
        time.sleep(0.01)
    assert cache_stats().hits == 1
    assert cache_stats().errors == 0


@given(st.text(max_size=40) | st.sampled_from([each.decode("latin-1") for each in WRONG]))
@example("9" * 400)
@example("1-00|w@" + "9" * 5000)
def test_no_text_is_too_odd_to_read(text: str) -> None:
    assert isinstance(token_time(text), float)
    value = TagValue.parse(text)
    assert value.deadline < 10**15
    is_known(text)
    beat_of(text)
    beat_of(f"{text} 0 0 ? 0")


def test_a_round_after_the_cache_was_exchanged_is_no_failure(
    settings: Any, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The thread may be in the middle of one: nobody has asked for the new cache's store yet."""
    prefix = f"{uuid4().hex}:"
    settings.QUERYBUDGET = {"CACHE": {"ALIAS": "switched", "TOKEN_PREFIX": prefix}}
    ours = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": redis_url}
    settings.CACHES = {**settings.CACHES, "switched": ours}
    store = store_for("switched")
    assert store.read(None, ["x:t:a"])
    cache_stats(reset=True)
    its = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": redis_url}
    settings.CACHES = {**settings.CACHES, "switched": its}
    store.tend()
    assert store.read(None, ["x:t:a"]) is None
    assert cache_stats().errors == 0
    assert caplog.records == []
    assert store_for("switched") is not store


@pytest.mark.parametrize("first", ["django_redis", "django"])
def test_switching_between_the_two_clients_of_redis(
    settings: Any, redis_url: str, first: str
) -> None:
    """On one database, with the same keys: what the other has written is a miss, and replaced."""
    backends = ["django_redis.cache.RedisCache", "django.core.cache.backends.redis.RedisCache"]
    if first == "django":
        backends.reverse()
    prefix = f"{uuid4().hex}:"
    Industry.objects.create(name="a")
    settings.QUERYBUDGET = {"CACHE": {"ALIAS": "switched", "TOKEN_PREFIX": prefix}}
    cache_stats(reset=True)
    for round_, backend in enumerate([*backends, backends[0]]):
        settings.CACHES = {
            **settings.CACHES,
            "switched": {"BACKEND": backend, "LOCATION": redis_url, "KEY_PREFIX": prefix},
        }
        for _ in range(3):
            assert [each.name for each in cached_queryset(Industry.objects.all())] == ["a"]
        assert cache_stats().hits >= 2 * (round_ + 1) - round_
        assert cache_stats().errors == 0
        assert cache_stats().bypasses.get("cache failed", 0) == 0
        # The one before would refresh a pulse of its own form under the same key.
        keepers = [each.name for each in threading.enumerate()].count("querybudget-switched")
        assert keepers <= 1
