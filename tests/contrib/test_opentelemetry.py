"""OpenTelemetry: what its own in-memory reader and exporter have of views and queries."""

from __future__ import annotations

import asyncio
import re
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import DatabaseError, connection, connections
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client
from django.test.utils import override_settings
from django.urls import path
from opentelemetry.instrumentation.django import DjangoInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv.attributes import db_attributes, error_attributes, http_attributes
from opentelemetry.semconv.metrics import db_metrics
from opentelemetry.trace import SpanKind

from django_querybudget import production, query_budget
from django_querybudget.contrib import opentelemetry
from django_querybudget.contrib.opentelemetry import OpenTelemetryExporter
from django_querybudget.production.exporting import Increment, Observation, QueryKind
from django_querybudget.production.measures import COUNTERS, MEASURES
from django_querybudget.production.process import ProcessRecord
from django_querybudget.production.record import MOST_SERIES, series_key
from django_querybudget.reports import reporters
from django_querybudget.sql.operations import LONGEST, operation_of
from jobs.models import Industry

ROOT = Path(__file__).parent.parent.parent

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]


@query_budget(1, on_exceed="log")
def three(request: HttpRequest) -> HttpResponse:
    for number in (1, 1, 2):
        Industry.objects.filter(pk=number).exists()
    return HttpResponse()


def fails(request: HttpRequest) -> HttpResponse:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT a FROM no_such_table WHERE secret = 's3cret'")
    except DatabaseError:
        return HttpResponse()
    raise AssertionError


urlpatterns = [path("three/", three, name="three"), path("fails/", fails, name="fails")]


class Metrics:
    """What the reader has: the points of each metric, by their attributes."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader])

    def names(self) -> set[str]:
        data = self.reader.get_metrics_data()
        return {
            metric.name
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def points(self, name: str) -> dict[tuple[tuple[str, Any], ...], Any]:
        data = self.reader.get_metrics_data()
        return {
            tuple(sorted(point.attributes.items())): point
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        }


@pytest.fixture
def spans(exported: ProcessRecord) -> Iterator[InMemorySpanExporter]:
    """The spans of Django's own instrumentation, which stands before all middleware."""
    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    instrumentor = DjangoInstrumentor()
    with override_settings(MIDDLEWARE=list(settings.MIDDLEWARE)):
        instrumentor.instrument(tracer_provider=provider)
        yield kept
        instrumentor.uninstrument()


@pytest.fixture
def metrics() -> Iterator[Metrics]:
    found = Metrics()
    yield found
    found.provider.shutdown()


@pytest.fixture
def exported(metrics: Metrics) -> Iterator[ProcessRecord]:
    section = {"PRODUCTION": {"INTERVAL": 60}, "NPLUSONE": "log"}
    with override_settings(QUERYBUDGET=section):
        record = production.start()
        record.add_exporter(OpenTelemetryExporter(metrics.provider))
        yield record
        production.stop()


def test_each_query_is_in_the_conventions_histogram(
    exported: ProcessRecord, metrics: Metrics
) -> None:
    for _ in range(2):
        Client().get("/three/")
    Client().get("/fails/")
    assert exported.exported()
    points = metrics.points(db_metrics.DB_CLIENT_OPERATION_DURATION)
    read = {
        db_attributes.DB_SYSTEM_NAME: connection.vendor,
        db_attributes.DB_OPERATION_NAME: "SELECT",
        db_attributes.DB_COLLECTION_NAME: "jobs_industry",
        db_attributes.DB_QUERY_SUMMARY: "SELECT jobs_industry",
    }
    failed = {
        **read,
        db_attributes.DB_COLLECTION_NAME: "no_such_table",
        db_attributes.DB_QUERY_SUMMARY: "SELECT no_such_table",
        error_attributes.ERROR_TYPE: "django.db.utils.OperationalError",
    }
    counted = {attributes: point.count for attributes, point in points.items()}
    assert counted == {tuple(sorted(read.items())): 6, tuple(sorted(failed.items())): 1}
    assert "s3cret" not in str(metrics.reader.get_metrics_data())
    (point, _) = points.values()
    assert tuple(point.explicit_bounds) == (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)
    assert point.sum > 0


