"""System checks of ``QUERYBUDGET["CACHE"]["VIEWS"]`` and of its middleware.

===================  =====================================================
``querybudget.E060``  A value in ``VIEWS`` is none.
``querybudget.E061``  ``CachedViewMiddleware`` stands above what must be above it.
``querybudget.W060``  A name in ``VIEWS`` matches no view, or its method is not cached.
``querybudget.W061``  ``VIEWS`` has no effect: the middleware is not there.
===================  =====================================================
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning

from django_querybudget.conf import InvalidSetting, conf
from django_querybudget.routing.names import ViewKey, names_of_views, unmatched

from .by_setting import parse_views
from .middleware import is_ours
from .placement import misplaced

__all__ = ["messages"]

MIDDLEWARE = "django_querybudget.middleware.CachedViewMiddleware"


def messages() -> list[CheckMessage]:
    """Return what is wrong with the views that are to be cached by setting."""
    return [*_values(), *_names(), *_place()]


def _values() -> Iterator[CheckMessage]:
    for text, value in conf.CACHE.VIEWS.items():
        try:
            list(parse_views({text: value}))
        except InvalidSetting as error:
            yield Error(f"{error.name} {error.problem}.", hint=error.hint, id="querybudget.E060")


def _names() -> Iterator[CheckMessage]:
    written = conf.CACHE.VIEWS
    names = names_of_views() if written else []
    for text in written:
        key = ViewKey.of(text)
        name = f"{conf.CACHE.path('VIEWS')}[{text!r}]"
        if key.method not in ("", "GET", "HEAD"):
            yield Warning(
                f"{name} never applies: answers to {key.method} are not cached.",
                hint="Leave the method out: answers to GET are cached, and given to HEAD as well.",
                id="querybudget.W060",
            )
        elif (hint := unmatched(key, names)) is not None:
            yield Warning(f"{name} matches no view.", hint=hint, id="querybudget.W060")


def _place() -> Iterator[CheckMessage]:
    middleware = list(settings.MIDDLEWARE)
    ours = cache(is_ours)
    if not any(map(ours, middleware)):
        if conf.CACHE.VIEWS:
            yield Warning(
                f"Without {MIDDLEWARE} in MIDDLEWARE {conf.CACHE.path('VIEWS')} has no effect.",
                hint=f"Put {MIDDLEWARE!r} last in MIDDLEWARE.",
                id="querybudget.W061",
            )
        return
    if below := misplaced(middleware, ours):
        yield Error(
            f"CachedViewMiddleware stands above {', '.join(below)}: an answer from the cache would "
            f"pass over what that does. So nothing is cached.",
            hint="Put CachedViewMiddleware last in MIDDLEWARE, below sessions and authentication.",
            id="querybudget.E061",
        )
