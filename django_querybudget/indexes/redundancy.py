"""Which indexes give nothing that another one does not give.

Pure functions of :class:`~.definitions.IndexDefinition`, for models and databases alike. Only
indexes of the same method, condition and operator classes are compared. A unique index is never
called redundant to one that is not unique: it is a rule of the data as well.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from .definitions import IndexDefinition


class Coverage(Enum):
    """How the index that stays covers the other."""

    EQUAL = "equal"
    PREFIX = "prefix"


@dataclass(frozen=True, kw_only=True)
class Redundancy:
    """``index`` gives nothing that ``covered_by`` does not give."""

    index: IndexDefinition
    covered_by: IndexDefinition
    relation: Coverage


def find_redundant(definitions: Iterable[IndexDefinition]) -> list[Redundancy]:
    """Return each redundant index once, with the best reason, in the order given.

    Of two equal indexes the one that is implied (by a unique field, a foreign key) stays, else
    the first. A left prefix is reported against the shortest index that it is a prefix of.
    """
    by_table: dict[str, list[IndexDefinition]] = defaultdict(list)
    for definition in definitions:
        by_table[definition.table].append(definition)
    return [
        redundancy
        for candidates in by_table.values()
        for position in range(len(candidates))
        if (redundancy := _redundancy(position, candidates)) is not None
    ]


def _redundancy(position: int, candidates: list[IndexDefinition]) -> Redundancy | None:
    index = candidates[position]
    equal = [
        other
        for place, other in enumerate(candidates)
        if place != position
        and covers_equally(other, index)
        and not (covers_equally(index, other) and _kept_first(index, position, other, place))
    ]
    if equal:
        best = min(equal, key=lambda other: other.rank)
        return Redundancy(index=index, covered_by=best, relation=Coverage.EQUAL)
    longer = [other for other in candidates if covers_as_prefix(other, index)]
    if longer:
        shortest = min(longer, key=lambda other: (len(other.columns), other.rank))
        return Redundancy(index=index, covered_by=shortest, relation=Coverage.PREFIX)
    return None


def _kept_first(index: IndexDefinition, at: int, other: IndexDefinition, place: int) -> bool:
    return (index.rank, at) < (other.rank, place)


def covers_equally(other: IndexDefinition, index: IndexDefinition) -> bool:
    """Return whether ``other`` has the same keys as ``index`` and gives at least as much."""
    if not _comparable(other, index) or len(other.keys) != len(index.keys):
        return False
    if index.unique and (not other.unique or index.variant != other.variant):
        return False
    return _same_keys(other, index)


def covers_as_prefix(other: IndexDefinition, index: IndexDefinition) -> bool:
    """Return whether ``index`` is a left prefix of the longer ``other``."""
    return (
        not index.unique
        and index.method == "btree"
        and len(other.keys) > len(index.keys)
        and _comparable(other, index)
        and _same_keys(other, index)
    )


def _comparable(other: IndexDefinition, index: IndexDefinition) -> bool:
    return (
        other.table == index.table
        and other.method == index.method
        and other.condition == index.condition
        and set(index.include) <= {*other.include, *other.columns}
    )


def _same_keys(other: IndexDefinition, index: IndexDefinition) -> bool:
    keys = other.keys[: len(index.keys)]
    if keys == index.keys:
        return True
    # A B-tree is read backwards as well as forwards.
    backwards = tuple((column, opclass, not desc) for column, opclass, desc in keys)
    return index.method == "btree" and backwards == index.keys
