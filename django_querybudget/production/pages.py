"""A picture as HTML: no script, no asset of another's, every name escaped.

The templates are rendered by an engine of their own: the host's may be another, or have other
settings.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.template import Context, Engine

from django_querybudget.conf import conf

from .charts import histogram, sparkline, trend
from .comparing import Comparison, deploy_of, figures_of
from .measures import measure
from .reading import Picture
from .record import SeriesKey
from .summary import Row, summarised

if TYPE_CHECKING:
    from django_querybudget.cache.stats import CacheStats
    from django_querybudget.indexes.audit.findings import IndexFinding

    from .explained import ExplainedDatabase
    from .tested import TestedViews

__all__ = [
    "PERIODS",
    "Frame",
    "render_cache",
    "render_comparison",
    "render_databases",
    "render_file",
    "render_overview",
    "render_problem",
    "render_series",
    "render_tests",
    "stylesheet",
]

HERE = Path(__file__).parent
PERIODS = ("1h", "2h", "24h", "7d", "14d")
"""What the page links to; a picture of up to two hours is by minute."""
SHOWN = 50
"""So many series are shown until all are asked for."""
MOST_CHANGES = 5
_KINDS = ("views", "tasks", "commands", "messages")
_QUERIES, _SECONDS = measure("queries"), measure("database_seconds")


@cache
def _engine() -> Engine:
    return Engine(
        dirs=[str(HERE / "templates")],
        libraries={"numbers": "django_querybudget.production.numbers"},
        builtins=["django_querybudget.production.numbers"],
    )


@cache
def stylesheet() -> str:
    """Return the page's stylesheet."""
    return (HERE / "static" / "querybudget.css").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Frame:
    """What is around each page: its stylesheet, where it links to, and the time it is of."""

    home: str
    """The URL of the page of all series; the others are below it."""
    since: str

    def names(self) -> dict[str, Any]:
        """Return what the templates read."""
        return {
            "style": f"{self.home}style.css",
            "home": self.home,
            "since": self.since,
            "periods": PERIODS,
            "asked": urlencode({"since": self.since}),
        }


def _render(template: str, names: dict[str, Any]) -> str:
    # No localisation: a number with a decimal comma is no SVG.
    return _engine().get_template(template).render(Context(names, use_l10n=False))


