"""Rows that a foreign key, or a generic one, leads to: loaded with the queryset's own."""

from __future__ import annotations

from .drafts import Draft
from .needs import Need, Part

__all__ = ["behind_generic", "join"]

# What reads a prefetch as it stands.
_READ_PLAINLY = ("get", "all", "count", "exists")


def join(draft: Draft, need: Need) -> Part | None:
    """Join the relation where every step of the way joins in one database, else prefetch it."""
    joins = draft.can_join and all(step.joins for step in need.whole)
    if not joins or not draft.reaches(need):
        return draft.prefetch(need)
    draft.eager.join(need.whole)
    return Part(saves=need.count)


def behind_generic(draft: Draft, need: Need) -> Part | None:
    """Load what rows behind a generic foreign key lead to: ``GenericPrefetch``."""
    if not need.is_plain or need.load.operation not in _READ_PLAINLY:
        return None
    found = draft.eager.behind_generic(need.whole)
    if found is None or any(step.generic for step in found[1][:-1]):
        return None
    lookups, rest = found
    if all(step.joins for step in rest):
        lookups.join(rest)
        return Part(saves=need.count)
    cost = 0 if lookups.has(rest) else draft.root.prefetch_cost(need.count)
    lookups.prefetch(rest)
    return Part(saves=need.count - cost)
