"""What must be refused by name, and what may stand under our key and must harm nobody."""

from __future__ import annotations

import asyncio
import logging
import pickle
import threading
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from django.core.cache import caches
from django.db import transaction

from django_querybudget.cache import cache_stats, cached_queryset, invalidate, invalidate_all
from django_querybudget.cache.payload import entries
from django_querybudget.cache.stores import chosen
from django_querybudget.cache.tables import DECIDING, tables
from jobs.models import Industry

pytestmark = pytest.mark.django_db(transaction=True)

HARM: list[str] = []


def harm(what: str) -> None:
    HARM.append(what)


class Bomb:
    """What runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return harm, ("harm",)


@pytest.fixture(autouse=True)
def row(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    del redis_url
    for alias in ("default", "redis"):
        caches[alias].clear()
    HARM.clear()
    monkeypatch.setattr(entries, "_logged_at", float("-inf"))
    Industry.objects.create(name="i")
    cache_stats(reset=True)


def names() -> list[str]:
    return [each.name for each in cached_queryset(Industry.objects.order_by("pk"))]


@pytest.mark.parametrize(
    ("timeout", "error"),
    [
        (float("inf"), ValueError),
        (float("-inf"), ValueError),
        (float("nan"), ValueError),
        (-0.5, ValueError),
        (2**31, ValueError),
        (10**400, ValueError),
        (False, TypeError),
        (b"60", TypeError),
        (Decimal(60), TypeError),
        (60j, TypeError),
        ([60], TypeError),
    ],
    ids=lambda value: getattr(value, "__name__", repr(value)[:12]),
)
@pytest.mark.parametrize("form", ["queryset", "decorator"])
def test_a_timeout_that_is_none_is_named(form: str, timeout: Any, error: type[Exception]) -> None:
    queryset: Any = Industry.objects.all() if form == "queryset" else None
    with pytest.raises(error, match=r"^timeout must be"):
        cached_queryset(queryset, timeout)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [({"cache": "none"}, ValueError), ({"key": 1}, TypeError), ({"tags": "a"}, TypeError)],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else value.__name__,
)
def test_the_decorator_names_a_bad_argument_before_it_has_a_function(
    arguments: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error, match=f"^{next(iter(arguments))}"):
        cached_queryset(**arguments)


@pytest.mark.parametrize(
    "argument",
    [{1}, bytearray(), threading.Lock(), (number for number in ()), ([1],), Industry(name="new")],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("how", ["by position", "by name", "among others", "in invalidate"])
def test_an_argument_that_cannot_be_hashed_or_pickled_is_named(how: str, argument: Any) -> None:
    @cached_queryset
    def rows(name: Any = None, *others: Any) -> Any:
        return Industry.objects.all()

    call: Any = rows
    wrong = "others" if how == "among others" else "name"
    calls: dict[str, Callable[[], Any]] = {
        "by position": lambda: call(argument),
        "by name": lambda: call(name=argument),
        "among others": lambda: call("a", "b", argument),
        "in invalidate": lambda: call.invalidate(argument),
    }
    with pytest.raises(TypeError, match=rf"argument '{wrong}' of .*rows\(\)"):
        calls[how]()


def test_an_evaluated_queryset_may_be_wrapped_by_its_all() -> None:
    evaluated = Industry.objects.all()
    assert len(evaluated) == 1
    with pytest.raises(ValueError, match=r"^queryset has been evaluated already"):
        cached_queryset(evaluated)
    assert len(cached_queryset(evaluated.all())) == 1


STORED: dict[str, Any] = {
    "nothing": b"",
    "a pickle": pickle.dumps({"a": 1}),
    "half of an entry": b"qb4\n[[",
    "a text": "qb4",
    "a number": 7,
    "an object": {"a": 1},
}


@pytest.mark.parametrize("stored", STORED)
def test_what_is_no_entry_is_a_miss_and_logged_once(
    stored: str, caplog: pytest.LogCaptureFixture
) -> None:
    cache: Any = caches["default"]
    names()
    [key] = [key.rpartition(":1:")[2] for key in cache._cache if "qb:e:" in key]
    with caplog.at_level(logging.WARNING, logger="django_querybudget"):
        for _ in range(3):
            cache.set(key, STORED[stored])
            assert names() == ["i"]
    [record] = caplog.records
    assert key in record.getMessage()
    assert "taken for a miss" in record.getMessage()
    cache_stats(reset=True)
    assert names() == ["i"]
    assert cache_stats().hits == 1  # it was stored anew


def test_a_pickle_under_our_key_in_redis_runs_nothing(settings: Any) -> None:
    """Where the host's own reads unpickle, ours do not."""
    settings.QUERYBUDGET = {"CACHE": {"ALIAS": "redis"}}
    names()
    cache: Any = caches["redis"]
    client = cache.client.get_client()
    keys = client.keys("*qb:*")
    assert any(b"qb:e:" in key for key in keys)
    assert any(b"qb:t:" in key for key in keys)
    for key in keys:
        client.set(key, pickle.dumps(Bomb()))
    assert names() == names() == ["i"]
    Industry.objects.update(name="j")
    assert names() == names() == ["j"]
    assert HARM == []
    assert cache_stats().errors == 0
    pickle.loads(pickle.dumps(Bomb()))  # noqa: S301  # that it would have been heard of
    assert HARM == ["harm"]


