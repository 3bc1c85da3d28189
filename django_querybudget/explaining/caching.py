"""Whether a view's answers are cached, who says so, and what came of it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any

from django_querybudget.conf import conf

from .production import why_not_to_read
from .views import View

__all__ = ["cache_of"]

_NUMBERS = ("hits", "misses", "stores", "refreshes", "served_stale", "audited", "stale")


def cache_of(view: View, methods: Iterable[str]) -> dict[str, Any]:
    """Return what the cache does for a view: by decorator or by setting, and its counts."""
    told: dict[str, Any] = {
        "unknown": "",
        "cached": False,
        "by": None,
        "where": "",
        "timeout": None,
        "vary_on": None,
        "statistics": None,
    }
    # To import the cache is to watch writes: a project that has nothing of it is left without.
    if conf.CACHE.written() is None and "django_querybudget.cache" not in sys.modules:
        return told
    for method in methods:
        told |= _declared(view, method)
        if told["cached"]:
            break
    if not told["cached"]:
        return told
    if not (unknown := why_not_to_read(conf.CACHE.ALIAS, "cache stats")):
        unknown, told["statistics"] = _counted(view)
    return {**told, "unknown": unknown}


def _declared(view: View, method: str) -> dict[str, Any]:
    from django_querybudget.cache.views import by_setting
    from django_querybudget.cache.views.decorator import MARK
    from django_querybudget.routing.names import ByView

    for handler in _marked(view, method):
        declared = getattr(handler, MARK, None)
        if declared is not None:
            name = f"{handler.__module__}.{handler.__qualname__}"
            return {"cached": True, "by": "decorator", "where": name, **_options(declared)}
    found = by_setting.declared(view.request(method))
    if found is None or not found.caches:
        return {}
    written = conf.CACHE.VIEWS
    key = ByView((text, text) for text in written).of(view.request(method))
    where = f"{conf.CACHE.path('VIEWS')}[{key!r}]"
    return {"cached": True, "by": "setting", "where": where, **_options(found)}


def _marked(view: View, method: str) -> Iterator[Any]:
    from django_querybudget.routing.views import ninja_operations

    for _, callback in view.patterns:
        for operation in ninja_operations(callback):
            if method in operation.methods:
                yield operation.run
    yield from view.handlers(method)


def _options(declared: Any) -> dict[str, Any]:
    options = getattr(declared, "options", None)
    if options is None:  # CachedViewMixin: its attributes say it, of each request anew.
        return {}
    varying = options.varying
    called = [getattr(each, "__qualname__", repr(each)) for each in varying.callables]
    return {"timeout": options.timeout, "vary_on": sorted([*varying.names, *called])}


def _counted(view: View) -> tuple[str, dict[str, Any] | None]:
    from django_querybudget.cache import cache_stats

    try:
        stats = cache_stats(all_processes=True)
    except Exception as error:  # a cache may raise anything
        return f"The cache's counts cannot be read: {type(error).__name__}: {error}", None
    names = view.names()
    sites = [
        site
        for site in stats.sites
        if any(site.name == f"view {each}" or _is_within(site.name, each) for each in names)
    ]
    if not sites:
        return f"Nobody has asked the cache for {view.name} since it counts.", None
    return "", {
        "since": stats.since,
        **{name: sum(getattr(site, name) for site in sites) for name in _NUMBERS},
        "bypasses": _together(site.bypasses for site in sites),
        "not_stored": _together(site.not_stored for site in sites),
        "losses": [site.loss for site in sites if site.loss],
    }


def _is_within(site: str, name: str) -> bool:
    """Whether a site is a method of the class ``name``."""
    return site.startswith(f"view {name}.")


def _together(counts: Iterable[Any]) -> dict[str, int]:
    found: dict[str, int] = {}
    for each in counts:
        for reason, times in each.items():
            found[reason] = found.get(reason, 0) + times
    return found
