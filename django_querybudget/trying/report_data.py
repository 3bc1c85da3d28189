"""A report of one request as plain data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from django_querybudget.nplusone import Finding, Fix
from django_querybudget.nplusone.plain import plain, plain_fix
from django_querybudget.nplusone.rendering import render_findings
from django_querybudget.nplusone.rows import lists_of
from django_querybudget.reports.report import QueryReport

from .trial import Loops, ViewCount

__all__ = ["loops_of", "view_of"]


def view_of(report: QueryReport) -> ViewCount:
    """Return what one request to a view executed."""
    view = ViewCount(
        name=report.name,
        queries=report.log.count,
        duplicates=report.log.duplicate_count,
        milliseconds=round(report.milliseconds, 2),
    )
    if report.method == "GET":
        for model, rows in lists_of(report.log):
            view.add_list(model, rows)
    return view


def loops_of(report: QueryReport, rows: int | None) -> Iterator[tuple[str, Any]]:
    """Yield the loops of a report, those together that one line removes."""
    by_fix: dict[Fix | int, list[Finding]] = {}
    packages: dict[str, int] = {}
    for position, each in enumerate(report.findings):
        if each.package and each.fix is None and each.use is None:
            packages[each.package] = packages.get(each.package, 0) + each.count
        else:
            by_fix.setdefault(each.fix or position, []).append(each)
    for found in by_fix.values():
        yield "loops", asdict(_loops(report.name, found, rows))
    if packages:
        yield "packages", packages


def _loops(name: str, found: Sequence[Finding], rows: int | None) -> Loops:
    fix = found[0].fix
    return Loops(
        saves=sum(each.saves for each in found) if fix is None else fix.saves,
        queries=sum(each.count for each in found),
        text=render_findings(found),
        line=None if fix is None else plain_fix(fix),
        loops=[plain(each) for each in found],
        views=[name],
        rows=rows,
    )