def _stamp(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%d %b %Y %H:%M UTC")


def _overview(picture: Picture, since: str) -> dict[str, Any]:
    rows = summarised(picture.whole)
    requests = sum(row.requests for row in rows)
    over_budget, nplusone = (
        sum(getattr(row, name) for row in rows) for name in ("over_budget", "nplusone")
    )
    deploy = deploy_of(picture, conf.RELEASE or "")
    queries = sum(picture.trend.queries)
    each = requests or 1
    return {
        "rows": rows,
        "kinds": _kinds(rows),
        "until": _stamp(picture.until),
        "deploy": _deploy(picture, deploy, since),
        "trend": trend(picture.trend, picture.starts(), _marks(picture, deploy)),
        "seconds": picture.seconds,
        "each_seconds": picture.seconds / each,
        "requests": requests,
        "rate": requests / max(1, picture.until - picture.since),
        "queries": queries / each,
        "all_queries": queries,
        "over_budget": over_budget,
        "over_share": over_budget / each,
        "nplusone": nplusone,
        "nplusone_share": nplusone / each,
        "looks_for_nplusone": nplusone or conf.NPLUSONE != "off",
    }


def _kinds(rows: Iterable[Row]) -> str:
    """Return what the rows are of: ``"Views, tasks and messages"``."""
    seen = {row.key.kind for row in rows}
    *first, last = [each for each in _KINDS if each[:-1] in seen] or ["all"]
    return (f"{', '.join(first)} and {last}" if first else last).capitalize()


def _marks(picture: Picture, deploy: tuple[str, str] | None) -> dict[str, int]:
    if deploy is None:
        return {}
    return {f"release {deploy[1]}" if deploy[1] else "no release": picture.seen[deploy[1]][0]}


def _deploy(picture: Picture, deploy: tuple[str, str] | None, since: str) -> dict[str, Any] | None:
    """Return what changed with the last deploy, by what it comes to in database time."""
    if deploy is None:
        return None
    before, after = (figures_of(picture.releases[name]) for name in deploy)
    both = [Comparison(key, before[key], after[key]) for key in after if key in before]
    ranked = sorted(both, key=lambda each: -abs(each.weight))
    changed = [each for each in ranked if each.verdict]
    return {
        "before": deploy[0] or "no release",
        "after": deploy[1] or "no release",
        "at": _stamp(picture.seen[deploy[1]][0]),
        "changes": [(each, _query(each.key, since)) for each in changed[:MOST_CHANGES]],
        "hidden": max(0, len(changed) - MOST_CHANGES),
        "new": sum(key not in before for key in after),
    }


def _query(key: SeriesKey, since: str) -> str:
    """Return what the URL of a series' page asks for."""
    return urlencode({**key._asdict(), "since": since})


def _linked(rows: Iterable[Row], picture: Picture, since: str) -> list[dict[str, Any]]:
    return [
        {
            "row": row,
            "query": _query(row.key, since),
            "length": f"{row.share * 100:.2f}",
            "spark": sparkline(picture.trends[row.key]),
        }
        for row in rows
    ]


def render_overview(picture: Picture, frame: Frame, *, every: bool = False) -> str:
    """Return the page of all series, by total database time."""
    names = _overview(picture, frame.since)
    rows = names["rows"] if every else names["rows"][:SHOWN]
    names["hidden"] = len(names["rows"]) - len(rows)
    names["rows"] = _linked(rows, picture, frame.since)
    return _render("overview.html", {**frame.names(), **names, "tab": "views"})


def render_file(picture: Picture) -> str:
    """Return the same as one self-contained file, with all series' shapes."""
    names = _overview(picture, "")
    names["rows"] = _linked(names["rows"], picture, "")
    return _render("overview.html", {**names, "inline": stylesheet(), "whole": True})


def render_problem(problem: str, frame: Frame) -> str:
    """Return a page that says why there is no picture."""
    return _render("problem.html", {**frame.names(), "problem": problem})


def render_comparison(rows: Sequence[Comparison], before: str, after: str) -> str:
    """Return a comparison as one self-contained file."""
    names = {"rows": rows, "before": before, "after": after, "inline": stylesheet()}
    return _render("comparison.html", names)


def render_series(
    picture: Picture, key: SeriesKey, frame: Frame, findings: Sequence[IndexFinding] = ()
) -> str:
    """Return the page of one series, with what its tables' indexes lack; it may have none."""
    row = next((each for each in summarised(picture.whole) if each.key == key), None)
    names: dict[str, Any] = {**frame.names(), "key": key, "row": row, "tab": "views"}
    names["until"] = _stamp(picture.until)
    if row is not None:
        numbers = picture.whole.series[key].numbers
        deploy = deploy_of(picture, conf.RELEASE or "")
        sides = (figures_of(picture.releases[name]).get(key) for name in deploy or ())
        deployed = Comparison(key, *sides) if deploy else None
        reads = row.hits + row.misses + row.bypasses
        names |= {
            "trend": trend(picture.trends[key], picture.starts(), _marks(picture, deploy)),
            "query": urlencode(key._asdict()),
            "queries": histogram(_QUERIES, numbers, limit=row.budget),
            "times": histogram(_SECONDS, numbers, factor=1000),
            "deploy": deploy,
            "deployed": deployed,
            "over_share": row.over_budget / row.requests,
            "reads": reads,
            "parts": _parts([row.hits, row.misses, row.bypasses]),
            "findings": findings,
        }
    return _render("series.html", names)


def _parts(numbers: Sequence[int]) -> list[tuple[str, str]]:
    """Return where each part of a bar of 100 begins, and how long it is."""
    whole = sum(numbers) or 1
    begun = accumulate(numbers, initial=0)
    return [
        (f"{start / whole * 100:.2f}", f"{number / whole * 100:.2f}")
        for start, number in zip(begun, numbers, strict=False)
    ]


def render_databases(
    databases: Sequence[ExplainedDatabase], findings: Sequence[IndexFinding], frame: Frame
) -> str:
    """Return the page of the databases' own statistics and of what the indexes lack."""
    told = [
        {
            "found": each,
            "shares": [
                {
                    "share": share,
                    "query": _query(share.key, frame.since),
                    "time": f"{share.time * 100:.2f}",
                    "blocks": f"{share.blocks * 100:.2f}",
                }
                for share in each.shares[:SHOWN]
            ],
            "time": f"{each.unexplained_time * 100:.2f}",
            "blocks": f"{each.unexplained_blocks * 100:.2f}",
        }
        for each in databases
    ]
    names = {**frame.names(), "databases": told, "findings": findings[:SHOWN], "tab": "database"}
    return _render("database.html", names)


def render_cache(stats: CacheStats | None, frame: Frame) -> str:
    """Return the page of the cache and its audit; None where nothing is cached."""
    names: dict[str, Any] = {**frame.names(), "stats": stats, "tab": "cache"}
    if stats is not None:
        names["since_when"] = _stamp(int(stats.since))
        names["looked_up"] = stats.hits + stats.misses
        names["sites"] = stats.sites[:SHOWN]
        for reasons in ("bypasses", "not_stored", "unaudited"):
            told = getattr(stats, reasons)
            names[reasons] = sorted(told.items(), key=lambda item: -item[1])[:20]
    return _render("cache.html", names)


def render_tests(found: TestedViews | None, problem: str, frame: Frame) -> str:
    """Return the page of what the tests do not see; None with what is in the way."""
    names: dict[str, Any] = {**frame.names(), "found": found, "problem": problem, "tab": "tests"}
    if found is not None:
        names["untested"] = [(row, _query(row.key, frame.since)) for row in found.untested[:SHOWN]]
        names["exceeding"] = [
            (each, _query(each.row.key, frame.since)) for each in found.exceeding[:SHOWN]
        ]
    return _render("tests.html", names)
