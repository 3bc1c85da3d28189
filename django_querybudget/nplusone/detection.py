"""Which shapes of a log are loops: :func:`find_loops`. Pure functions of a log."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from dataclasses import dataclass

from django_querybudget.evidence import BY_INDEX, Evidence, Load, LoadKind, place_key
from django_querybudget.nplusone.source.loops import is_over_rows
from django_querybudget.recording.records import QueryLog, RawRecord
from django_querybudget.sql.fingerprints import (
    StatementKind,
    fingerprint,
    identifiers,
    statement_kind,
)
from django_querybudget.stacks import Origin, RawOrigin

from .batches import hashable, is_batched, is_inserted_in_batches, is_paging, is_ranged

__all__ = ["FRAMEWORK_TABLES", "Loop", "find_loops"]

_ONE_ROW = re.compile(r'^UPDATE\b.*\bWHERE\s+[\w."`]+\s*=\s*%s$', re.IGNORECASE | re.DOTALL)

# One lock for each key, in an order: there is no asking for all of them.
_LOCK = re.compile(r"\b(pg_(try_)?advisory_\w*lock\w*|GET_LOCK|RELEASE_LOCK)\s*\(", re.IGNORECASE)

# Framework tables that Django itself looks up one by one, and caches.
FRAMEWORK_TABLES = frozenset(
    {"django_content_type", "django_session", "django_site", "auth_permission"}
)
# Ranges that are only summed up are one GROUP BY.
_SUMMARIES = ("count", "aggregate", "exists")
# What is given rows by the list: one of each row's own, or one that is cut by hand.
_BULK_METHODS = ("bulk_create", "bulk_update", "in_bulk")
_RELATIONS = (LoadKind.TO_ONE, LoadKind.TO_MANY, LoadKind.GENERIC, LoadKind.DEFERRED)


@dataclass(frozen=True, kw_only=True)
class Loop:
    """One shape, run again and again by one line."""

    fingerprint: str
    alias: str
    origin: Origin | None
    records: tuple[RawRecord, ...]
    load: Load | None
    """What the stack said; None for a log that was recorded without."""
    others: tuple[Load, ...] = ()
    """What it said of rows that came another way."""

    @property
    def lines(self) -> list[Origin]:
        """The project's line, and the template's if one was nearer."""
        raw = self.records[0].origin
        template = None if raw is None else Origin.of(RawOrigin(None, 0, raw.node, None))
        return [each for each in (self.origin, template) if each is not None]


def find_loops(log: QueryLog, threshold: int) -> tuple[Loop, ...]:
    """Return what ``log`` ran at least ``threshold`` times from one line, on different values.

    A query is counted where it came from: two lines are never one loop, two shapes neither.
    """
    places: dict[Hashable, list[RawRecord]] = {}
    for raw in log.raw:
        if raw.error is None:
            origin = raw.origin
            place = None if origin is None else place_key("", origin)
            places.setdefault((raw.alias, place), []).append(raw)
    groups: dict[Hashable, list[RawRecord]] = {}
    for key, records in places.items():
        if len(records) >= threshold:  # The others need no look at their text.
            for raw in records:
                if statement_kind(raw.sql) in (StatementKind.READ, StatementKind.WRITE):
                    groups.setdefault((key, fingerprint(raw.sql)), []).append(raw)
    loops = [
        _loop(each, load, others)
        for records in groups.values()
        for each, load, others in _by_path(log.evidence, records, threshold)
        if len(each) >= threshold and _is_loop(each, load, threshold)
    ]
    first = {id(raw): number for number, raw in enumerate(log.raw)}
    return tuple(sorted(loops, key=lambda loop: first[id(loop.records[0])]))


def _by_path(
    evidence: Evidence | None, records: list[RawRecord], threshold: int
) -> Iterator[tuple[list[RawRecord], Load | None, tuple[Load, ...]]]:
    """Yield the records of one line and shape by the way that led there, and what they load.

    A helper that is called from three places is three ways, and no loop; three foreign keys to one
    model that one line reads are three loops.
    """
    if evidence is None:
        yield records, None, ()
        return
    ways: dict[Hashable, list[RawRecord]] = {}
    loads: dict[Hashable, Load] = {}
    others: dict[Hashable, tuple[Load, ...]] = {}
    latest: RawRecord | None = None
    way: Hashable = None
    for raw in records:
        if latest is None or not _same_way(raw, latest):
            key = evidence.key_of(raw)
            way = None if key is None else (key.path, key.inside)
            latest = raw
            if key is not None and way not in loads and key in evidence.loads:
                loads[way] = evidence.loads[key]
                others[way] = tuple(evidence.others.get(key, ()))
        ways.setdefault(way, []).append(raw)
    for way, each in ways.items():
        yield each, loads.get(way), others.get(way, ())


def _same_way(raw: RawRecord, other: RawRecord) -> bool:
    same = raw.trail == other.trail and raw.origin == other.origin and raw.sql == other.sql
    return same and raw.inside == other.inside


def _loop(records: list[RawRecord], load: Load | None, others: tuple[Load, ...]) -> Loop:
    first = records[0]
    return Loop(
        fingerprint=fingerprint(first.sql),
        alias=first.alias,
        origin=None if first.origin is None else Origin.of(first.origin),
        records=tuple(records),
        load=load,
        others=others,
    )


def _is_loop(records: list[RawRecord], load: Load | None, threshold: int) -> bool:
    if load is not None and load.kind is LoadKind.BATCH:
        return False
    shape = fingerprint(records[0].sql)
    if _is_lookup_of_framework(shape, load) or _LOCK.search(shape):
        return False
    by_index = load is not None and load.operation == BY_INDEX
    if (not by_index and is_paging(records, shape)) or _is_in_pieces(records, load):
        return False
    if load is not None and _is_one_row(records, load):
        return False
    # Else the same again is a retry, a poll: duplicates are counted as such.
    if load is not None and (load.kind in _RELATIONS or _is_insert(records[0])):
        return True
    return _different(records) >= threshold


def _is_in_pieces(records: list[RawRecord], load: Load | None) -> bool:
    """Whether one list of values, rows or keys is read or written piece by piece.

    A piece may differ in length, and thus in text, too often for its stack to have been read.
    """
    if load is None:
        return is_batched(records) or is_inserted_in_batches(records)
    if load.kind not in (LoadKind.LOOKUP, LoadKind.WRITE, LoadKind.RAW):
        return False
    key = None if load.model is None else load.model._meta.pk.column
    if load.operation not in _SUMMARIES and is_ranged(records, key):
        return True
    pieces = load.operation in _BULK_METHODS or is_batched(records)
    return (pieces or is_inserted_in_batches(records)) and not is_over_rows(load.scopes)


def _is_one_row(records: list[RawRecord], load: Load) -> bool:
    """Whether it is one row's own relation, or one row that is saved, again and again."""
    if load.kind is LoadKind.TO_MANY:
        # Behind another row's relation it may be many rows that share one.
        own = load.provenance is not None and not load.provenance.path
        return own and _different(records) == 1
    if load.operation != "save" or not _ONE_ROW.match(records[0].sql):
        return False
    return len({hashable(raw.params[-1:]) for raw in records if raw.params}) == 1


def _is_lookup_of_framework(shape: str, load: Load | None) -> bool:
    if not FRAMEWORK_TABLES & identifiers(shape):
        return False
    return load is None or load.kind is LoadKind.LOOKUP or bool(load.filters)


def _is_insert(raw: RawRecord) -> bool:
    """Whether it adds a row, another one each time however alike they are."""
    return raw.sql[:6].upper() == "INSERT"


def _different(records: list[RawRecord]) -> int:
    return len({(raw.sql, hashable(raw.params)) for raw in records})
