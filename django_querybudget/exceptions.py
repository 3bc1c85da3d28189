"""Everything this library raises on purpose."""

from __future__ import annotations


class QueryBudgetError(Exception):
    """Base of this library's exceptions: catch it to catch them all."""
