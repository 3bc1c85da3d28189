"""A part of the long proofs: of each one that has many cases, every second or third.

``QUERYBUDGET_PART=1/2`` runs the first of two parts, ``2/2`` the other one. CI runs one of
eight, by the commit (``.ci/run``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import pytest

__all__ = ["FEW", "left_out"]

FEW = 8
"""A proof with fewer cases is run whole."""


def left_out(items: Sequence[pytest.Item], part: str) -> set[pytest.Item]:
    """Return the items that are not of ``part``, ``"1/2"`` say.

    Those not marked ``slow`` are of each part. Raises UsageError for what names no part.
    """
    number, _, parts = part.partition("/")
    if not (number.isdigit() and parts.isdigit() and 1 <= int(number) <= int(parts)):
        raise pytest.UsageError(f"QUERYBUDGET_PART={part!r} names no part: 1/2 is the first of two")
    proofs: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        if item.get_closest_marker("slow"):
            proofs[item.nodeid.partition("[")[0]].append(item)
    return {
        item
        for cases in proofs.values()
        if len(cases) >= FEW
        for place, item in enumerate(cases)
        if place % int(parts) != int(number) - 1
    }
