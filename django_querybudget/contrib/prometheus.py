"""The record of production in Prometheus, by its client library, beside the project's own metrics::

    QUERYBUDGET = {
        "PRODUCTION": {"EXPORTERS": ["django_querybudget.contrib.prometheus.PrometheusExporter"]},
    }

What the project serves at ``/metrics`` has these then, each with the labels ``kind`` (``view``,
``task``, ``command``, ``message``, ``other``), ``name`` and ``method``:

======================================  ============================================================
``querybudget_queries``                 Histogram: queries of a request; its count is the requests.
``querybudget_database_seconds``        Histogram: a request's time in the databases.
``querybudget_nplusone``                Histogram: N+1 findings of a request, where looked for.
``querybudget_violations``              Histogram: exceeded dimensions of its budget.
``querybudget_duplicates_total``        Queries that repeat an earlier one of their request.
``querybudget_rows_total``              Rows fetched, where the driver tells.
``querybudget_cache_hits_total``        Cached reads that were answered by the cache.
``querybudget_cache_misses_total``      Those that were not. Both, once there is one of either.
``querybudget_cache_bypasses_total``    Those that went past the cache.
``querybudget_cache_audited_total``     Hits that the audit has compared, if there is one.
``querybudget_cache_stale_total``       Of those, answers that were stale.
======================================  ============================================================

``querybudget_record_failures_total`` counts flushes of the record that its cache did not take.

With ``PROMETHEUS_MULTIPROC_DIR`` each process writes to that directory, as the client's own metrics
do, and its ``MultiProcessCollector`` adds them up. What a worker that died has written stays.
Needs the extra ``prometheus``.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from prometheus_client import REGISTRY, CollectorRegistry, values
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from django_querybudget import production
from django_querybudget.production.exporting import HISTOGRAMS, Increment, Labels, is_told
from django_querybudget.production.measures import EVERYTHING, Counter, Measure
from django_querybudget.production.record import Record, SeriesKey

__all__ = ["LABELS", "PREFIX", "PrometheusExporter"]

PREFIX = "querybudget_"
LABELS = SeriesKey._fields


class _Told(NamedTuple):
    """A measure or a counter, and how it is told."""

    measure: Measure | Counter
    name: str
    is_histogram: bool

    @property
    def help(self) -> str:
        of = "By request" if self.is_histogram else "In all"
        return f"{of}: {self.measure.title}."

    def samples(self, numbers: Sequence[float]) -> Iterator[tuple[str, str | None, float]]:
        """Yield what is added up of it: suffix, upper bound, number."""
        measure = self.measure
        if isinstance(measure, Counter) or not self.is_histogram:
            yield "_total", None, numbers[measure.total]
            return
        yield "_sum", None, numbers[measure.total]
        bounds = (*measure.bounds, float("inf"))
        for bound, count in zip(bounds, measure.buckets(numbers), strict=True):
            yield "_bucket", _bound(bound), count


_TOLD = tuple(_Told(each, PREFIX + each.name, each.name in HISTOGRAMS) for each in EVERYTHING)
_FAILURES = PREFIX + "record_failures"
_FAILURES_HELP = "Flushes of the record of production that its cache did not take."


class PrometheusExporter(Collector):
    """Adds the record to a registry, or in multiprocess mode to the client's directory."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._lock = threading.Lock()
        self._record = Record()
        """Of the process's whole life, so that its series are bounded."""
        self._failures = 0
        self._registry: CollectorRegistry | None = None
        self._shared: _Shared | None = None
        if getattr(values.ValueClass, "_multiprocess", False):
            self._shared = _Shared()
        else:
            self._registry = registry
            registry.register(self)

    def close(self) -> None:
        """Leave the registry."""
        if self._registry is not None:
            self._registry.unregister(self)
            self._registry = None

    def __call__(self, increment: Increment) -> None:
        """Add what was measured."""
        running = production.current_record()
        failures = 0 if running is None else running.failed_flushes
        with self._lock:
            more, self._failures = max(0, failures - self._failures), failures
            if self._shared is not None:
                self._shared.add(increment.record, more)
            else:
                self._record.merge(increment.record, details=False)

    def describe(self) -> Iterable[Metric]:
        """Yield the metrics without their values, for the registry to know their names."""
        return self._families({}, 0)

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics."""
        with self._lock:
            numbers = {key: series.numbers[:] for key, series in self._record.series.items()}
            failures = self._failures
        return self._families(numbers, failures)

    def _families(
        self, series: Mapping[SeriesKey, Sequence[float]], failures: int
    ) -> Iterator[Metric]:
        for told in _TOLD:
            family: Any = HistogramMetricFamily if told.is_histogram else CounterMetricFamily
            metric: Metric = family(told.name, told.help, labels=LABELS)
            for key, numbers in series.items():
                if is_told(told.measure, numbers):
                    _add(metric, told, key, numbers)
            yield metric
        yield CounterMetricFamily(_FAILURES, _FAILURES_HELP, value=failures)


def _bound(bound: float) -> str:
    return str(floatToGoString(bound))  # type: ignore[no-untyped-call]  # the client's has no types


def _add(metric: Metric, told: _Told, key: SeriesKey, numbers: Sequence[float]) -> None:
    labels = key._asdict()
    below = 0.0
    for suffix, bound, number in told.samples(numbers):
        if bound is None:
            metric.add_sample(told.name + suffix, labels, number)
        else:
            below += number
            metric.add_sample(told.name + suffix, {**labels, "le": bound}, below)
    if told.is_histogram:
        metric.add_sample(told.name + "_count", labels, below)


class _Shared:
    """The client's values in the files of this process, which a fork begins anew by itself."""

    def __init__(self) -> None:
        self._labels = Labels()
        self._values: dict[tuple[SeriesKey, str], list[Any]] = {}
        self._failures = values.ValueClass(
            "counter", _FAILURES, _FAILURES + "_total", (), (), _FAILURES_HELP
        )

    def add(self, record: Record, failures: int) -> None:
        self._failures.inc(failures)
        for key, series in record.series.items():
            labels = self._labels.of(key)
            for told in _TOLD:
                if is_told(told.measure, series.numbers):
                    self._add(labels, told, series.numbers)

    def _add(self, key: SeriesKey, told: _Told, numbers: Sequence[float]) -> None:
        samples = list(told.samples(numbers))
        of = (key, told.name)
        if of not in self._values:
            self._values[of] = [_value(key, told, *sample[:2]) for sample in samples]
        for value, (_, _, number) in zip(self._values[of], samples, strict=True):
            if number:
                value.inc(number)


def _value(key: SeriesKey, told: _Told, suffix: str, bound: str | None) -> Any:
    names, labels = (LABELS, tuple(key)) if bound is None else ((*LABELS, "le"), (*key, bound))
    kind = "histogram" if told.is_histogram else "counter"
    return values.ValueClass(kind, told.name, told.name + suffix, names, labels, told.help)
