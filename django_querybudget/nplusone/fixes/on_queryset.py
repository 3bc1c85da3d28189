"""From a cause to what its queryset is given: :func:`add`. Each cause has a module of its own."""

from __future__ import annotations

from django_querybudget.evidence import LoadKind

from .bypassed import read_rows
from .deferred import undefer
from .drafts import Draft
from .needs import Need, Part, follows
from .related_query import answer
from .relation import behind_generic, join

__all__ = ["add"]


def add(draft: Draft, need: Need) -> Part | None:
    """Add to ``draft`` what saves the queries of ``need``.

    None if no line would, or none that is valid.
    """
    copied = any(step.copies for step in need.whole)
    if draft.root.is_combined or copied or not follows(draft.root.model, need.whole):
        return None
    part = _part(draft, need)
    told = None if part is None else need.told(part)
    if told is not None and not need.load.prefetched:  # That is saved at the line itself.
        draft.saves += told.saves
    return told


def _part(draft: Draft, need: Need) -> Part | None:
    if need.load.kind is LoadKind.DEFERRED:
        return undefer(draft, need)
    if need.load.step is None:
        return None
    if any(step.generic for step in need.whole[:-1]):
        return behind_generic(draft, need)
    if need.load.kind in (LoadKind.TO_ONE, LoadKind.GENERIC):
        return join(draft, need)
    if need.load.prefetched:
        use = read_rows(need)
        return None if use is None else Part(saves=need.count, use=use)
    return answer(draft, need)
