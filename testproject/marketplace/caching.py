"""Calls every endpoint in its cached version: cold, warm, and after each kind of write."""

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

from django.db import connection, transaction
from django.db.models import F
from django.test import Client
from django.urls import reverse

from accounts.models import CustomUser, Profile
from django_querybudget import capture_queries
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
    optimised_ms: float
    """How long the optimised version takes, in milliseconds."""
    warm_ms: float
    """How long the cached version takes when it is warm, in milliseconds."""
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


def measure_cached(user: CustomUser, job: Job) -> list[CachedEndpoint]:
    """Measure the seven endpoints as ``user``, and check them after each of :data:`WRITES`.

    The writes are committed: what the database holds is changed a little.
    """
    optimised, cached = Client(), Client()
    optimised.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    cached.force_login(user, backend=BACKEND)
    parameters = {"job-details": {"id": job.pk}}

    def call(client: Client, version: str, name: str) -> tuple[bytes, int, float]:
        with capture_queries() as log:
            start = perf_counter()
            response = client.get(reverse(f"{version}:{name}"), parameters.get(name, {}))
            seconds = perf_counter() - start
        return response.content, log.count, seconds * 1000

    cold = {name: call(cached, "cached", name)[1] for name in NAMES}
    call(optimised, "optimised", NAMES[0])
    warm = {name: min(call(cached, "cached", name)[1:] for _ in range(5)) for name in NAMES}
    usual = {name: min(call(optimised, "optimised", name)[2] for _ in range(5)) for name in NAMES}
    wrong: dict[str, list[str]] = {name: [] for name in NAMES}
    for write in WRITES:
        write.run(user, job)
        for name in NAMES:
            expected = call(optimised, "optimised", name)[0]
            # Twice: what the first call stored has to be right, too.
            if {call(cached, "cached", name)[0] for _ in range(2)} != {expected}:
                wrong[name].append(write.name)
    return [
        CachedEndpoint(
            name=name,
            cold=cold[name],
            warm=warm[name][0],
            optimised_ms=usual[name],
            warm_ms=warm[name][1],
            wrong=tuple(wrong[name]),
        )
        for name in NAMES
    ]