def test_the_audit_is_told_where_there_is_one(exported: ProcessRecord, metrics: Metrics) -> None:
    right, unaudited = (series_key("view", each, "GET") for each in ("right", "unaudited"))
    for key in (right, unaudited):
        exported.add(key, (1, 0.001, None, 0, None, None, 3, 0, 0), [])
    exported.count(right, COUNTERS[0].total, 2)
    assert exported.exported()
    for name, number in (("audited", 2), ("stale", 0)):
        ((attributes, point),) = metrics.points(f"querybudget.cache.{name}").items()
        assert dict(attributes)["querybudget.name"] == "right"
        assert point.value == number


def test_a_hit_rate_can_be_told_of_what_never_hits(
    exported: ProcessRecord, metrics: Metrics
) -> None:
    for name, hits, misses in (("never", 0, 2), ("always", 2, 0), ("uncached", 0, 0)):
        key = series_key("view", name, "GET")
        exported.add(key, (1, 0.001, None, 0, None, None, hits, misses, 0), [])
    assert exported.exported()
    for what, expected in (("hits", (0, 2)), ("misses", (2, 0))):
        told = {
            dict(attributes)["querybudget.name"]: point.value
            for attributes, point in metrics.points(f"querybudget.cache.{what}").items()
        }
        assert told == dict(zip(("never", "always"), expected, strict=True))
    assert not metrics.points("querybudget.cache.bypasses")


def test_the_reference_has_every_metric(metrics: Metrics) -> None:
    increment = Increment()
    key = series_key("view", "a", "GET")
    increment.record.of(key).numbers[:] = array("d", [1] * len(_numbers()))
    increment.observations.append(Observation(key, [1] * len(MEASURES)))
    increment.add_queries(QueryKind("SELECT 1", "postgres", "postgresql", None), (0.1,))
    increment.lost_requests = 1
    exporter = OpenTelemetryExporter(metrics.provider)
    exporter(increment)
    exporter.close()
    names = metrics.names()
    assert len(names) == len(MEASURES) + len(COUNTERS) + 2
    told = set(re.findall(r"``((?:db\.client|querybudget)\.[\w.]+)``", opentelemetry.__doc__ or ""))
    assert names <= told
    reference = (ROOT / "docs" / "reference" / "python.rst").read_text()
    assert f"automodule:: {opentelemetry.__name__}\n" in reference


def test_each_view_has_its_own_metrics(exported: ProcessRecord, metrics: Metrics) -> None:
    for _ in range(2):
        Client().get("/three/")
    Client().generic("BREW", "/three/")
    with production.measured("task", "send"):
        Industry.objects.count()
    assert exported.exported()
    view = (
        (http_attributes.HTTP_REQUEST_METHOD, "GET"),
        ("querybudget.kind", "view"),
        ("querybudget.name", "three"),
    )
    brewed = ((http_attributes.HTTP_REQUEST_METHOD, "_OTHER"), *view[1:])
    task = (("querybudget.kind", "task"), ("querybudget.name", "send"))
    queries = metrics.points("querybudget.queries")
    assert {key: (each.count, each.sum) for key, each in queries.items()} == {
        view: (2, 6),
        brewed: (1, 3),
        task: (1, 1),
    }
    assert metrics.points("querybudget.violations")[view].sum == 2
    assert metrics.points("querybudget.nplusone")[view].count == 2
    assert metrics.points("querybudget.nplusone")[task].sum == 0
    assert task not in metrics.points("querybudget.violations")  # it has no budget
    assert metrics.points("querybudget.duplicates")[view].value == 2
    seconds = metrics.points("querybudget.database.duration")[view]
    whole = sum(each.sum for each in metrics.points(opentelemetry.DURATION).values())
    assert 0 < seconds.sum < whole


