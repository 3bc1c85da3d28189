"""Whose the database's time is: its own statistics, joined to the record's series by shape.

A statement that several views run is divided among them by the time that each of them spent with
it. What no series has run is named as such: other programs, and what was not measured.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django_querybudget.sql.digests import statement_digest
from django_querybudget.sql.fingerprints import fingerprint
from django_querybudget.sql.shortening import shortened

from .record import Cost, Record, SeriesKey
from .statements import Statement, Statements

__all__ = ["ExplainedDatabase", "Share", "Unexplained", "explained", "explained_as_json"]

MOST_UNEXPLAINED = 10


@dataclass(frozen=True, slots=True)
class Share:
    """What one series is of a database."""

    key: SeriesKey
    calls: float
    seconds: float
    time: float
    """Of the database's time, 0 to 1."""
    blocks: float
    """Of the blocks that were not in its cache, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Unexplained:
    """A statement that no series ran."""

    sql: str
    """Its shape, shortened; empty where it may not be read."""
    calls: int
    time: float
    blocks: float


@dataclass(frozen=True, kw_only=True)
class ExplainedDatabase:
    """One database: which series its time is of, and what no series explains."""

    statistics: Statements
    shares: tuple[Share, ...]
    """Those first that took it longest."""
    unexplained: tuple[Unexplained, ...]
    """The costliest statements of no series."""
    unexplained_time: float
    """Of the database's time, 0 to 1, with what was not read."""
    unexplained_blocks: float


class _Sum:
    def __init__(self) -> None:
        self.calls = self.seconds = self.blocks = 0.0

    def add(self, statement: Statement, share: float = 1.0) -> None:
        self.calls += statement.calls * share
        self.seconds += statement.seconds * share
        self.blocks += statement.blocks_read * share


def explained(statistics: Statements, record: Record) -> ExplainedDatabase:
    """Return the database's time and blocks by series of the record."""
    owners = _owners(record)
    sums: defaultdict[SeriesKey, _Sum] = defaultdict(_Sum)
    others: defaultdict[str, _Sum] = defaultdict(_Sum)
    for statement in statistics.statements:
        owning = owners.get(statement_digest(statement.text), ())
        for key, share in owning:
            sums[key].add(statement, share)
        if not owning:
            others[_shown(statement.text)].add(statement)
    time, blocks = statistics.seconds, statistics.blocks_read
    shares = [
        Share(key, each.calls, each.seconds, _part(each.seconds, time), _part(each.blocks, blocks))
        for key, each in sums.items()
    ]
    unexplained = [
        Unexplained(sql, round(each.calls), _part(each.seconds, time), _part(each.blocks, blocks))
        for sql, each in others.items()
    ]
    return ExplainedDatabase(
        statistics=statistics,
        shares=tuple(sorted(shares, key=lambda each: (-each.time, each.key))),
        unexplained=tuple(sorted(unexplained, key=lambda each: -each.time)[:MOST_UNEXPLAINED]),
        unexplained_time=max(0.0, 1 - sum(each.time for each in shares)) if time else 0.0,
        unexplained_blocks=max(0.0, 1 - sum(each.blocks for each in shares)) if blocks else 0.0,
    )


def _owners(record: Record) -> dict[str, list[tuple[SeriesKey, float]]]:
    """Return for each digest the series that ran it, with the share of each."""
    costs: defaultdict[str, dict[SeriesKey, Cost]] = defaultdict(dict)
    for key, series in record.series.items():
        for shape, cost in series.shapes.items():
            if shape.digest:
                known = costs[shape.digest].get(key, Cost(0, 0.0))
                costs[shape.digest][key] = known.plus(cost)
    return {digest: list(_divided(each.items())) for digest, each in costs.items()}


def _divided(costs: Iterable[tuple[SeriesKey, Cost]]) -> list[tuple[SeriesKey, float]]:
    found = list(costs)
    seconds, queries = sum(c.seconds for _, c in found), sum(c.queries for _, c in found)
    return [
        (key, cost.seconds / seconds if seconds else _part(cost.queries, queries))
        for key, cost in found
    ]


def _part(number: float, whole: float) -> float:
    return number / whole if whole else 0.0


def _shown(text: str) -> str:
    return shortened(fingerprint(text))


def explained_as_json(found: ExplainedDatabase) -> dict[str, Any]:
    """Return it as JSON has it."""
    statistics = found.statistics
    return {
        "alias": statistics.alias,
        "since": statistics.since.isoformat() if statistics.since else None,
        "statements": statistics.number,
        "seconds": round(statistics.seconds, 6),
        "blocks_read": statistics.blocks_read,
        "blocks_hit": statistics.blocks_hit,
        "problems": list(statistics.problems),
        "series": [
            {
                **each.key._asdict(),
                "calls": round(each.calls),
                "seconds": round(each.seconds, 6),
                "time": round(each.time, 6),
                "blocks": round(each.blocks, 6),
            }
            for each in found.shares
        ],
        "unexplained": {
            "time": round(found.unexplained_time, 6),
            "blocks": round(found.unexplained_blocks, 6),
            "statements": [
                {
                    "sql": each.sql,
                    "calls": each.calls,
                    "time": round(each.time, 6),
                    "blocks": round(each.blocks, 6),
                }
                for each in found.unexplained
            ],
        },
    }
