"""Why the answer of a view was not cached: counted, and told to the log once."""

from __future__ import annotations

import logging

from django_querybudget.cache import stats
from django_querybudget.cache.sites import site_of

from .learned import MOST_VIEWS
from .telling import CacheStatus

__all__ = ["bypassed", "tell_once"]

logger = logging.getLogger("django_querybudget")

_told: set[tuple[str, str]] = set()


def bypassed(name: str, reason: str) -> CacheStatus:
    """Count a request that could not be cached right."""
    stats.count_bypass(f"view: {reason}")
    site_of(f"view {name}").bypassed(reason)
    tell_once(name, reason)
    return CacheStatus(fwd="bypass", detail=reason)


def tell_once(name: str, reason: str) -> None:
    """Log why the answer of the view was not cached, unless that was said before."""
    if (name, reason) not in _told:
        if len(_told) >= MOST_VIEWS:
            _told.clear()
        _told.add((name, reason))
        logger.debug("The answer of %s was not cached: %s.", name, reason)