def test_the_servers_span_says_what_the_request_queried(
    exported: ProcessRecord,
) -> None:
    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    with provider.get_tracer("server").start_as_current_span("GET", kind=SpanKind.SERVER):
        Client().get("/three/")
    (span,) = kept.get_finished_spans()
    found = dict(span.attributes or {})
    assert 0 < found.pop("querybudget.database.duration") < 1  # type: ignore[operator]
    assert found == {
        "querybudget.queries": 3,
        "querybudget.duplicates": 1,
        "querybudget.nplusone": 0,
        "querybudget.budget": 1,
        "querybudget.violations": 1,
    }
    before = len(reporters.REPORTERS)
    Client().get("/three/")  # without a span
    exported.remove_exporters()
    assert len(reporters.REPORTERS) == before - 1


def test_attributes_are_bounded(metrics: Metrics) -> None:
    exporter = OpenTelemetryExporter(metrics.provider)
    try:
        for turn in range(6):
            increment = Increment()
            for number in range(250):
                key = series_key("view", f"{turn} {number}", "GET")
                increment.record.of(key).numbers[:] = array("d", [1] * len(_numbers()))
                sql = f"SELECT a FROM t{turn}_{number}"
                increment.add_queries(QueryKind(sql, "postgres", "postgresql", None), (0.1,))
            increment.lost_requests = 3
            exporter(increment)
    finally:
        exporter.close()
    points = metrics.points("querybudget.rows")
    assert len(points) == MOST_SERIES
    assert points[("querybudget.kind", "other"), ("querybudget.name", "other")].value == (
        1500 - (MOST_SERIES - 1)
    )
    durations = metrics.points(opentelemetry.DURATION)
    assert len(durations) == opentelemetry.MOST_SUMMARIES + 1
    rest = (
        ("db.namespace", connections.settings["postgres"]["NAME"]),
        ("db.operation.name", "SELECT"),
        ("db.system.name", "postgresql"),
    )
    assert durations[rest].count == 1500 - opentelemetry.MOST_SUMMARIES
    assert metrics.points("querybudget.lost")[("querybudget.kind", "requests"),].value == 18


