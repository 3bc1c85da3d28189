"""OpenTelemetry's own in-memory reader, in each process of a server.

What such a reader has dies with its process. So the exporter leaves it in a file, one for each
process, whenever it was told of something: what stands there is what the reader said, and as old
as the last flush.
"""

import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from django_querybudget.contrib.opentelemetry import DURATION, OpenTelemetryExporter
from django_querybudget.contrib.prometheus import PrometheusExporter
from django_querybudget.production.exporting import Increment

FOLDER = "LOAD_FOLDER"


def note(exporter: str) -> Path:
    """Note that an exporter of this process is told of something now; return its files' path."""
    path = Path(os.environ[FOLDER]) / f"{os.getpid()}.{exporter}"
    with path.with_suffix(f".{exporter}.told").open("a") as file:
        file.write(f"{time.monotonic()}\n")
    return path


class NotedPrometheus(PrometheusExporter):
    """The library's exporter, which notes when it is told."""

    def __call__(self, increment: Increment) -> None:
        """Note when, and add what was measured."""
        note("prometheus")
        super().__call__(increment)


class KeptOpenTelemetry(OpenTelemetryExporter):
    """The library's exporter, with a reader in memory whose data a test can read."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        super().__init__(MeterProvider([self._reader], shutdown_on_exit=False))

    def __call__(self, increment: Increment) -> None:
        """Record what was measured, and leave what the reader has then; note when."""
        path = note("telemetry")
        super().__call__(increment)
        unfinished = path.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(list(_points(self._reader))))
        unfinished.replace(path)


def _points(reader: InMemoryMetricReader) -> Any:
    """Yield name, attributes, number and sum of each histogram's point."""
    data = reader.get_metrics_data()
    for resource in data.resource_metrics if data else ():
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in metric.data.data_points:
                    if hasattr(point, "count"):
                        yield metric.name, dict(point.attributes), point.count, point.sum


def read(folder: Path) -> tuple[dict[tuple[str, str], tuple[int, int]], int]:
    """Return requests and queries by view and method, and how many queries had a duration."""
    requests: Counter[tuple[str, str]] = Counter()
    queries: Counter[tuple[str, str]] = Counter()
    timed = 0
    for path in folder.glob("*.telemetry"):
        for name, attributes, number, total in json.loads(path.read_text()):
            if name == "querybudget.queries":
                method = attributes["http.request.method"].replace("_OTHER", "other")
                of = attributes["querybudget.name"], method
                requests[of] += number
                queries[of] += int(total)
            elif name == DURATION:
                timed += number
    return {of: (number, queries[of]) for of, number in requests.items()}, timed


def told(folder: Path, worker: int) -> list[list[float]]:
    """Return for each exporter of a worker when it was told; the clock is that of all processes."""
    paths = (folder / f"{worker}.{name}.told" for name in ("prometheus", "telemetry"))
    return [list(map(float, path.read_text().split())) if path.exists() else [] for path in paths]
