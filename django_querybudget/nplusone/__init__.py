"""N+1 queries: which loops a log has, why, and the line to write. See :func:`find_nplusone`.

Nothing of the ORM is patched. *Detection* reads the log: the same shape from the same line, often
enough, on different values. *Attribution* read the stack when that became certain, and again each
time that the loop had run twice as often: the relation, the instance, the query that the instance
came from. *Suggestions* chain the relations into one line for each queryset.
"""

from __future__ import annotations

from .finder import find_nplusone
from .findings import Cause, Finding, Fix

__all__ = ["Cause", "Finding", "Fix", "find_nplusone"]
