"""Columns that a queryset leaves out, and a loop asks for row by row."""

from __future__ import annotations

from .drafts import Draft
from .needs import Need, Part

__all__ = ["undefer"]


def undefer(draft: Draft, need: Need) -> Part | None:
    """Load the column with the others."""
    raw = draft.root.source is None or draft.root.is_raw
    if raw or not all(step.joins for step in need.path):
        return None
    name = "__".join((*(step.lookup for step in need.path), need.load.name))
    if name not in draft.fields:
        draft.fields.append(name)
    return Part(saves=need.count)
