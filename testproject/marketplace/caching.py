"""Calls every endpoint in its cached version: cold, warm, and after each kind of write."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from django.db import connection, transaction
from django.db.models import F
from django.test import Client
from django.urls import reverse

from accounts.models import CustomUser, Profile
from django_querybudget import capture_queries
from django_querybudget.cache.stores.chosen import store_for
from django_querybudget.conf import conf
from jobs.models import Application, ApplicationStatus, Job, Subcategory
from marketplace.measuring import NAMES
from payment.models import Payment, PaymentStatus
from rating.models import Review

BACKEND = "accounts.backends.CachedUserBackend"


@dataclass(frozen=True, kw_only=True)
class CachedEndpoint:
    """What was measured of one endpoint's cached version."""

    name: str
    """The endpoint's name in the URLconf."""
    cold: int
    """Queries of the first call."""
    warm: int
    """Queries of the second call."""
    cold_trips: int
    """Round trips to the cache of the first call, the look-up of the user among them."""
    warm_trips: int
    """Round trips to the cache of the second call."""
    optimised_ms: float
    """How long the optimised version takes, in milliseconds."""
    warm_ms: float
    """How long the cached version takes when it is warm, in milliseconds."""
    changed: tuple[str, ...]
    """The writes that changed what it answers."""
    dropped: tuple[str, ...]
    """The writes after which it was made anew: the others have left it in the cache."""
    wrong: tuple[str, ...]
    """The writes after which it answered with something else than the optimised version."""


@dataclass(frozen=True, kw_only=True)
class Write:
    """One kind of write, which changes what some endpoints answer."""

    name: str
    run: Callable[[CustomUser, Job], object]


def _save(user: CustomUser, job: Job) -> None:
    job.title = f"{job.title}!"
    job.save()


def _raw(user: CustomUser, job: Job) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE accounts_profile SET avatar = %s WHERE user_id = %s", ["x", user.pk])


def _in_transaction(user: CustomUser, job: Job) -> None:
    with transaction.atomic():
        Job.objects.filter(pk=job.pk).update(budget=F("budget") + 1)
        Application.objects.filter(job=job).update(status=ApplicationStatus.SHORTLISTED)


def _bulk_create(user: CustomUser, job: Job) -> None:
    Review.objects.bulk_create(
        [Review(reviewed=user, reviewer=job.client, job=job, rating=1)], ignore_conflicts=True
    )


def _bulk_update(user: CustomUser, job: Job) -> None:
    payments = list(Payment.objects.filter(payer=user)[:20])
    for payment in payments:
        payment.status = PaymentStatus.PAID
    Payment.objects.bulk_update(payments, ["status"])


WRITES = (
    Write(name="save()", run=_save),
    Write(
        name="update()",
        run=lambda user, job: CustomUser.objects.filter(pk=user.pk).update(first_name="New"),
    ),
    Write(name="raw SQL", run=_raw),
    Write(name="atomic()", run=_in_transaction),
    Write(name="bulk_create()", run=_bulk_create),
    Write(name="bulk_update()", run=_bulk_update),
    Write(
        name="m2m add()",
        run=lambda user, job: job.subcategories.add(*Subcategory.objects.all()[:3]),
    ),
    Write(
        name="update_or_create()",
        run=lambda user, job: Profile.objects.update_or_create(
            user=user, defaults={"headline": "New"}
        ),
    ),
    Write(name="delete()", run=lambda user, job: job.applications.all().delete()),
    Write(
        name="cascade",
        run=lambda user, job: Review.objects.filter(reviewed=user).first().delete(),  # type: ignore[union-attr]
    ),
)


@contextmanager
def counted_trips() -> Iterator[list[str]]:
    """Note each round trip to the cache in the block, as a Redis would have it."""
    store: Any = store_for(conf.CACHE.ALIAS)
    made: list[str] = []
    under_way: list[str] = []

    def noting(name: str, trip: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*args: Any, **kwargs: Any) -> Any:
            if not under_way:  # else a part of one, where the cache has no scripts
                made.append(name)
            under_way.append(name)
            try:
                return trip(*args, **kwargs)
            finally:
                under_way.pop()

        return noted

    names = ("_read", "_ensure", "_write", "_take", "_drop")
    for name in names:
        setattr(store, name, noting(name, getattr(store, name)))
    try:
        yield made
    finally:
        for name in names:
            delattr(store, name)


@dataclass(frozen=True, kw_only=True)
class _Call:
    body: bytes
    queries: int
    trips: int
    ms: float


def measure_cached(user: CustomUser, job: Job) -> list[CachedEndpoint]:
    """Measure the seven endpoints as ``user``, and check them after each of :data:`WRITES`.

    The writes are committed: what the database holds is changed a little.
    """
    optimised, cached = Client(), Client()
    optimised.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    cached.force_login(user, backend=BACKEND)
    parameters = {"job-details": {"id": job.pk}}

    def call(client: Client, version: str, name: str) -> _Call:
        with counted_trips() as trips, capture_queries() as log:
            start = perf_counter()
            response = client.get(reverse(f"{version}:{name}"), parameters.get(name, {}))
            seconds = perf_counter() - start
        return _Call(body=response.content, queries=log.count, trips=len(trips), ms=seconds * 1000)

    def fastest(client: Client, version: str, name: str) -> _Call:
        return min((call(client, version, name) for _ in range(5)), key=lambda each: each.ms)

    def answers() -> dict[str, bytes]:
        return {name: call(optimised, "optimised", name).body for name in NAMES}

    cold = {name: call(cached, "cached", name) for name in NAMES}
    true = answers()
    warm = {name: fastest(cached, "cached", name) for name in NAMES}
    usual = {name: fastest(optimised, "optimised", name) for name in NAMES}
    changed: dict[str, list[str]] = {name: [] for name in NAMES}
    dropped: dict[str, list[str]] = {name: [] for name in NAMES}
    wrong: dict[str, list[str]] = {name: [] for name in NAMES}
    for write in WRITES:
        write.run(user, job)
        before, true = true, answers()
        for name in NAMES:
            # Twice: what the first call stored has to be right, too.
            first, second = (call(cached, "cached", name) for _ in range(2))
            if before[name] != true[name]:
                changed[name].append(write.name)
            if first.queries:
                dropped[name].append(write.name)
            if {first.body, second.body} != {true[name]}:
                wrong[name].append(write.name)
    return [
        CachedEndpoint(
            name=name,
            cold=cold[name].queries,
            warm=warm[name].queries,
            cold_trips=cold[name].trips,
            warm_trips=warm[name].trips,
            optimised_ms=usual[name].ms,
            warm_ms=warm[name].ms,
            changed=tuple(changed[name]),
            dropped=tuple(dropped[name]),
            wrong=tuple(wrong[name]),
        )
        for name in NAMES
    ]
