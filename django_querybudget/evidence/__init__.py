"""What the live stack knows of a repeated query, and no query log does: see :class:`Evidence`.

The log has text. Which relation a query loaded, for which instance, and which queryset that
instance came from stand in frames that are gone a moment later: in the locals of Django's own
descriptors, managers and querysets. They are read here, while the query runs; nothing of Django is
replaced. Before a shape repeats, only the frame that iterates a text's queryset is looked at.
"""

from __future__ import annotations

from .loads import (
    BY_INDEX,
    Filter,
    Load,
    LoadKind,
    LoopKey,
    PlaceKey,
    Provenance,
    Scope,
    Step,
    place_key,
)
from .noting import Evidence
from .sources import Source

__all__ = [
    "BY_INDEX",
    "Evidence",
    "Filter",
    "Load",
    "LoadKind",
    "LoopKey",
    "PlaceKey",
    "Provenance",
    "Scope",
    "Source",
    "Step",
    "place_key",
]
