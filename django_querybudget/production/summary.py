"""What a picture says, in numbers that a person compares: :func:`summarised`.

Ranked by the databases' total time (how often it ran by what it costs), not by the slowest request.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from .measures import measure
from .record import Record, Series, SeriesKey

__all__ = ["VERSION", "RemarkRow", "Row", "ShapeRow", "as_json", "summarised"]

VERSION = 1
"""Of the JSON that ``report`` prints; one that loses a key, or changes what it means, has another.
"""

_QUERIES, _SECONDS = measure("queries"), measure("database_seconds")
_ROWS, _VIOLATIONS, _NPLUSONE = measure("rows"), measure("violations"), measure("nplusone")


@dataclass(frozen=True, slots=True)
class ShapeRow:
    """One shape of queries at one line."""

    sql: str
    place: str
    queries: int
    seconds: float
    share: float
    """Of the series' own time, 0 to 1."""


@dataclass(frozen=True, slots=True)
class RemarkRow:
    """N+1 queries, or the reason of bypasses."""

    text: str
    place: str
    times: int
    """How many requests had the queries; how many reads were bypassed."""
    advice: str
    """What to write, as a report prints it; may have several lines."""


@dataclass(frozen=True, slots=True)
class Row:
    """One series, summed up."""

    key: SeriesKey
    requests: int
    queries: float
    """A request's, on average."""
    queries_p95: float
    """What 95 of 100 requests do not exceed, within a bucket's width."""
    milliseconds: float
    """In the database, a request's, on average."""
    milliseconds_p95: float
    seconds: float
    """In the database, in all."""
    share: float
    """Of the time of all series, 0 to 1."""
    rows: float | None
    """How many a request fetched, on average; None where no driver told."""
    duplicates: float
    """A request's, on average."""
    nplusone: int
    """Requests that had N+1 queries, as far as they were looked for."""
    over_budget: int
    """Requests that exceeded their budget."""
    budget: int | None
    """How many queries its budget allows."""
    hits: int
    misses: int
    bypasses: int
    audited: int
    """Hits that the audit has compared with the database."""
    stale: int
    """Of those, answers that were stale."""
    shapes: tuple[ShapeRow, ...]
    loops: tuple[RemarkRow, ...]
    """Its N+1 queries, as far as they were looked for."""
    reasons: tuple[RemarkRow, ...]
    """Why cached reads went to the database."""

    @property
    def hit_rate(self) -> float | None:
        """Hits among what was looked up in the cache, 0 to 1; None where nothing was."""
        looked_up = self.hits + self.misses
        return self.hits / looked_up if looked_up else None


def summarised(record: Record) -> list[Row]:
    """Return a row for each series, that first which took the databases longest."""
    whole = sum(series.seconds for series in record.series.values())
    rows = [_row(key, series, whole) for key, series in record.series.items() if series.requests]
    return sorted(rows, key=lambda row: (-row.seconds, -row.requests, row.key))


def _row(key: SeriesKey, series: Series, whole: float) -> Row:
    numbers, own = series.numbers, series.seconds
    return Row(
        key=key,
        requests=series.requests,
        queries=_QUERIES.mean(numbers),
        queries_p95=_QUERIES.quantile(numbers, 0.95),
        milliseconds=_SECONDS.mean(numbers) * 1000,
        milliseconds_p95=_SECONDS.quantile(numbers, 0.95) * 1000,
        seconds=own,
        share=own / whole if whole else 0.0,
        rows=_ROWS.mean(numbers) if _ROWS.known(numbers) else None,
        duplicates=series.total("duplicates") / series.requests,
        nplusone=_NPLUSONE.above_zero(numbers),
        over_budget=_VIOLATIONS.above_zero(numbers),
        budget=series.budget,
        hits=int(series.total("cache_hits")),
        misses=int(series.total("cache_misses")),
        bypasses=int(series.total("cache_bypasses")),
        audited=int(series.total("cache_audited")),
        stale=int(series.total("cache_stale")),
        shapes=tuple(
            ShapeRow(
                shape.sql,
                shape.place,
                cost.queries,
                cost.seconds,
                cost.seconds / own if own else 0.0,
            )
            for shape, cost in series.costliest()
        ),
        loops=_remarks(series, "nplusone"),
        reasons=_remarks(series, "bypass"),
    )


def _remarks(series: Series, kind: str) -> tuple[RemarkRow, ...]:
    return tuple(
        RemarkRow(remark.text, remark.place, *said) for remark, said in series.remarked(kind)
    )


def as_json(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Return rows as JSON has them."""
    return [
        {
            "kind": row.key.kind,
            "name": row.key.name,
            "method": row.key.method,
            **{name: value for name, value in _flat(row).items() if name != "key"},
            "hit_rate": row.hit_rate,
        }
        for row in rows
    ]


def _flat(row: Row) -> dict[str, Any]:
    return {
        name: round(value, 6) if isinstance(value, float) else value
        for name, value in asdict(row).items()
    }
