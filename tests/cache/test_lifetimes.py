"""How long what the cache holds lives: entries by their timeout, tokens of rows for a day."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
import redis

from django_querybudget.cache import cache_stats, cached_queryset
from jobs.models import Industry
from payment.models import Payment
from tests.cache import world

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.once]

DAY = 24 * 3600
OF_A_FEW = (":r:", ":s:", ":v:", ":V:", ":c:", ":k:", ":w:")
"""Kinds of tags of a few rows: of rows, scopes, and of lists that a foreign key pins."""
BACKENDS = {
    "django-redis": "django_redis.cache.RedisCache",
    "django's redis": "django.core.cache.backends.redis.RedisCache",
}


@pytest.fixture(params=BACKENDS)
def server(request: pytest.FixtureRequest, settings: Any, redis_url: str) -> Iterator[Any]:
    """The server behind the cache, whose keys begin with a prefix of this test's own."""
    prefix = f"{uuid4().hex}:"
    settings.CACHES = {
        **settings.CACHES,
        "lived": {
            "BACKEND": BACKENDS[request.param], "LOCATION": redis_url, "KEY_PREFIX": prefix,
            "TIMEOUT": 7,  # the cache's own, which is nobody's here
        },
    }  # fmt: skip
    settings.QUERYBUDGET = {
        "CACHE": {
            "ALIAS": "lived", "TOKEN_PREFIX": prefix, "RECOVERY_TIME": 0,
            "SCOPES": {"payment.Payment": ["payer"]},
        }
    }  # fmt: skip
    world.fill("default")
    with redis.Redis.from_url(redis_url) as client:
        client.prefix = prefix  # type: ignore[attr-defined]  # for the test
        yield client


def seconds(server: Any) -> dict[str, list[int | None]]:
    """Return how long the entries live, the tokens of rows, scopes, lists and tags, the others."""
    found: dict[str, list[int | None]] = {"entries": [], "rows": [], "tables": []}
    for key in server.scan_iter(match=f"{server.prefix}*", count=1000):
        name = key.decode().removeprefix(server.prefix)
        if not any(part in name for part in ("qb:e:", "qb:t:")) or name.endswith("q:beat"):
            continue  # the cache's own: its pulse, statistics, leases
        life = server.pttl(key)
        kind = "tables"
        if "qb:e:" in name:
            kind = "entries"
        elif any(part in name for part in (*OF_A_FEW, "qb:t:u:")):
            kind = "rows"
        found[kind].append(None if life == -1 else round(life / 1000))
    return found


def read(timeout: float | None) -> None:
    cached_queryset(Industry.objects.all(), timeout, tags=["mine"]).get(pk=1)
    list(cached_queryset(Payment.objects.filter(payer=2), timeout))


@pytest.mark.parametrize("timeout", [300, None])
def test_an_entry_lives_as_long_as_it_is_told(server: Any, timeout: int | None) -> None:
    read(timeout)
    found = seconds(server)
    assert found["entries"] == [timeout] * 2
    assert len(found["rows"]) >= 3  # besides, those of scopes that were written
    assert all(life is not None and DAY - 60 < life <= DAY for life in found["rows"])
    assert found["tables"]
    assert set(found["tables"]) == {None}


def test_an_answer_for_ever_ends_with_the_token_of_its_row(server: Any) -> None:
    for _ in range(2):
        read(None)
    assert cache_stats().hits
    for key in server.scan_iter(match=f"{server.prefix}*", count=1000):
        if ":r:" in key.decode():
            server.delete(key)
    cache_stats(reset=True)
    Industry.objects.filter(pk=1).update(name="new")  # a row without a token
    for _ in range(2):
        row = cached_queryset(Industry.objects.all(), None, tags=["mine"]).get(pk=1)
        assert row.name == "new"
    assert (cache_stats().misses, cache_stats().hits) == (1, 1)
