"""What tests do not see: production's views beside the lines of ``querybudget.toml``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from django_querybudget.ratchet.lines import Key, Line

from .measures import measure
from .record import Record, SeriesKey, series_key
from .summary import VERSION, Row, summarised

__all__ = [
    "Exceeding",
    "SuggestedBudget",
    "TestedViews",
    "lock_file",
    "suggested_budgets",
    "tested",
    "tested_as_json",
]

_QUERIES = measure("queries")
_KEPT = 0.99
"""The share of requests that a suggested budget allows."""


@dataclass(frozen=True, slots=True)
class Exceeding:
    """A view that runs more queries in production than any test saw."""

    row: Row
    recorded: int
    """The most that the tests saw."""
    certain: float
    """The share of its requests that certainly had more, 0 to 1."""


@dataclass(frozen=True, slots=True)
class TestedViews:
    """Production's views, as the tests know them."""

    __test__ = False  # pytest: this is no test

    untested: tuple[Row, ...]
    """Views that no line is of, those first that take the database longest."""
    exceeding: tuple[Exceeding, ...]
    """Views of which one request in 20 or more certainly exceeds what is recorded."""
    within: int
    """How many views keep what is recorded."""

    @property
    def number(self) -> int:
        """How many views there are."""
        return len(self.untested) + len(self.exceeding) + self.within


def tested(record: Record, lines: Mapping[Key, Line]) -> TestedViews:
    """Return what production has that the tests do not.

    A histogram tells a value within its bucket: a view exceeds its line only where the whole bucket
    does, so that none is named that keeps it.
    """
    recorded = _recorded_queries(lines)
    untested: list[Row] = []
    exceeding: list[Exceeding] = []
    within = 0
    for row in _views(record):
        known = recorded.get(row.key)
        if known is None and row.key.method == "HEAD":  # Django answers it by the view's GET
            known = recorded.get(row.key._replace(method="GET"))
        if known is None:
            untested.append(row)
            continue
        numbers = record.series[row.key].numbers
        above = _QUERIES.certainly_above(numbers, known)
        if above * 20 > _QUERIES.known(numbers):
            exceeding.append(Exceeding(row, known, above / _QUERIES.known(numbers)))
        else:
            within += 1
    return TestedViews(tuple(untested), tuple(exceeding), within)


@dataclass(frozen=True, slots=True)
class SuggestedBudget:
    """A line of ``QUERYBUDGET["BUDGETS"]`` that production suggests."""

    key: str
    budget: int
    reason: str

    def __str__(self) -> str:
        escaped = self.key.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}": {self.budget},  # {self.reason}'


def suggested_budgets(record: Record, lines: Mapping[Key, Line]) -> Iterator[SuggestedBudget]:
    """Yield for each view the least budget, of the histogram's bounds, that 99 of 100 keep."""
    recorded = _recorded_queries(lines)
    for row in _views(record):
        name = row.key.name
        budget = _QUERIES.bound_of(record.series[row.key].numbers, _KEPT)
        # A name that was cut, or that would mean others too, is none to write.
        if budget is None or name.endswith(("…", "*")) or row.key.method == "other":
            continue
        tests = recorded.get(row.key)
        seen = "no test has it" if tests is None else f"the tests saw {tests}"
        reason = f"{row.requests:,} requests, p95 {row.queries_p95:.0f}; {seen}"
        yield SuggestedBudget(f"{row.key.method} {name}", int(budget), reason)


def _recorded_queries(lines: Mapping[Key, Line]) -> dict[SeriesKey, int]:
    """Return the most queries that the tests recorded of each view and method."""
    found: dict[SeriesKey, int] = {}
    for (kind, name), line in lines.items():
        method, _, rest = name.partition(" ")
        view, _, status = rest.rpartition(" ")
        if kind == "views" and view and status:
            key = series_key("view", view, method)
            found[key] = max(line.queries, found.get(key, 0))
    return found


def lock_file(name: str = "querybudget.toml") -> Path:
    """Return the file's path: below the working directory, else below ``BASE_DIR``."""
    path = Path(name)
    base = getattr(settings, "BASE_DIR", None)
    if not path.exists() and base is not None and (Path(base) / name).exists():
        return Path(base) / name
    return path


def tested_as_json(found: TestedViews) -> dict[str, Any]:
    """Return it as JSON has it."""
    return {
        "version": VERSION,
        "views": found.number,
        "within": found.within,
        "exceeding": [
            {
                **each.row.key._asdict(),
                "recorded": each.recorded,
                "queries_p95": round(each.row.queries_p95, 6),
                "certain": round(each.certain, 6),
            }
            for each in found.exceeding
        ],
        "untested": [
            {**row.key._asdict(), "queries_p95": round(row.queries_p95, 6), "share": row.share}
            for row in found.untested
        ],
    }


def _views(record: Record) -> list[Row]:
    return [
        row for row in summarised(record) if row.key.kind == "view" and row.key.name != "no view"
    ]
