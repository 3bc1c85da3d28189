"""The alerts and the board, against what the exporter says and what Prometheus takes."""

from __future__ import annotations

import configparser
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

import django_querybudget.contrib
from django_querybudget.contrib.prometheus import PrometheusExporter
from django_querybudget.production.exporting import Increment
from django_querybudget.production.measures import COUNTERS, MEASURES, observe
from django_querybudget.production.record import series_key
from tests.servers import Promtool, ServerError

HERE = Path(django_querybudget.contrib.__file__).parent / "dashboards"
ALERTS, BOARD = HERE / "alerts.yml", HERE / "grafana.json"
ROOT = Path(__file__).parent.parent.parent

_EXPRESSION = re.compile(r"^ +expr: (?:\|\n((?:          .*\n)+)|(.*)\n)", re.MULTILINE)
_SELECTOR = re.compile(r"(querybudget_\w+)(?:\{([^}]*)\})?")
_BY = re.compile(r"by \(([^)]*)\) \(\s*(?:rate|increase)\((querybudget_\w+)")
_MATCHER = re.compile(r"(\w+)(=~|!~|!=|=)\"([^\"]*)\"")


OTHER = '{kind="other",name="other",method=""}'


@pytest.fixture(scope="module")
def exposition() -> str:
    """What a scrape reads when something of everything was measured."""
    registry = CollectorRegistry()
    exporter = PrometheusExporter(registry)
    increment = Increment()
    for kind, method in (("view", "GET"), ("task", ""), ("other", "")):
        series = increment.record.of(series_key(kind, f"a {kind}", method))
        observe(series.numbers, (3, 0.1, 20, 1, 1, 1, 1, 1, 1))
        for counter in COUNTERS:
            series.numbers[counter.total] += 1
    exporter(increment)
    return generate_latest(registry).decode()


def told_of(name: str, values: dict[str, float]) -> dict[str, float]:
    """What the exporter tells of the cache for a view with these values: metrics by name."""
    registry = CollectorRegistry()
    exporter = PrometheusExporter(registry)
    increment = Increment()
    series = increment.record.of(series_key("view", name, "GET"))
    observe(series.numbers, [values.get(measure.name, 0) for measure in MEASURES])
    exporter(increment)
    return {
        sample.name: sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.labels.get("name") == name and sample.name.startswith("querybudget_cache_")
    }


def alerts() -> list[str]:
    found = [one or other for one, other in _EXPRESSION.findall(ALERTS.read_text())]
    assert len(found) == ALERTS.read_text().count("alert:") == ALERTS.read_text().count("expr:")
    return found


def board() -> Any:
    return json.loads(BOARD.read_text())


def queries() -> Iterator[str]:
    yield from alerts()
    for panel in board()["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    for variable in board()["templating"]["list"]:
        yield variable["query"]


def test_all_that_they_name_is_in_a_real_exposition(exposition: str) -> None:
    values: dict[str, dict[str, set[str]]] = {}
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            labels = values.setdefault(sample.name, {})
            for name, value in sample.labels.items():
                labels.setdefault(name, set()).add(value)
    named: set[str] = set()
    for query in queries():
        for metric, matchers in _SELECTOR.findall(query):
            named.add(metric)
            assert metric in values, query
            for label, operator, value in _MATCHER.findall(matchers):
                assert label in values[metric], query
                assert operator == "=~" or value in values[metric][label], query
        for labels, metric in _BY.findall(query):
            assert set(labels.split(", ")) <= values[metric].keys(), query
    told = {re.sub(r"_(bucket|sum|count)$", "", name) for name in values}
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in named} == told


def test_the_board_has_a_place_for_each_panel() -> None:
    panels = board()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken
        assert at["x"] + at["w"] <= 24
        taken |= cells
        assert panel["datasource"]["uid"] == "${datasource}"
        refs = [target["refId"] for target in panel["targets"]]
        assert len(set(refs)) == len(refs)


def test_they_are_packaged() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    package = ROOT / "django_querybudget"
    patterns = setup["options.package_data"]["django_querybudget"].split()
    packaged = {path for pattern in patterns for path in package.glob(pattern)}
    assert set(HERE.iterdir()) <= packaged


