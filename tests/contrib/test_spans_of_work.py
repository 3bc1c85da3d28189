"""OpenTelemetry: what the span of a task says, of Celery's, Django's and RQ's own packages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import django
import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.test.utils import override_settings
from django.urls import path
from opentelemetry import trace
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from redis import Redis
from rq import Queue

from django_querybudget import production
from django_querybudget.contrib.celery import receivers
from django_querybudget.contrib.opentelemetry import OpenTelemetryExporter
from django_querybudget.reports import reporters
from jobs.models import Industry
from tests.contrib import celery_tasks, rq_jobs

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]

CELERYS = "run/tests.contrib.celery_tasks."


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """The finished spans, while our exporter is there."""
    before = reporters.WORK_REPORTERS
    section = {
        "PRODUCTION": {"INTERVAL": 60},
        "NPLUSONE": "off",
        "ON_EXCEED": "log",
        "BUDGETS": {"task tests.contrib.celery_tasks.counts": 2, "task sends": 1, "view": 9},
    }
    with override_settings(QUERYBUDGET=section):
        record = production.start()
        record.add_exporter(OpenTelemetryExporter())
        yield InMemorySpanExporter()
        production.stop()
    assert before == reporters.WORK_REPORTERS


@pytest.fixture
def tracing(spans: InMemorySpanExporter) -> TracerProvider:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    return provider


def ours(spans: InMemorySpanExporter) -> dict[str, list[dict[str, Any]]]:
    """Return what each span has of ours, by its name, in the order in which they ended."""
    found: dict[str, list[dict[str, Any]]] = {}
    for span in spans.get_finished_spans():
        told = {
            name.removeprefix("querybudget."): value
            for name, value in (span.attributes or {}).items()
            if name.startswith("querybudget.")
        }
        if "database.duration" in told:
            assert told.pop("database.duration") > 0
        found.setdefault(str(span.name), []).append(told)
    return found


@pytest.mark.parametrize("first", ["the tracer", "the library"])
def test_celerys_own_span_says_what_its_task_queried(
    first: str, spans: InMemorySpanExporter, tracing: TracerProvider
) -> None:
    instrumentor = CeleryInstrumentor()
    if first == "the library":
        receivers.connect()
    instrumentor.instrument(tracer_provider=tracing)
    if first == "the tracer":
        receivers.connect()
        receivers.connect()  # twice is once
    try:
        celery_tasks.counts.apply(args=[3])
        celery_tasks.retries.apply(args=[1])
        assert celery_tasks.fails.apply(args=[2]).failed()
    finally:
        receivers.disconnect()
        instrumentor.uninstrument()
    found = ours(spans)
    assert found[f"{CELERYS}counts"] == [
        {"queries": 3, "duplicates": 0, "violations": 1, "budget": 2}
    ]
    assert found[f"{CELERYS}retries"] == [{"queries": 1, "duplicates": 0}] * 3
    assert found[f"{CELERYS}fails"] == [{"queries": 2, "duplicates": 0}]


def test_an_rq_jobs_span_says_what_it_queried(
    redis_url: str, spans: InMemorySpanExporter, tracing: TracerProvider
) -> None:
    with Redis.from_url(redis_url) as connection:
        queue = Queue(rq_jobs.QUEUE, connection=connection, is_async=False)
        with tracing.get_tracer("worker").start_as_current_span("job"):
            assert queue.enqueue(rq_jobs.sends, 3).return_value() == 3
    assert ours(spans) == {
        "job": [{"queries": 3, "duplicates": 2, "violations": 1, "budget": 1}],
    }


def view(request: HttpRequest) -> HttpResponse:
    Industry.objects.count()
    with production.measured("task", "sends"):
        list(Industry.objects.all())
    return HttpResponse()


urlpatterns = [path("view/", view, name="view")]


def test_what_runs_in_a_request_or_in_a_task_leaves_the_span_alone(
    spans: InMemorySpanExporter, tracing: TracerProvider
) -> None:
    tracer = tracing.get_tracer("server")
    with tracer.start_as_current_span("request"):
        Client().get("/view/")
    with tracer.start_as_current_span("task"), production.measured("task", "nightly"):
        with production.measured("task", "sends"):
            list(Industry.objects.all())
            list(Industry.objects.all())
        assert dict(trace.get_current_span().attributes) == {}  # type: ignore[attr-defined]
    assert ours(spans) == {
        "request": [{"queries": 2, "duplicates": 0, "violations": 0, "budget": 9}],
        "task": [{"queries": 2, "duplicates": 1}],
    }


if django.VERSION >= (6, 0):
    from django.tasks import task

    @task
    def counts(times: int) -> int:
        return sum(Industry.objects.count() for _ in range(times))

    def test_a_span_of_djangos_task_says_what_it_queried(
        spans: InMemorySpanExporter, tracing: TracerProvider
    ) -> None:
        with tracing.get_tracer("worker").start_as_current_span("task"):
            counts.enqueue(2)
        counts.enqueue(1)  # without a span
        assert ours(spans) == {"task": [{"queries": 2, "duplicates": 1}]}
