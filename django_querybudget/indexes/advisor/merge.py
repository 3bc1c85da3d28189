"""The fewest indexes that give what many needs ask for. Pure.

The order among columns compared by equality is free. So a candidate is a list of *groups*: sets
of columns whose order is open, and ``({a, b}, {c})`` may become ``(a, b, c)`` or ``(b, a, c)``. A
need joins a candidate if its equality columns can be brought to the front and its range or order
to follow.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from .needs import Need

Group = frozenset[tuple[str, bool]]


@dataclass(kw_only=True)
class Candidate:
    """An index in the making, with the needs that it serves."""

    table: str
    groups: list[Group]
    needs: list[Need] = field(default_factory=list)

    def columns(self, rank: Callable[[str], tuple[int, ...]]) -> list[tuple[str, bool]]:
        """Return the columns in order, each with whether it descends; ``rank`` orders a group."""
        return [term for group in self.groups for term in sorted(group, key=lambda t: rank(t[0]))]


def merge_needs(needs: Iterable[Need]) -> list[Candidate]:
    """Return candidates that together serve every need."""
    by_table: dict[str, list[Need]] = defaultdict(list)
    for need in needs:
        by_table[need.table].append(need)
    candidates = []
    for table, wanted in sorted(by_table.items()):
        merged: list[Candidate] = []
        # The longest first: the shorter ones are then found among them.
        for need in sorted(wanted, key=_most_columns):
            for candidate in merged:
                groups = merged_groups(candidate.groups, need)
                if groups is not None:
                    candidate.groups = groups
                    break
            else:
                candidate = Candidate(table=table, groups=_groups(need))
                merged.append(candidate)
            candidate.needs.append(need)
        candidates += merged
    return candidates


def _most_columns(need: Need) -> tuple[int, list[str], list[tuple[str, bool]]]:
    required = need.tail if need.tail_required else ()
    return -len(need.equality) - len(required), sorted(need.equality), list(need.tail)


def _groups(need: Need) -> list[Group]:
    groups = [frozenset((column, False) for column in need.equality)] if need.equality else []
    return [*groups, *(frozenset({term}) for term in need.tail)]


def merged_groups(groups: list[Group], need: Need) -> list[Group] | None:
    """Return ``groups`` narrowed so that ``need`` is served too; None where that cannot be."""
    rest = set(need.equality)
    front: list[Group] = []
    back = list(groups)
    while rest and back:
        group = back.pop(0)
        names = {column for column, _ in group}
        if names <= rest:
            front.append(group)
            rest -= names
        elif rest <= names:
            first = frozenset(term for term in group if term[0] in rest)
            front.append(first)
            back.insert(0, group - first)
            rest = set()
        else:
            return None
    if rest:
        front.append(frozenset((column, False) for column in rest))
    for term in need.tail:
        if back and term in back[0]:
            front.append(frozenset({term}))
            remaining = back.pop(0) - {term}
            if remaining:
                back.insert(0, remaining)
        elif not back:
            front.append(frozenset({term}))
        elif not need.tail_required:
            break
        else:
            return None
    return [*front, *back]
