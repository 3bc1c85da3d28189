"""What the database's planner makes of a query, with no value of its tables' statistics.

The question is structural: could *any* index there is serve this? PostgreSQL is asked with
sequential scans disabled, so that it takes any index that it can, even on an empty table. SQLite
takes an index wherever it can by itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db import transaction

from .needs import Need, Purpose
from .shapes import QueryShape

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper


@dataclass(frozen=True, kw_only=True)
class PlannedRead:
    """How a plan reads one table."""

    alias: str
    index: str
    """The index's name, "" where none is used."""
    by_condition: bool
    """Whether the index is searched, rather than read from end to end."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The parts of a plan that the advisor asks about."""

    reads: tuple[PlannedRead, ...]
    sorts: bool
    cost: float | None = None
    """In the planner's own unit; None where it tells none."""

    def reads_whole(self, aliases: Collection[str], partial: Collection[str]) -> bool:
        """Return whether one of ``aliases`` is read from end to end.

        To read all of an index of ``partial`` is to read only the rows of its condition.
        """
        return any(
            read.alias in aliases and not read.by_condition and read.index not in partial
            for read in self.reads
        )


Planner = Callable[["BaseDatabaseWrapper", str, Sequence[Any]], Plan]


def planner_of(connection: BaseDatabaseWrapper) -> Planner | None:
    """Return how to ask the planner of ``connection``; None where this library cannot."""
    return {"postgresql": _structural_postgresql, "sqlite": explain_sqlite}.get(connection.vendor)


def proves(need: Need, shape: QueryShape, plan: Plan, partial: Collection[str]) -> bool:
    """Return whether ``plan`` shows that no index gives what ``need`` asks for."""
    if need.purpose is Purpose.ORDER:
        return plan.sorts
    if need.purpose is Purpose.JOIN:
        return plan.reads_whole({need.alias}, partial)
    return plan.reads_whole({access.alias for access in shape.accesses}, partial)


def _structural_postgresql(
    connection: BaseDatabaseWrapper, sql: str, params: Sequence[Any]
) -> Plan:
    with transaction.atomic(using=connection.alias):
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")
        plan = explain_postgresql(connection, sql, params)
        transaction.set_rollback(True, using=connection.alias)
    return plan


def explain_postgresql(connection: BaseDatabaseWrapper, sql: str, params: Sequence[Any]) -> Plan:
    """Return PostgreSQL's plan; the statement does not run."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}", params)
        (answer,) = cursor.fetchone()
    root = (json.loads(answer) if isinstance(answer, str) else answer)[0]["Plan"]
    nodes = list(_nodes(root))
    return Plan(
        reads=tuple(
            _read(node) for node in nodes if "Relation Name" in node and "Scan" in node["Node Type"]
        ),
        sorts=any(node["Node Type"] == "Sort" for node in nodes),
        cost=float(root["Total Cost"]),
    )


def _nodes(node: dict[str, Any]) -> list[dict[str, Any]]:
    return [node, *(inner for child in node.get("Plans", ()) for inner in _nodes(child))]


def _read(node: dict[str, Any]) -> PlannedRead:
    inner = _nodes(node) if node["Node Type"] == "Bitmap Heap Scan" else [node]
    return PlannedRead(
        alias=node["Alias"],
        index=next((part["Index Name"] for part in inner if "Index Name" in part), ""),
        by_condition=any("Index Cond" in part for part in inner) or node["Node Type"] == "Tid Scan",
    )


_SQLITE = re.compile(
    r"^(?P<how>SCAN|SEARCH) (?:TABLE )?(?P<table>\S+)(?: AS (?P<alias>\S+))?"
    r"(?: USING (?P<using>.*))?$"
)


def explain_sqlite(connection: BaseDatabaseWrapper, sql: str, params: Sequence[Any]) -> Plan:
    """Return SQLite's plan; the statement does not run."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {sql}", params)
        details = [row[3] for row in cursor.fetchall()]
    reads = []
    for found in filter(None, map(_SQLITE.match, details)):
        using = found["using"] or ""
        index = re.search(r"INDEX (\S+)", using)
        reads.append(
            PlannedRead(
                alias=found["alias"] or found["table"],
                index=index[1] if index else "",
                # An automatic index is built for the query, for want of a real one.
                by_condition=found["how"] == "SEARCH" and "AUTOMATIC" not in using,
            )
        )
    return Plan(
        reads=tuple(reads),
        sorts=any(detail.startswith("USE TEMP B-TREE FOR ORDER BY") for detail in details),
    )
