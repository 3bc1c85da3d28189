"""The record of production in OpenTelemetry: metrics, and attributes of the request's span::

    QUERYBUDGET = {
        "PRODUCTION": {
            "EXPORTERS": ["django_querybudget.contrib.opentelemetry.OpenTelemetryExporter"],
        },
    }

``db.client.operation.duration`` has each query, by the stable conventions for databases: with
``db.system.name``, ``db.namespace``, ``db.operation.name``, ``db.collection.name``,
``db.query.summary`` and ``error.type``. Never a query's text, and no value of a parameter.

Ours begin with ``querybudget.`` and have ``querybudget.kind`` (``view``, ``task``, ``command``,
``message``, ``other``), ``querybudget.name`` and, for views, ``http.request.method``: the
histograms ``querybudget.queries``, ``querybudget.database.duration``, ``querybudget.nplusone`` and
``querybudget.violations`` of requests, the counters ``querybudget.duplicates``,
``querybudget.rows``, ``querybudget.cache.hits``, ``querybudget.cache.misses``,
``querybudget.cache.bypasses``, ``querybudget.cache.audited`` and ``querybudget.cache.stale`` (hits
that the cache's audit compared, and what was stale of them), and ``querybudget.lost``: requests and
queries that came too fast to be told.

The span that is current when a view's response is done, or a task, command or message ends, gets
``querybudget.queries``, ``querybudget.duplicates``, ``querybudget.database.duration``, and, where
they are known, ``querybudget.nplusone``, ``querybudget.budget`` and ``querybudget.violations``.
What runs in a request, or in another task, describes no span: it is that one's.

The project sets up the SDK as it does for its own metrics. Needs the extra ``opentelemetry``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django.db import connections
from django.db.backends.signals import connection_created
from opentelemetry import metrics, trace

from django_querybudget import __version__
from django_querybudget.budgets.by_view import measured_request
from django_querybudget.production.exporting import (
    HISTOGRAMS,
    Increment,
    Labels,
    QueryKind,
    is_told,
)
from django_querybudget.production.measures import EVERYTHING, MEASURES, Counter, Measure
from django_querybudget.production.record import MOST_SERIES, SeriesKey
from django_querybudget.reports import reporters
from django_querybudget.sql.operations import OPERATIONS, operation_of

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

    from django_querybudget.reports.report import QueryReport
    from django_querybudget.work import Work

__all__ = ["DURATION", "PREFIX", "OpenTelemetryExporter"]

PREFIX = "querybudget."
DURATION = "db.client.operation.duration"
_BOUNDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)
"""Of the conventions."""
MOST_SUMMARIES = 500
"""So many summaries of a database have attributes of their own; the queries of others have none."""
MOST_NAMESPACES = 100
"""So many databases are named: there may be one for each tenant."""
_NAMES = {
    "database_seconds": "database.duration",
    "cache_hits": "cache.hits",
    "cache_misses": "cache.misses",
    "cache_bypasses": "cache.bypasses",
    "cache_audited": "cache.audited",
    "cache_stale": "cache.stale",
}
_UNITS = {"database_seconds": "s", "queries": "{query}", "rows": "{row}", "duplicates": "{query}"}
_SYSTEMS = {
    "postgresql": "postgresql",
    "mysql": "mysql",
    "sqlite": "sqlite",
    "oracle": "oracle.db",
    "microsoft": "microsoft.sql_server",
    "cockroachdb": "cockroachdb",
}

Attributes = dict[str, str | int | float]


class OpenTelemetryExporter:
    """Records the metrics by the global meter provider, or by that which is given."""

    wants_requests = wants_queries = True

    def __init__(self, meter_provider: metrics.MeterProvider | None = None) -> None:
        meter = metrics.get_meter("django_querybudget", __version__, meter_provider)
        self._duration = meter.create_histogram(
            DURATION,
            unit="s",
            description="Duration of database client operations.",
            explicit_bucket_boundaries_advisory=_BOUNDS,
        )
        self._histograms: list[tuple[int, metrics.Histogram]] = []
        self._counters: list[tuple[Measure | Counter, metrics.Counter]] = []
        for measure in EVERYTHING:
            name = PREFIX + _NAMES.get(measure.name, measure.name)
            unit = _UNITS.get(measure.name, "1")
            if isinstance(measure, Measure) and measure.name in HISTOGRAMS:
                histogram = meter.create_histogram(
                    name,
                    unit=unit,
                    description=f"By request: {measure.title}.",
                    explicit_bucket_boundaries_advisory=measure.bounds,
                )
                self._histograms.append((MEASURES.index(measure), histogram))
            else:
                counter = meter.create_counter(name, unit, f"In all: {measure.title}.")
                self._counters.append((measure, counter))
        self._lost = meter.create_counter(
            f"{PREFIX}lost", "1", "Requests and queries that came too fast to be told."
        )
        self._labels = Labels()
        self._summaries: set[tuple[str, str]] = set()
        """With their aliases."""
        self._namespaces: set[str] = set()
        """Aliases, as the next."""
        self._mariadb: set[str] = set()
        connection_created.connect(self._opened)
        self._reporter: reporters.Reporter = self._describe_span  # known by identity
        reporters.add_reporter(self._reporter)
        self._work_reporter: reporters.WorkReporter = self._describe_span_of_work
        reporters.add_work_reporter(self._work_reporter)

    def close(self) -> None:
        """Describe no span any more."""
        reporters.remove_reporter(self._reporter)
        reporters.remove_work_reporter(self._work_reporter)
        connection_created.disconnect(self._opened)

    def _opened(self, connection: BaseDatabaseWrapper, **_: Any) -> None:
        if connection.vendor == "mysql" and getattr(connection, "mysql_is_mariadb", False):
            self._mariadb.add(connection.alias)

    def __call__(self, increment: Increment) -> None:
        """Record what was measured."""
        for kind, seconds in increment.queries.items():
            attributes = self._query_attributes(kind)
            for each in seconds:
                self._duration.record(each, attributes)
        for observation in increment.observations:
            attributes = _attributes(self._labels.of(observation.key))
            for at, histogram in self._histograms:
                value = observation.values[at]
                if value is not None:
                    histogram.record(value, attributes)
        for key, series in increment.record.series.items():
            attributes = _attributes(self._labels.of(key))
            for measure, counter in self._counters:
                if is_told(measure, series.numbers):
                    counter.add(int(series.numbers[measure.total]), attributes)
        for what in ("requests", "queries"):
            if lost := getattr(increment, f"lost_{what}"):
                self._lost.add(lost, {f"{PREFIX}kind": what})

    def _query_attributes(self, kind: QueryKind) -> Attributes:
        mariadb = kind.alias in self._mariadb
        found: Attributes = {
            "db.system.name": "mariadb" if mariadb else _SYSTEMS.get(kind.vendor, "other_sql")
        }
        if kind.error is not None:
            found["error.type"] = f"{kind.error.__module__}.{kind.error.__qualname__}"
        # SQLite's is a path.
        if (
            kind.vendor != "sqlite"
            and kind.alias in connections.settings
            and (_has_place(self._namespaces, kind.alias, MOST_NAMESPACES))
        ):
            found["db.namespace"] = str(connections.settings[kind.alias].get("NAME") or "")
        operation = operation_of(kind.sql, kind.vendor)
        if operation.summary and _has_place(
            self._summaries, (kind.alias, operation.summary), MOST_SUMMARIES
        ):
            found["db.operation.name"] = operation.name
            found["db.query.summary"] = operation.summary
            if operation.collection:
                found["db.collection.name"] = operation.collection
        elif operation.name in OPERATIONS:
            found["db.operation.name"] = operation.name
        return found

    def _describe_span(
        self, report: QueryReport, request: HttpRequest, response: HttpResponseBase
    ) -> None:
        _describe(report, report)

    def _describe_span_of_work(self, report: QueryReport, work: Work) -> None:
        if work.outer is None and measured_request.get() is None:
            _describe(report, work.judged or report)


def _describe(report: QueryReport, judged: QueryReport) -> None:
    """Put the report on the current span; ``judged`` is the report that has the budget."""
    span = trace.get_current_span()
    if not span.is_recording():
        return
    totals = report.log.totals
    found: Attributes = {
        f"{PREFIX}queries": totals.queries,
        f"{PREFIX}duplicates": totals.duplicates,
        f"{PREFIX}database.duration": totals.seconds,
    }
    if report.log.evidence is not None:
        found[f"{PREFIX}nplusone"] = len(report.findings)
    if judged.budget is not None:
        found[f"{PREFIX}violations"] = len(judged.violations)
        if judged.budget.max_queries is not None:
            found[f"{PREFIX}budget"] = judged.budget.max_queries
    span.set_attributes(found)


def _has_place(known: set[Any], each: object, most: int) -> bool:
    """Whether ``each`` is among the first ``most``; it is remembered then."""
    if each not in known:
        if len(known) >= most:
            return False
        known.add(each)
    return True


@lru_cache(maxsize=MOST_SERIES)
def _attributes(key: SeriesKey) -> Attributes:
    found: Attributes = {f"{PREFIX}kind": key.kind, f"{PREFIX}name": key.name}
    if key.method:
        found["http.request.method"] = "_OTHER" if key.method == "other" else key.method
    return found
