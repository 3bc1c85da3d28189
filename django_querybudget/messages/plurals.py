"""How many of what, in words: :func:`counted`; and the first of many: :func:`first_of`."""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice

__all__ = ["counted", "first_of"]


def counted(count: float, singular: str, plural: str = "") -> str:
    """Return ``"1 query"``, ``"2 queries"``; without ``plural`` it is an s that is added."""
    return f"{count:.12g} {singular if count == 1 else plural or f'{singular}s'}"


def first_of(
    names: Collection[str], most: int, *, between: str = ", ", last: str = " and ", what: str = ""
) -> str:
    """Return ``"a, b and 3 more"``, or ``"a, b and 3 views more"`` where ``what`` is ``"view"``."""
    shown, more = between.join(islice(names, most)), len(names) - most
    if more <= 0:
        return shown
    return f"{shown}{last}{counted(more, what) if what else more} more"