def test_the_databases_of_tenants_are_bounded(
    metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporter = OpenTelemetryExporter(metrics.provider)
    increment = Increment()
    for number in range(600):
        alias = f"tenant{number}"
        monkeypatch.setitem(connections.settings, alias, {"NAME": alias})
        increment.add_queries(QueryKind("SELECT a FROM t", alias, "postgresql", None), (0.1,))
    try:
        exporter(increment)
    finally:
        exporter.close()
    durations = metrics.points(opentelemetry.DURATION)
    # Those that are named, those of which only the summary is told, and all others.
    assert len(durations) == opentelemetry.MOST_NAMESPACES + 2
    assert sum(point.count for point in durations.values()) == 600


def _numbers() -> array[float]:
    return Increment().record.of(series_key("view", "a")).numbers


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("handler", ["wsgi", "asgi"])
def test_the_instrumentations_span_has_ours_beside_its_own(
    handler: str, spans: InMemorySpanExporter
) -> None:
    for address in ("/three/", "/fails/"):
        if handler == "wsgi":
            Client().get(address)
        else:
            asyncio.run(AsyncClient().get(address))
    found = {str(span.name): dict(span.attributes or {}) for span in spans.get_finished_spans()}
    assert sorted(found) == ["GET fails/", "GET three/"]
    three = found["GET three/"]
    assert three[http_attributes.HTTP_ROUTE] == "three/"
    assert (three["querybudget.queries"], three["querybudget.violations"]) == (3, 1)
    assert found["GET fails/"]["querybudget.queries"] == 1


@pytest.mark.django_db(transaction=True, databases=["mariadb"])
def test_mariadb_is_called_by_its_own_name(exported: ProcessRecord, metrics: Metrics) -> None:
    connections["mariadb"].close()  # it tells what it is when it is opened
    with production.measured("task", "asks"), connections["mariadb"].cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.fetchall()
    assert exported.exported()
    systems = [
        dict(attributes)[db_attributes.DB_SYSTEM_NAME]
        for attributes in metrics.points(db_metrics.DB_CLIENT_OPERATION_DURATION)
    ]
    assert set(systems) == {"mariadb"}  # what opens the connection among them


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ('SELECT "a"."b" FROM "a" INNER JOIN "u" ON ("x")', ("SELECT", "", "SELECT a u")),
        ('INSERT INTO "t" ("a") VALUES (%s) RETURNING "t"."id"', ("INSERT", "t", "INSERT t")),
        ("UPDATE t SET a = 1", ("UPDATE", "t", "UPDATE t")),
        ("DELETE FROM t WHERE a IN (SELECT a FROM s)", ("DELETE", "", "DELETE t SELECT s")),
        ("SELECT a FROM t FOR NO KEY UPDATE OF t", ("SELECT", "t", "SELECT t")),
        (
            "INSERT INTO t SELECT 1 ON CONFLICT DO UPDATE SET a = 1",
            ("INSERT", "t", "INSERT t SELECT"),
        ),
        ("SELECT EXTRACT(YEAR FROM d) FROM t", ("SELECT", "t", "SELECT t")),
        ("SELECT a IS DISTINCT FROM b FROM s.t", ("SELECT", "s.t", "SELECT s.t")),
        (
            "/* FROM x */ WITH c AS (SELECT 1 FROM q) SELECT * FROM c",
            ("SELECT", "", "SELECT q SELECT c"),
        ),
        ("SELECT 'FROM secret' FROM t", ("SELECT", "t", "SELECT t")),
        ('SELECT 1 FROM "a b"', ("SELECT", "a_b", "SELECT a_b")),
        ("EXPLAIN SELECT 1 FROM t", ("EXPLAIN", "t", "EXPLAIN SELECT t")),
        ("CREATE TABLE t (a int)", ("CREATE", "", "CREATE")),
        ("", ("", "", "")),
        ("SELECT REPLACE(a, 'b', 'c'), TRUNCATE (1.5, 1) FROM t", ("SELECT", "t", "SELECT t")),
        ("INSERT OR REPLACE INTO t VALUES (1)", ("INSERT", "t", "INSERT t")),
        ("CREATE OR REPLACE VIEW v AS SELECT 1 FROM t", ("CREATE", "t", "CREATE SELECT t")),
        (
            "WITH c AS (SELECT 1) REPLACE INTO t SELECT 1",
            ("SELECT", "t", "SELECT REPLACE t SELECT"),
        ),
        ("WITH c AS (SELECT 1) UPSERT INTO t SELECT 1", ("SELECT", "t", "SELECT UPSERT t SELECT")),
        ("UPSERT INTO t VALUES (1)", ("UPSERT", "t", "UPSERT t")),
        ("LOAD DATA INFILE 'f' INTO TABLE t", ("LOAD", "t", "LOAD t")),
        ("SELECT load, copy, replace FROM t", ("SELECT", "t", "SELECT t")),
        ("SELECT 1; TRUNCATE t", ("SELECT", "t", "SELECT TRUNCATE t")),
        ("COPY (SELECT 1 FROM t) TO STDOUT", ("COPY", "t", "COPY SELECT t")),
    ],
)
def test_a_statement_in_a_few_words(sql: str, words: tuple[str, str, str]) -> None:
    assert operation_of(sql, "postgresql") == words


def test_a_summary_is_cut_at_a_words_end() -> None:
    sql = "SELECT a FROM " + " JOIN ".join(f"table_{number}" for number in range(100))
    summary = operation_of(sql, "sqlite").summary
    assert LONGEST - 12 < len(summary) < LONGEST
    assert summary.split()[-1] in sql.split()
    assert len(operation_of("SELECT 1 FROM " + "x" * 100_000, "sqlite").summary) < LONGEST
