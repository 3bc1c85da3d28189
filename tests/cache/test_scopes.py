"""Declared scopes: whose entries a write leaves alone, and that it never leaves a stale one."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.cache import caches
from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext

from accounts.models import CustomUser
from django_querybudget.cache import cached_queryset
from jobs.models import Industry, Job
from payment.models import Payment

pytestmark = pytest.mark.django_db(transaction=True)

SCOPES = {"payment.Payment": ["payer", "recipient"]}


@pytest.fixture
def world(vendor_alias: str, settings: Any) -> tuple[str, list[CustomUser]]:
    caches["default"].clear()
    connections[vendor_alias].close()  # a session in which no other test has SET anything
    settings.QUERYBUDGET = {"CACHE": {"SCOPES": SCOPES, "CLOCK_SKEW": 0}}
    users = [
        CustomUser.objects.using(vendor_alias).create(username=f"u{n}", email=f"u{n}@x")
        for n in range(3)
    ]
    industry = Industry.objects.using(vendor_alias).create(name="i")
    job = Job.objects.using(vendor_alias).create(
        client=users[0], industry=industry, title="t", budget=1
    )
    for payer in users[:2]:
        Payment.objects.using(vendor_alias).create(
            payer=payer, recipient=users[2], job=job, amount=1
        )
    return vendor_alias, users


def paid_by(alias: str, user: CustomUser) -> tuple[list[str], int]:
    """Return the statuses, not the rows: of a list of rows its foreign key is enough."""
    queryset = Payment.objects.using(alias).filter(payer=user).order_by("pk")
    with CaptureQueriesContext(connections[alias]) as queries:
        statuses = list(cached_queryset(queryset.values_list("status", flat=True)))
    return statuses, len(queries)


def test_an_insert_leaves_other_scopes_alone(world: tuple[str, list[CustomUser]]) -> None:
    alias, users = world
    paid_by(alias, users[0]), paid_by(alias, users[1])
    payment = Payment.objects.using(alias).get(payer=users[1])
    Payment.objects.using(alias).create(
        payer=users[1], recipient=users[2], job=payment.job, amount=1
    )
    assert paid_by(alias, users[0]) == (["pending"], 0)
    assert paid_by(alias, users[1]) == (["pending", "pending"], 1)


def test_many_inserts_leave_other_scopes_alone(world: tuple[str, list[CustomUser]]) -> None:
    """On PostgreSQL ``bulk_create()`` sends a list for each column (UNNEST)."""
    alias, users = world
    paid_by(alias, users[0]), paid_by(alias, users[1])
    payment = Payment.objects.using(alias).get(payer=users[1])
    Payment.objects.using(alias).bulk_create(
        [
            Payment(payer=users[1], recipient=users[2], job_id=payment.job_id, amount=amount)
            for amount in (1, 2, 3)
        ]
    )
    assert paid_by(alias, users[0]) == (["pending"], 0)
    assert paid_by(alias, users[1]) == (["pending"] * 4, 1)


@pytest.mark.parametrize("form", ["save", "update", "delete", "move"])
def test_a_write_in_atomic_touches_the_rows_scopes_alone(
    world: tuple[str, list[CustomUser]], form: str
) -> None:
    alias, users = world
    paid_by(alias, users[0]), paid_by(alias, users[1])
    payment = Payment.objects.using(alias).get(payer=users[1])
    with transaction.atomic(using=alias), CaptureQueriesContext(connections[alias]) as queries:
        if form == "update":
            Payment.objects.using(alias).filter(pk=payment.pk).update(status="paid")
        elif form == "delete":
            payment.delete()
        else:
            payment.status = "paid"
            if form == "move":
                payment.payer = users[2]
            payment.save()
    assert len(queries) == 1  # the host's own statement
    expected = {"save": ["paid"], "update": ["paid"], "delete": [], "move": []}[form]
    assert paid_by(alias, users[1])[0] == expected
    precise = connections[alias].vendor != "sqlite"
    assert paid_by(alias, users[0]) == (["pending"], 0 if precise else 1)
    if form == "move":
        assert paid_by(alias, users[2])[0] == ["paid"]


def test_a_write_outside_of_atomic_touches_all_scopes(
    world: tuple[str, list[CustomUser]],
) -> None:
    alias, users = world
    paid_by(alias, users[0])
    Payment.objects.using(alias).filter(payer=users[1])[0].save()
    assert paid_by(alias, users[0]) == (["pending"], 1)
