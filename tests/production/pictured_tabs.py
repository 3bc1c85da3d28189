"""The page's other tabs, of the site that ``pictured.py`` lets live for an hour.

What they tell comes from elsewhere than the record: a PostgreSQL's statistics, the cache's counts,
a ``querybudget.toml``. Here it is as such a site would have it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django_querybudget.cache.sites import SiteStats
from django_querybudget.cache.stats import CacheStats
from django_querybudget.indexes.audit.models import audit_models, audited_models
from django_querybudget.production import pages
from django_querybudget.production.explained import explained
from django_querybudget.production.reading import Picture
from django_querybudget.production.statements import Statement, Statements
from django_querybudget.production.tested import tested
from django_querybudget.ratchet.lines import Key, Line

__all__ = ["render_tab"]

OTHERS = (
    # Statement, calls, seconds, blocks read.
    ("SELECT * FROM audit_log WHERE created < $1", 96, 41.0, 14_400),
    ("SELECT date_trunc($1, created), count(*) FROM payment_payment GROUP BY 1", 24, 18.2, 6_120),
)
CACHED = (
    # Name, hits, misses, ms of a hit, ms that it saves, audited, stale.
    ("view jobs.views.JobList", 18_204, 1_120, 0.9, 48.0, 182, 0),
    ("view accounts.views.profile", 9_311, 2_804, 0.8, 11.5, 95, 0),
    ("function rating.reads.average_stars()", 7_480, 640, 0.4, 6.2, 71, 2),
    ("queryset jobs.Industry (all)", 31_092, 12, 0.3, 0.9, 310, 0),
    ("queryset payment.Payment (payer, recipient)", 402, 1_906, 0.5, 0.6, 4, 0),
)
SEEN = {  # what the tests saw
    "jobs:list": 4, "jobs:detail": 9, "accounts:profile": 14, "rating:reviews": 3,
    "api:search": 3, "admin:index": 12,
}  # fmt: skip
APPS = frozenset(("accounts", "jobs", "payment", "rating"))


def render_tab(tab: str, picture: Picture, frame: pages.Frame) -> str:
    """Return the page ``"database"``, ``"cache"`` or ``"tests"``."""
    if tab == "database":
        found = [explained(_statistics(picture), picture.whole)]
        installed = [
            each for each in audited_models(third_party=False) if each._meta.app_label in APPS
        ]
        return pages.render_databases(found, sorted(audit_models(installed), key=_first), frame)
    if tab == "cache":
        return pages.render_cache(_stats(picture), frame)
    lines = {Key("views", f"GET {name} 200"): Line(queries=most) for name, most in SEEN.items()}
    return pages.render_tests(tested(picture.whole, lines), "", frame)


def _first(finding: object) -> tuple[int, str]:
    return -finding.severity.value, finding.key  # type: ignore[attr-defined]


def _statistics(picture: Picture) -> Statements:
    statements = [
        Statement(
            shape.sql,
            cost.queries,
            cost.seconds,
            cost.queries,
            cost.queries * 40,
            cost.queries // 3,
        )
        for series in picture.whole.series.values()
        for shape, cost in series.shapes.items()
        for n in [cost.queries]
    ]
    statements += [
        Statement(sql, calls, seconds, calls, calls * 100, blocks)
        for sql, calls, seconds, blocks in OTHERS
    ]
    return Statements(
        alias="default",
        statements=tuple(statements),
        number=len(statements),
        seconds=sum(each.seconds for each in statements),
        blocks_hit=sum(each.blocks_hit for each in statements),
        blocks_read=sum(each.blocks_read for each in statements),
        since=datetime.fromtimestamp(picture.until, UTC) - timedelta(days=9),
    )


def _stats(picture: Picture) -> CacheStats:
    sites = tuple(
        SiteStats(
            name=name,
            hits=hits,
            misses=misses,
            stores=misses,
            audited=audited,
            stale=stale,
            hit_seconds=hits * took / 1000,
            saved_seconds=hits * saves / 1000,
            miss_seconds=misses * took * 1.6 / 1000,
            query_seconds=misses * saves / 1000,
        )
        for name, hits, misses, took, saves, audited, stale in CACHED
    )
    return CacheStats(
        since=picture.until - 9 * 86_400,
        hits=sum(each.hits for each in sites),
        misses=sum(each.misses for each in sites),
        stores=sum(each.stores for each in sites),
        bypasses={"inside of a transaction that wrote jobs_job": 214, "the rows have no order": 37},
        not_stored={"something that it depends on was written meanwhile": 61},
        invalidations=4_210,
        marks=4_180,
        everything={},
        errors=0,
        waits=0,
        unmarked=0,
        unaudited={"it was written to between the hit and the comparison": 9},
        sites=sites,
    )
