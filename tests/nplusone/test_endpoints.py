"""The testproject's naive endpoints, with all that is suggested written into their source."""

from __future__ import annotations

import types
from types import ModuleType
from typing import Any

import pytest
from django.db import models
from django.test import Client, override_settings
from django.urls import include, path

import accounts.models
import accounts.views_naive
import jobs.models
import jobs.views_naive
import payment.views_naive
import rating.views_naive
from django_querybudget import capture_queries
from django_querybudget.nplusone import Cause, Finding, find_nplusone
from django_querybudget.nplusone.eager import watch_eager_loads
from django_querybudget.recording.records import QueryLog
from marketplace.measuring import NAMES
from marketplace.sample_data import fill
from marketplace.urls import endpoints

from .applying import Applied, removals_of

VIEWS = {
    "jobs": jobs.views_naive,
    "accounts": accounts.views_naive,
    "payment": payment.views_naive,
    "rating": rating.views_naive,
}
BUDGET = 3


@pytest.fixture
def visitor(db: None) -> Client:
    fill(0.1)
    client = Client()
    client.force_login(accounts.models.CustomUser.objects.order_by("pk")[0])
    return client


def _ask(client: Client, name: str) -> tuple[QueryLog, bytes]:
    job = jobs.models.Job.objects.annotate(n=models.Count("applications")).order_by("-n", "pk")[0]
    parameters = {"id": job.pk} if name == "job-details" else {}
    with capture_queries() as log:
        response = client.get(f"/naive/{name}", parameters)
    assert response.status_code == 200
    return log, response.content


def _unread(client: Client, name: str) -> tuple[Finding, ...]:
    with watch_eager_loads() as loads:
        _ask(client, name)
    return loads.unread


def _urls(applied: Applied) -> ModuleType:
    views: Any = {name: applied.module(module) for name, module in VIEWS.items()}
    urls: Any = types.ModuleType("rewritten_urls")
    urls.urlpatterns = [path("naive/", include((endpoints(**views), "naive")))]
    return urls


@pytest.mark.parametrize("name", NAMES)
def test_every_loop_of_an_endpoint_has_a_line_to_write(visitor: Client, name: str) -> None:
    log, _ = _ask(visitor, name)
    findings = find_nplusone(log)
    assert log.count >= 10
    assert findings
    for finding in findings:
        assert finding.fix is not None or finding.use is not None, finding
        assert finding.use is None or finding.replaces is not None
        assert finding.origin is not None
        if finding.cause is not Cause.LOOKUP:
            assert finding.relation.count(".") == 1
    assert log.count - sum(finding.saves for finding in findings) <= BUDGET


@pytest.mark.parametrize("name", NAMES)
def test_with_all_suggestions_written_an_endpoint_meets_its_budget(
    visitor: Client, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, answer = _ask(visitor, name)
    findings = find_nplusone(before)
    applied = Applied(findings, removals_of(lambda: _ask(visitor, name)))
    applied.patch_models(monkeypatch)
    with override_settings(ROOT_URLCONF=_urls(applied)):
        after, same_answer = _ask(visitor, name)
        assert find_nplusone(after) == ()
        assert _unread(visitor, name) == ()
    assert same_answer == answer
    assert after.count == before.count - sum(finding.saves for finding in findings)
    assert after.count <= BUDGET


def test_joins_that_nobody_reads_are_named_with_what_to_write_instead(visitor: Client) -> None:
    unread = _unread(visitor, "payments")
    assert {finding.relation for finding in unread} == {
        "Job.industry",
        "Job.client",
        "CustomUser.wallet",
    }
    (fix,) = {finding.fix for finding in unread}
    assert fix is not None
    assert fix.code == 'Payment.objects.select_related("job", "payer", "recipient")'
    assert fix.built
