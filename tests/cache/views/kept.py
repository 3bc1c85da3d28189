"""``cached_view``, with what it was given noted: the same views are cached by setting, too."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

from django_querybudget import cache

PLAIN: dict[str, Callable[..., Any]] = {}
"""The views without their decorator, by their names."""

OPTIONS: dict[str, dict[str, Any]] = {}
"""What the decorator was given."""


def cached_view(timeout: float, **options: Any) -> Callable[[Any], Any]:
    def decorate(view: Any) -> Any:
        if isinstance(view, FunctionType):
            PLAIN[view.__name__] = view
            OPTIONS[view.__name__] = {"timeout": timeout, **options}
        return cache.cached_view(timeout, **options)(view)

    return decorate
