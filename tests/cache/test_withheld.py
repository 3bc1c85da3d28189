"""NEVER_STORE: no value of what it names is ever written to a cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.cache import caches
from django.db.models import Case, F, Max, OuterRef, Prefetch, QuerySet, Subquery, Value, When
from django.db.models.expressions import RawSQL
from django.db.models.functions import Concat, Lower

from accounts.models import CustomUser, Profile
from django_querybudget.cache import cache_stats, cached_queryset
from jobs.models import Job
from tests.cache import world
from tests.cache.hosts.models import Secret, Shelf
from tests.cache.relations.models import Bistro

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = "Tr0ub4dor"
Wrap = Callable[[QuerySet[Any]], Any]


@pytest.fixture(autouse=True)
def rows(settings: Any) -> Iterator[None]:
    caches["default"].clear()
    world.fill("default")
    CustomUser.objects.update(email=Concat(Value(SECRET), "username"))
    Bistro.objects.update(name=SECRET)
    shelf = Shelf.objects.create(name="a")
    Secret.objects.create(shelf=shelf, word=SECRET)
    settings.QUERYBUDGET = {
        "CACHE": {
            "NEVER_STORE": [
                "accounts.CustomUser.email", "relations.Bistro.name", "hosts.Secret.word",
            ]
        }
    }  # fmt: skip
    cache_stats(reset=True)
    yield
    caches["default"].clear()


HOLD: dict[str, Callable[[Wrap], Any]] = {
    "rows": lambda c: list(c(CustomUser.objects.all())),
    "one row": lambda c: c(CustomUser.objects.all()).get(pk=1),
    "joined": lambda c: list(c(Job.objects.select_related("client"))),
    "values": lambda c: list(c(CustomUser.objects.values("email"))),
    "flat": lambda c: list(c(Job.objects.values_list("client__email", flat=True))),
    "another name": lambda c: list(c(Job.objects.annotate(m=F("client__email")).values("m"))),
    "a function of it": lambda c: list(c(CustomUser.objects.values(m=Lower("email")))),
    "a case": lambda c: list(c(CustomUser.objects.only("pk").annotate(m=Case(When(pk=1, then="email"))))),  # noqa: E501
    "an aggregate": lambda c: c(CustomUser.objects.all()).aggregate(Max("email")),
    "a subquery": lambda c: list(
        c(
            Job.objects.annotate(
                m=Subquery(CustomUser.objects.filter(pk=OuterRef("client")).values("email")[:1])
            )
        )
    ),
    "prefetched": lambda c: list(c(Profile.objects.prefetch_related("user"))),
    "prefetched by name": lambda c: list(
        c(Profile.objects.prefetch_related(Prefetch("user", CustomUser.objects.all())))
    ),
    "iterated": lambda c: list(c(CustomUser.objects.all()).iterator()),
    "a raw expression": lambda c: list(
        c(Profile.objects.annotate(m=RawSQL("SELECT max(EMAIL) FROM accounts_customuser", [])))
    ),
    "a union": lambda c: list(
        c(
            CustomUser.objects.order_by()
            .values_list("email")
            .union(Job.objects.order_by().values_list("title"))
        )
    ),
    "an inherited column": lambda c: list(c(Bistro.objects.all())),
    "decrypted": lambda c: list(c(Secret.objects.all())),
}  # fmt: skip


def held() -> str:
    cache: Any = caches["default"]
    return "".join(map(repr, cache._cache.values()))


@pytest.mark.parametrize("name", HOLD)
def test_a_query_that_holds_a_withheld_field_is_not_stored(name: str, settings: Any) -> None:
    HOLD[name](cached_queryset)
    assert SECRET.lower() not in held().lower()
    reasons = {**cache_stats().bypasses, **cache_stats().not_stored}
    assert {reason.partition(" in ")[2] for reason in reasons} == {"NEVER_STORE"}
    # Without the setting it is there: the test can see it.
    settings.QUERYBUDGET = {"CACHE": {}}
    HOLD[name](cached_queryset)
    assert SECRET.lower() in held().lower() or SECRET[::-1] in held()


def test_a_decorated_function_is_not_stored_either() -> None:
    @cached_queryset
    def users(pk: int) -> Any:
        return CustomUser.objects.filter(pk=pk)

    for _ in range(3):
        assert [user.email for user in users(1)] == [f"{SECRET}user1"]
    assert SECRET not in held()
    assert not cache_stats().hits


def test_what_does_not_name_it_is_cached() -> None:
    reads = [
        lambda: list(cached_queryset(CustomUser.objects.order_by("pk").defer("email"))),
        lambda: cached_queryset(CustomUser.objects.all()).count(),
        lambda: cached_queryset(CustomUser.objects.filter(pk=1)).exists(),
        lambda: list(cached_queryset(Job.objects.filter(client__username="user1"))),
    ]
    for read in reads * 2:
        read()
    assert cache_stats().hits == len(reads)
    assert SECRET not in held()


def test_a_model_is_withheld_as_a_whole(settings: Any) -> None:
    settings.QUERYBUDGET = {"CACHE": {"NEVER_STORE": ["accounts.CustomUser"]}}
    list(cached_queryset(CustomUser.objects.only("pk")))
    assert cache_stats().bypasses == {"accounts.CustomUser in NEVER_STORE": 1}


@pytest.mark.parametrize("names", ["accounts.CustomUser", ["accounts.CustomUser.mail"], [1], 1])
def test_a_mistake_stores_nothing(names: Any, settings: Any) -> None:
    settings.QUERYBUDGET = {"CACHE": {"NEVER_STORE": names}}
    list(cached_queryset(CustomUser.objects.all()))
    assert SECRET not in held()
    assert cache_stats().bypasses == {'QUERYBUDGET["CACHE"]["NEVER_STORE"] is wrong': 1}
