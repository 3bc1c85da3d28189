"""Tenants and releases have entries of their own, and one set of tokens."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.db import connections

from django_querybudget.cache import cache_stats, cached_queryset
from jobs.models import Industry

ROOT = Path(__file__).resolve().parents[2]

tenant = "one"


def by_tenant(key: str, prefix: str, version: int) -> str:
    """A ``KEY_FUNCTION`` as the documentation has it."""
    return f"{tenant}:{prefix}:{version}:{key}"


@pytest.fixture(params=["django_redis.cache", "django.core.cache.backends.redis"])
def backend(request: pytest.FixtureRequest) -> str:
    return f"{request.param}.RedisCache"


@pytest.mark.django_db(transaction=True)
def test_a_write_of_one_tenant_is_seen_by_the_other(
    settings: Any, redis_url: str, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CACHES = {
        **settings.CACHES,
        "tenants": {
            "BACKEND": backend,
            "LOCATION": redis_url,
            "KEY_PREFIX": uuid4().hex,
            "KEY_FUNCTION": "tests.cache.test_shared_tokens.by_tenant",
        },
    }
    settings.QUERYBUDGET = {"CACHE": {"ALIAS": "tenants", "TOKEN_PREFIX": uuid4().hex}}
    Industry.objects.create(name="a")
    names = lambda: [each.name for each in cached_queryset(Industry.objects.all())]  # noqa: E731
    cache_stats(reset=True)
    for name in ("one", "two"):
        monkeypatch.setattr("tests.cache.test_shared_tokens.tenant", name)
        assert names() == names() == ["a"]
    assert (cache_stats().misses, cache_stats().hits) == (2, 2)  # each has its own entries
    Industry.objects.update(name="b")
    for name in ("one", "two"):
        monkeypatch.setattr("tests.cache.test_shared_tokens.tenant", name)
        assert names() == ["b"]


RELEASE = """
import json, sys
import django
from django.conf import settings
database, cache, prefix = map(json.loads, sys.argv[1:])
settings.configure(
    DATABASES={"default": database}, CACHES={"default": cache},
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django_querybudget",
                    "accounts", "jobs"],
    AUTH_USER_MODEL="accounts.CustomUser", USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    QUERYBUDGET={"CACHE": {"TOKEN_PREFIX": prefix, "RECOVERY_TIME": 0}},
)
django.setup()
from django_querybudget.cache import cache_stats, cached_queryset
from jobs.models import Industry
for line in sys.stdin:
    if line.startswith("write "):
        Industry.objects.update(name=line.split()[1])
    names = [each.name for each in cached_queryset(Industry.objects.all())]
    print(json.dumps([names, cache_stats().hits]), flush=True)
"""


@contextmanager
def release(number: int, redis_url: str, backend: str, prefix: str) -> Iterator[Any]:
    """A process of one release of a site, whose ``KEY_PREFIX`` is the release's."""
    own = connections["postgres"].settings_dict
    database = {key: own[key] for key in ("ENGINE", "NAME", "USER", "PASSWORD", "HOST", "PORT")}
    cache = {"BACKEND": backend, "LOCATION": redis_url, "KEY_PREFIX": f"{prefix}r{number}"}
    process = subprocess.Popen(
        [sys.executable, "-c", RELEASE, *map(json.dumps, (database, cache, prefix))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        cwd=ROOT, env={"PYTHONPATH": ":".join([str(ROOT), *sys.path])},
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None

    def tell(what: str) -> Any:
        process.stdin.write(f"{what}\n")  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]
        return json.loads(process.stdout.readline())  # type: ignore[union-attr]

    try:
        yield tell
    finally:
        process.stdin.close()
        process.wait(timeout=20)
        process.stdout.close()


@pytest.mark.django_db(transaction=True, databases=["postgres"])
def test_two_releases_side_by_side_see_each_others_writes(redis_url: str, backend: str) -> None:
    """A rolling deployment: the old release's writes, and the new one's, in both."""
    Industry.objects.using("postgres").create(name="a")
    prefix = uuid4().hex
    with (
        release(1, redis_url, backend, prefix) as old,
        release(2, redis_url, backend, prefix) as new,
    ):
        for tell in (old, new):
            tell("read")
            names, hits = tell("read")
            assert (names, hits >= 1) == (["a"], True)
        assert old("write b")[0] == ["b"]
        assert new("read")[0] == ["b"]
        assert new("write c")[0] == ["c"]
        assert old("read")[0] == ["c"]
