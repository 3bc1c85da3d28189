"""Cached views: whole answers, dropped by every write they depend on. See :class:`cached_view`."""

from __future__ import annotations

from .decorator import cached_view
from .mixin import CachedViewMixin

__all__ = ["CachedViewMixin", "cached_view"]
