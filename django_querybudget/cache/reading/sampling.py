"""Which hits are audited: a share of them, ``QUERYBUDGET["CACHE"]["AUDIT"]``, at random."""

from __future__ import annotations

import math
import random

from django_querybudget.conf import conf

__all__ = ["due", "restart"]

RELOOK = 1000
"""After how many hits at most the setting is looked at again."""

_left = 0
_armed = False
_random = random.Random()  # noqa: S311  # a sample needs no secret


def restart() -> None:
    """Look at the setting at the next hit."""
    global _left, _armed
    _left, _armed = 0, False


def due() -> bool:
    """Whether the hit that is asked about is one of those to be audited."""
    global _left
    _left -= 1
    return _left < 0 and _turn()


def _turn() -> bool:
    global _left, _armed
    rate = conf.CACHE.AUDIT
    if not rate:
        _left, _armed = RELOOK, False
        return False
    now, _armed = _armed, False
    gap = _gap(rate)
    if not now and gap == 0:
        now, gap = True, _gap(rate)
    # How long one waits for the next says nothing about how long it takes from then on: so a long
    # wait may be cut, and drawn again.
    _left, _armed = min(gap, RELOOK), gap < RELOOK
    return now


def _gap(rate: float) -> int:
    """Return how many hits to leave out before the next one."""
    if rate >= 1:
        return 0
    return min(RELOOK, int(math.log(1 - _random.random()) / math.log(1 - rate)))