def test_async_code_gets_the_same_refusals() -> None:
    async def read() -> None:
        cached_queryset(Industry.objects.all(), "60")  # type: ignore[call-overload]

    with pytest.raises(TypeError, match=r"^timeout must be"):
        asyncio.run(read())


def test_what_is_decorated_has_to_be_a_function_with_a_name() -> None:
    def industries(number: int) -> Any:
        return Industry.objects.all()[:number]

    for wrong, hint in [
        (partial(industries, 1), "write a function"),
        (staticmethod(industries), "put @staticmethod above it"),
        (classmethod(industries), "put @classmethod above it"),
        (Industry, "decorates a function"),
    ]:
        with pytest.raises(TypeError, match=hint):
            cached_queryset(timeout=3)(wrong)


def test_a_timeout_without_its_name_is_told_from_a_queryset() -> None:
    with pytest.raises(TypeError, match="queryset must be a QuerySet, not int: write timeout=60"):
        cached_queryset(60)  # type: ignore[call-overload]


def test_a_related_manager_is_no_queryset() -> None:
    industry: Any = Industry.objects.get()
    with pytest.raises(TypeError, match=r"RelatedManager: call \.all\(\)"):
        cached_queryset(industry.jobs)


def test_what_cannot_be_invalidated_is_named() -> None:
    @cached_queryset(timeout=60)
    def industries() -> Any:
        return Industry.objects.all()

    with pytest.raises(TypeError, match=r"Its own invalidate\(\) takes its arguments"):
        invalidate(industries)
    with pytest.raises(TypeError, match="takes the alias of a database, not <class"):
        invalidate_all(Industry)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="empty text"):
        invalidate("")


@pytest.mark.parametrize("alias", ["nowhere", "broken"])
def test_a_cache_that_is_not_there_is_logged_once_and_read_by_nobody(
    alias: str, settings: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that serves requests runs no checks."""
    monkeypatch.setattr(chosen, "_stores", {})
    settings.CACHES = {**settings.CACHES, "broken": {"BACKEND": "no.such.Backend"}}
    settings.QUERYBUDGET = {"CACHE": {"ALIAS": alias}}
    for name in ("first", "second"):
        Industry.objects.update(name=name)
        assert names() == [name]
        with transaction.atomic():
            Industry.objects.create(name="third")
            assert names() == [name, "third"]
            transaction.set_rollback(True)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert f"Nothing is cached in '{alias}'" in caplog.text
    assert cache_stats().hits == 0


def test_a_scope_that_is_no_field_is_logged_and_left_out(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    scopes = {"jobs.Industry": ["nothing"], "jobs.Job": ["client"]}
    settings.QUERYBUDGET = {"CACHE": {"SCOPES": scopes}}
    assert names() == ["i"]
    Industry.objects.update(name="j")
    assert names() == ["j"]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "names 'nothing' of jobs.Industry, which is no field of it" in caplog.text
    assert set(tables().tables["jobs_job"].scopes) == {"client_id"}


@pytest.mark.parametrize("name", DECIDING)
def test_a_setting_that_decides_the_tables_makes_them_anew(name: str, settings: Any) -> None:
    settings.QUERYBUDGET = {"CACHE": {"TIMEOUT": 60}}
    known = tables()
    assert tables() is known
    settings.QUERYBUDGET = {"CACHE": {"TIMEOUT": 60, name: {}}}
    assert tables() is not known


def test_a_cache_that_keeps_nothing_is_named_as_such(settings: Any) -> None:
    dummy = {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}
    settings.CACHES = {**settings.CACHES, "dummy": dummy}
    settings.QUERYBUDGET = {"CACHE": {"ALIAS": "dummy"}}
    for name in ("first", "second"):
        Industry.objects.update(name=name)
        assert names() == [name]
    assert cache_stats().not_stored == {"the cache kept no token": 2}
