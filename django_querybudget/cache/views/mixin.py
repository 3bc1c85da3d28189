"""``CachedViewMixin``: ``cached_view``, as attributes of a class."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from django_querybudget.cache.api import DEFAULT

from .bypasses import bypassed
from .decorator import MARK, cached_view
from .varying import VaryOn

__all__ = ["CachedViewMixin"]


class CachedViewMixin:
    """A class-based view whose answers are kept: ``cached_view``, as attributes of a class."""

    cache_timeout: float | None = DEFAULT
    """How long an answer is kept at most, seconds; None for no limit."""
    cache_vary_on: Collection[VaryOn] = ("user",)
    """What is part of the key besides the URL, language and time zone."""
    cache_tags: Collection[str] = ()
    """Names for :func:`~django_querybudget.cache.invalidate`."""
    cache_refresh: float | None = None
    """For how long an answer that is no longer true may be served while it is made anew."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Raise ``TypeError`` or ``ValueError`` for an attribute that is wrong."""
        super().__init_subclass__(**kwargs)
        _of_attributes(vars(cls))

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Any:
        """Return the view. Raises ``TypeError`` or ``ValueError`` for a wrong attribute."""
        _of_attributes(initkwargs)
        return super().as_view(**initkwargs)  # type: ignore[misc]  # the view that it is mixed into

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Answer from the cache, or as the class below does."""
        name = f"{type(self).__module__}.{type(self).__qualname__}"
        below: Any = super().dispatch  # type: ignore[misc]  # as above
        try:
            decorate = _of_attributes({each: getattr(self, each) for each in _ATTRIBUTES})
        except (TypeError, ValueError) as error:  # of a property's; the others' is told before
            bypassed(name, str(error))
            return below(request, *args, **kwargs)
        is_async = bool(getattr(type(self), "view_is_async", False))
        call = decorate._async(below, name) if is_async else decorate._sync(below, name)
        return call(request, *args, **kwargs)


setattr(CachedViewMixin.dispatch, MARK, True)  # a function's attribute

_ATTRIBUTES = {
    "cache_timeout": "timeout",
    "cache_vary_on": "vary_on",
    "cache_tags": "tags",
    "cache_refresh": "refresh",
}


def _of_attributes(attributes: Mapping[str, Any]) -> cached_view:
    """Return the decorator that attributes of a class say. Raises what it raises."""
    given = {
        name: attributes[attribute]
        for attribute, name in _ATTRIBUTES.items()
        if attribute in attributes and not hasattr(attributes[attribute], "__get__")
    }
    return cached_view(**given)
