"""What is told of a site under load: by its page, the report, Prometheus' text, OpenTelemetry."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.parser import text_string_to_metric_families

from tests.production.load import telemetry
from tests.production.load.clients import Counts, ask
from tests.production.load.sites import Site


class Page(HTMLParser):
    """The page of all views, as a person reads it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tiles: list[str] = []
        self.rows: dict[tuple[str, str], dict[str, str]] = {}
        self._row: dict[str, str] = {}
        self._into = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        if tag == "tr":
            self._row = {}
        elif tag == "th" and told.get("scope") == "row":
            self._into = "name"
        elif tag == "td":
            self._into = told.get("data-label") or ""
        elif tag == "dd":
            self._into = "tile"
            self.tiles.append("")

    def handle_data(self, data: str) -> None:
        if self._into == "tile":
            self.tiles[-1] += data
        elif self._into:
            self._row[self._into] = self._row.get(self._into, "") + data

    def handle_endtag(self, tag: str) -> None:
        if tag in ("th", "td", "dd"):
            self._into = ""
        elif tag == "tr" and "name" in self._row:
            method, name = self._row["name"].strip().split(" ", 1)
            self.rows[name, method] = self._row

    @property
    def requests(self) -> int:
        """The number of all requests."""
        return _whole(self.tiles[2])

    @property
    def queries(self) -> int:
        """The number of all queries."""
        return _whole(self.tiles[5].removesuffix("in all"))

    def shown(self) -> dict[tuple[str, str], tuple[int, str]]:
        """Return requests and queries a request, as they stand there."""
        return {of: (_whole(row["Requests"]), row["Queries"]) for of, row in self.rows.items()}


def _whole(text: str) -> int:
    return int(text.replace(",", ""))


def page_of(site: Site, cookie: str) -> Page:
    """Read the page."""
    status, _, html = ask(site.socket, "GET", "/querybudget/?since=1h&all=1", cookie)
    assert status == 200, html
    return Page(html)


def reported(site: Site) -> Counts:
    """Read ``manage.py querybudget report --json``."""
    told: dict[str, Any] = json.loads(site.manage("querybudget", "report", "--json"))
    return {
        (each["name"], each["method"]): (
            each["requests"],
            # A mean of six digits: of less than a million requests it is exact.
            round(each["queries"] * each["requests"]),
        )
        for each in told["series"]
    }


def scraped(site: Site) -> Counts:
    """Read Prometheus' text."""
    if site.is_running:
        status, _, text = ask(site.socket, "GET", "/metrics")
        assert status == 200, text
    else:
        registry = CollectorRegistry()
        MultiProcessCollector(registry, str(site.shared))
        text = generate_latest(registry).decode()
    found: dict[tuple[str, str], dict[str, int]] = {}
    for family in text_string_to_metric_families(text):
        if family.name == "querybudget_queries":
            for sample in family.samples:
                of = sample.labels["name"], sample.labels["method"]
                found.setdefault(of, {})[sample.name.rpartition("_")[2]] = int(sample.value)
    return {of: (each["count"], each["sum"]) for of, each in found.items()}


def exported(site: Site) -> Counts:
    """Read what each process' OpenTelemetry has."""
    return telemetry.read(site.folder)[0]


def timed(site: Site) -> int:
    """Return how many queries have a duration in OpenTelemetry."""
    return telemetry.read(site.folder)[1]
