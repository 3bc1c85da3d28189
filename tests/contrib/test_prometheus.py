"""Prometheus: what its client library says of the record, in one process and in several."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.test.utils import override_settings
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.parser import text_string_to_metric_families

from django_querybudget import production
from django_querybudget.contrib import prometheus
from django_querybudget.contrib.prometheus import LABELS, PREFIX, PrometheusExporter
from django_querybudget.production.measures import COUNTERS
from django_querybudget.production.process import ProcessRecord
from django_querybudget.production.record import MOST_SERIES, series_key

ROOT = Path(__file__).parent.parent.parent
Samples = dict[tuple[str, ...], float]


def samples(registry: CollectorRegistry) -> Samples:
    """Return what a scrape reads, by name and labels' values."""
    text = generate_latest(registry).decode()
    return {
        (
            sample.name,
            *(sample.labels[name] for name in (*LABELS, "le") if name in sample.labels),
        ): (sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def exported(registry: CollectorRegistry) -> Iterator[ProcessRecord]:
    with override_settings(QUERYBUDGET={"PRODUCTION": {"INTERVAL": 60}}):
        record = production.start()
        record.add_exporter(PrometheusExporter(registry))
        yield record
        production.stop()


def test_a_scrape_reads_the_records_own_numbers(
    exported: ProcessRecord, registry: CollectorRegistry
) -> None:
    jobs = series_key("view", "jobs:list", "GET")
    task = series_key("task", "send")
    for queries, seconds in ((1, 0.001), (3, 0.3), (90, 2.0)):
        exported.add(jobs, (queries, seconds, 20, 1, 2, 1, 2, 1, 0), [], budget=2)
        assert exported.exported()
    exported.add(task, (0, 0.0, None, 0, None, None, 0, 0, 0), [])
    for name, hits in (("never", 0), ("always", 2)):
        key = series_key("view", name, "GET")
        exported.add(key, (1, 0.001, None, 0, None, None, hits, 2 - hits, 0), [])
    assert exported.exported()
    read = samples(registry)
    of = ("view", "jobs:list", "GET")
    assert read["querybudget_queries_count", *of] == 3
    assert read["querybudget_queries_sum", *of] == 94
    assert read["querybudget_queries_bucket", *of, "1.0"] == 1
    assert read["querybudget_queries_bucket", *of, "5.0"] == 2
    assert read["querybudget_queries_bucket", *of, "+Inf"] == 3
    assert read["querybudget_database_seconds_sum", *of] == pytest.approx(2.301)
    assert read["querybudget_violations_bucket", *of, "0.0"] == 0
    assert read["querybudget_violations_count", *of] == 3
    assert read["querybudget_nplusone_sum", *of] == 6
    assert read["querybudget_rows_total", *of] == 60
    assert read["querybudget_duplicates_total", *of] == 3
    cached = ("hits", "misses", "bypasses")
    assert [read.get((f"querybudget_cache_{what}_total", *of)) for what in cached] == [6, 3, None]
    # A rate needs both: that there were none is told of either, but not where nothing is cached.
    for name, number in (("never", 0), ("always", 2)):
        told = [
            read.get((f"querybudget_cache_{what}_total", "view", name, "GET")) for what in cached
        ]
        assert told == [number, 2 - number, None]
    assert ("querybudget_cache_hits_total", "task", "send", "") not in read
    assert read["querybudget_queries_count", "task", "send", ""] == 1
    assert ("querybudget_nplusone_count", "task", "send", "") not in read  # not looked for
    assert read["querybudget_record_failures_total",] == 0
    production.stop()
    assert samples(registry) == {}


def test_the_audit_is_told_where_there_is_one(
    exported: ProcessRecord, registry: CollectorRegistry
) -> None:
    names = [series_key("view", each, "GET") for each in ("right", "stale", "unaudited")]
    for key in names:
        exported.add(key, (1, 0.001, None, 0, None, None, 3, 0, 0), [])
    assert exported.exported()
    audited, stale = (each.total for each in COUNTERS)
    for key in names[:2]:
        exported.count(key, audited, 2)
    exported.count(names[1], stale)
    assert exported.exported()
    read = samples(registry)
    told = {
        name: [
            read.get((f"querybudget_cache_{what}_total", "view", name, "GET"))
            for what in ("audited", "stale")
        ]
        for name in ("right", "stale", "unaudited")
    }
    assert told == {"right": [2, 0], "stale": [2, 1], "unaudited": [None, None]}
    assert read["querybudget_queries_count", "view", "right", "GET"] == 1


def test_what_clients_and_routes_hold_is_escaped_and_bounded(
    exported: ProcessRecord, registry: CollectorRegistry
) -> None:
    values = (1, 0.001, None, 0, None, None, 0, 0, 0)
    hostile = 'a"} 1\\n# HELP x\n\\ü😀'
    for name in (hostile, "x" * 10_000, "ok"):
        exported.add(series_key("view", name, "GET"), values, [])
    exported.add(series_key("view", "ok", 'B"\n'), values, [])
    for number in range(2 * MOST_SERIES):
        exported.add(series_key("view", f"<slug>/{number}", "GET"), values, [])
        if number % 300 == 0:
            assert exported.exported()  # the bound is of the process's life
    assert exported.exported()
    read = samples(registry)
    counts = {key: number for key, number in read.items() if key[0] == "querybudget_queries_count"}
    assert len(counts) == MOST_SERIES
    assert sum(counts.values()) == 4 + 2 * MOST_SERIES
    assert counts["querybudget_queries_count", "other", "other", ""] > MOST_SERIES
    assert counts["querybudget_queries_count", "view", hostile.replace("\n", "�"), "GET"] == 1
    assert counts["querybudget_queries_count", "view", "x" * 199 + "…", "GET"] == 1
    assert counts["querybudget_queries_count", "view", "ok", "other"] == 1


def test_the_reference_has_every_metric() -> None:
    families = PrometheusExporter(CollectorRegistry()).describe()
    names = {each.name + ("_total" if each.type == "counter" else "") for each in families}
    assert set(re.findall(rf"``({PREFIX}\w+)``", prometheus.__doc__ or "")) == names
    reference = (ROOT / "docs" / "reference" / "python.rst").read_text()
    assert f"automodule:: {prometheus.__name__}\n" in reference


WORKERS = """
import os, signal, sys
import django
from django.conf import settings
settings.configure(
    SECRET_KEY="x", INSTALLED_APPS=["django_querybudget"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    QUERYBUDGET={"PRODUCTION": {
        "INTERVAL": 60,
        "EXPORTERS": ["django_querybudget.contrib.prometheus.PrometheusExporter"],
    }},
)
django.setup()
from django.db import connection
from django_querybudget import production
from django_querybudget.production.record import MOST_SERIES

def work(name, times):
    for _ in range(times):
        with production.measured("task", name), connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    assert production.current_record().exported()

work("parents", 3)
child = os.fork()
if not child:
    work("both", 2)
    os.kill(os.getpid(), signal.SIGKILL)  # dies, and has no last word
os.waitpid(child, 0)
work("both", 5)
for number in range(MOST_SERIES + 20):
    work("%d" % number, 1) if number % 100 == 0 else None
    with production.measured("task", "%d" % number):
        pass
print(child)
"""


def test_workers_are_added_up_and_one_that_died_stays_counted(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WORKERS],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    mark_process_dead(int(done.stdout), str(tmp_path))
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(tmp_path))
    read = samples(registry)
    # By name and method and kind, as the client sorts labels.
    assert read["querybudget_queries_count", "task", "parents", ""] == 3
    assert read["querybudget_queries_sum", "task", "parents", ""] == 3
    assert read["querybudget_queries_count", "task", "both", ""] == 7
    assert read["querybudget_queries_bucket", "task", "both", "", "0.0"] == 0
    assert read["querybudget_queries_bucket", "task", "both", "", "1.0"] == 7
    assert read["querybudget_database_seconds_count", "task", "both", ""] == 7
    counts = {key: number for key, number in read.items() if key[0] == "querybudget_queries_count"}
    assert len(counts) == MOST_SERIES
    # Every name once, and six of them once more; the last came with the process's last flush.
    assert sum(counts.values()) == 10 + MOST_SERIES + 20 + 6
