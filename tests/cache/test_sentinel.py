"""A failover under Sentinel: the cache goes on, and nothing stale comes back.

As docs/explanation/caching.rst promises it: a failover that loses the last writes of the old
primary loses renewals, so here the replica has them all before the primary dies.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches

from django_querybudget.cache import cache_stats, cached_queryset
from django_querybudget.cache.stores import chosen
from django_querybudget.cache.stores.chosen import store_for
from django_querybudget.cache.stores.redis import RedisStore
from jobs.models import Industry
from tests.cache.own_sentinel import OwnSentinel

pytestmark = pytest.mark.once

PATIENCE = 60.0


@pytest.fixture
def sentinel(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    servers = OwnSentinel(tmp_path)
    settings.CACHES = {
        **settings.CACHES,
        "sentinel": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": f"redis://{servers.service}/0",
            "OPTIONS": {
                "CLIENT_CLASS": "django_redis.client.SentinelClient",
                "CONNECTION_FACTORY": "django_redis.pool.SentinelConnectionFactory",
                "SENTINELS": [("127.0.0.1", servers.sentinel)],
            },
        },
    }
    settings.QUERYBUDGET = {"CACHE": {"ALIAS": "sentinel"}}
    monkeypatch.setattr(chosen, "_stores", {})
    cache_stats(reset=True)
    try:
        servers.start()
        yield servers
    finally:
        caches["sentinel"].close()
        servers.stop()


def names() -> list[str]:
    return [each.name for each in cached_queryset(Industry.objects.order_by("pk"))]


def wait_until_trusted() -> None:
    deadline = time.monotonic() + PATIENCE
    while store_for("sentinel").distrusted:
        assert time.monotonic() < deadline, "the cache did not come back"
        time.sleep(0.05)


@pytest.mark.django_db(transaction=True)
def test_the_cache_goes_on_after_a_failover(sentinel: OwnSentinel) -> None:
    assert isinstance(store_for("sentinel"), RedisStore)
    Industry.objects.create(name="a")
    assert names() == names() == ["a"]
    assert cache_stats().hits == 1
    Industry.objects.update(name="b")
    assert names() == names() == ["b"]
    sentinel.replicated()
    sentinel.fail_over()
    Industry.objects.update(name="c")  # whether the client has noticed or not: no error
    assert names() == ["c"]
    wait_until_trusted()
    assert names() == ["c"]
    Industry.objects.update(name="d")
    wait_until_trusted()
    assert names() == ["d"]
    cache_stats(reset=True)
    assert names() == ["d"]
    assert (cache_stats().hits, cache_stats().errors) == (1, 0)


@pytest.mark.django_db(transaction=True)
def test_a_write_while_there_is_no_primary_is_renewed_after_the_failover(
    sentinel: OwnSentinel,
) -> None:
    Industry.objects.create(name="a")
    assert names() == names() == ["a"]
    sentinel.replicated()
    process = sentinel.processes[sentinel.primary]
    process.kill()
    process.wait()
    Industry.objects.update(name="b")
    assert names() == ["b"]
    sentinel.fail_over()  # the replica still has the entry, and its tokens
    wait_until_trusted()
    assert names() == names() == ["b"]