@pytest.mark.promtool
def test_prometheus_takes_the_rules_and_the_metrics(exposition: str, tmp_path: Path) -> None:
    promtool = Promtool()
    assert f"{len(alerts())} rules found" in promtool.run("check", "rules", ALERTS)
    promtool.run("check", "metrics", told=exposition)
    broken = tmp_path / "broken.yml"
    broken.write_text(ALERTS.read_text().replace("sum by (kind, name, method) (rate(", "sum by ("))
    with pytest.raises(ServerError, match="refuses it"):
        promtool.run("check", "rules", broken)
    # What the board asks is PromQL, too, once Grafana has put its own words in.
    of_board = [
        target["expr"].replace("$__rate_interval", "5m").replace("$name", ".*")
        for panel in board()["panels"]
        for target in panel["targets"]
    ]
    rules = [{"record": f"board:{at}", "expr": each} for at, each in enumerate(of_board)]
    as_rules = tmp_path / "board.yml"
    as_rules.write_text(json.dumps({"groups": [{"name": "board", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool.run("check", "rules", as_rules)


@pytest.mark.promtool
def test_the_alerts_fire_when_they_should_and_not_before(tmp_path: Path) -> None:
    """Prometheus' own unit test of rules: two views for an hour, the one well, the other not.

    Of a third no cached read was ever answered: what is told of it is the exporter's own word.
    A fourth is new: its series begin at 1, in the first hour, and stay there.
    """
    of = '{{kind="view",name="{}",method="GET"{}}}'.format

    def series(metric: str, name: str, each_minute: float, more: str = "") -> dict[str, str]:
        return {"series": metric + of(name, more), "values": f"0+{each_minute}x120"}

    def buckets(metric: str, name: str, counts: dict[str, float]) -> list[dict[str, str]]:
        return [
            series(f"{metric}_bucket", name, each, f',le="{bound}"')
            for bound, each in counts.items()
        ]

    told = [
        series("querybudget_violations_count", "well", 100),
        series("querybudget_violations_count", "ill", 100),
        *buckets("querybudget_violations", "well", {"0.0": 100, "+Inf": 100}),
        *buckets("querybudget_violations", "ill", {"0.0": 90, "+Inf": 100}),
        series("querybudget_nplusone_sum", "well", 0),
        series("querybudget_nplusone_sum", "ill", 1),
        *buckets("querybudget_queries", "well", {"50.0": 100, "200.0": 100, "+Inf": 100}),
        *buckets("querybudget_queries", "ill", {"50.0": 0, "200.0": 100, "+Inf": 100}),
        *buckets("querybudget_database_seconds", "well", {"0.1": 100, "2.5": 100, "+Inf": 100}),
        *buckets("querybudget_database_seconds", "ill", {"0.1": 0, "2.5": 100, "+Inf": 100}),
        series("querybudget_cache_hits_total", "well", 90),
        series("querybudget_cache_misses_total", "well", 10),
        series("querybudget_cache_hits_total", "ill", 10),
        series("querybudget_cache_misses_total", "ill", 90),
        *(
            series(metric, "never", number)
            for metric, number in told_of("never", {"cache_misses": 500}).items()
        ),
        series("querybudget_cache_stale_total", "well", 0),
        series("querybudget_cache_stale_total", "ill", 1),
        *(
            {"series": metric + of("new", ""), "values": "_x30 1x90"}
            for metric in ("querybudget_cache_stale_total", "querybudget_nplusone_sum")
        ),
        # Well for an hour, and then no more.
        {"series": "querybudget_record_failures_total", "values": "0x60 1+1x60"},
        {"series": "querybudget_queries_count" + OTHER, "values": "0x60 1+1x60"},
    ]
    of_all = ("QueryBudgetManyNames", "QueryBudgetRecordFailing")
    names = re.findall(r"alert: (\w+)", ALERTS.read_text())
    assert set(of_all) < set(names)

    def expected(alert: str, moment: str) -> list[dict[str, Any]]:
        if alert in of_all:
            return [{"labels": "{}", "value": 1}] if moment == "100m" else []
        ill = ["ill"]
        if alert == "QueryBudgetLowHitRate":
            ill.append("never")
        if alert in ("QueryBudgetNPlusOne", "QueryBudgetStale") and moment == "55m":
            ill.append("new")
        return [{"labels": f'{{name="{name}"}}', "value": 1} for name in ill]

    tested = [
        {
            "expr": f'count by (name) (ALERTS{{alertname="{alert}",alertstate="firing"}})',
            "eval_time": moment,
            "exp_samples": expected(alert, moment),
        }
        for alert in names
        for moment in ("55m", "100m")
    ]
    rules = tmp_path / "tests.yml"
    rules.write_text(
        json.dumps(
            {
                "rule_files": [str(ALERTS)],
                "tests": [{"interval": "1m", "input_series": told, "promql_expr_test": tested}],
            }
        )
    )
    assert "SUCCESS" in Promtool().run("test", "rules", rules)
