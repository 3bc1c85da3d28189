"""System checks: registered here, each room's from its own ``checks.py``.

===================  =====================================================
``querybudget.E001``  A key of ``QUERYBUDGET`` is unknown, or its value is not accepted.
``querybudget.W001``  Middleware that may query stands above ``QueryBudgetMiddleware``.
``querybudget.W002``  Settings have no effect on requests, for ``QueryBudgetMiddleware`` is not
                      there.
``querybudget.W003``  ``NPLUSONE_ALLOW`` has a pattern that matches no relation, or an expired one
                      (``W014``): :mod:`.nplusone.checks`.
``010`` to ``014``    Budgets: :mod:`.budgets.checks`; decorators: :mod:`.budgets.dead_decorators`,
                      :mod:`.budgets.method_decorators`.
``020`` to ``028``    The cache: :mod:`.cache.checks`, :mod:`.cache.stores.checks`.
``030`` to ``033``    Indexes: :mod:`.indexes.checks`.
``040`` to ``042``    The record of production: :mod:`.production.checks`.
``060`` to ``061``    Cached views: :mod:`.cache.views.checks`.
===================  =====================================================

A new check takes the next number of its room, and a new room the next ten (``070``). An id that
went is given to no other: projects silence it by that name.

The rooms of the causes and of the cache are imported when there is something to check: a server's
process loads nothing of the causes, and to import the cache is to watch writes. The checks of
indexes are registered with their room, which a project may use without the app.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning
from django.urls import get_resolver
from django.utils.module_loading import import_string

from django_querybudget.budgets.checks import (
    check_budgets,
    check_expired_budgets,
    check_rows_budgets,
)
from django_querybudget.budgets.dead_decorators import check_decorators
from django_querybudget.budgets.method_decorators import check_method_decorators
from django_querybudget.messages.registration import registered
from django_querybudget.reports.enforcement import in_tests
from django_querybudget.routing.names import ViewKey

from .conf import InvalidSetting, conf
from .indexes import checks as _of_indexes  # noqa: F401 - registers them
from .middleware import QueryBudgetMiddleware

MIDDLEWARE = "django_querybudget.middleware.QueryBudgetMiddleware"

# Django's own middleware that sends no query, and may stand above ours.
_QUERYLESS = (
    "django.middleware.common.CommonMiddleware",
    "django.middleware.gzip.GZipMiddleware",
    "django.middleware.http.ConditionalGetMiddleware",
    "django.middleware.security.SecurityMiddleware",
)


registered("querybudget")(check_budgets)
registered("querybudget")(check_rows_budgets)
registered("querybudget")(check_expired_budgets)
# A tag of their own, too: a hook before each commit asks for these alone.
registered("querybudget", "querybudget_decorators")(check_decorators)
registered("querybudget", "querybudget_decorators")(check_method_decorators)


@registered("querybudget")
def check_settings(**_: object) -> list[CheckMessage]:
    """Report every key and value of ``QUERYBUDGET`` that no setting accepts."""
    return [
        Error(f"{error.name} {error.problem}.", hint=error.hint, id="querybudget.E001")
        for error in conf.errors()
    ]


@registered("querybudget")
def check_nplusone_allow(**_: object) -> list[CheckMessage]:
    """Report patterns of ``NPLUSONE_ALLOW`` that match no relation, field or model of any app."""
    try:
        if not conf.NPLUSONE_ALLOW:
            return []
    except InvalidSetting:  # E001 says so.
        return []
    from django_querybudget.nplusone.checks import check_allowlist

    return check_allowlist()


@registered("querybudget")
def check_cache(**_: object) -> list[CheckMessage]:
    """Report settings of the cache that name what does not exist or cannot be right."""
    if conf.CACHE.written() is None:
        return _cache_without_settings()
    from .cache import checks

    found = checks.settings_messages()
    if not (settings.DEBUG or in_tests()):  # where one process is enough
        found += checks.not_shared("LocMemCache")
    return found


@registered("querybudget")
def check_cached_views(**_: object) -> list[CheckMessage]:
    """Report views that are to be cached by setting and are not, and why."""
    if conf.CACHE.written() is None:
        return []
    from django_querybudget.cache.views import checks

    return checks.messages()


@registered("querybudget", deploy=True)
def check_deployed_cache(**_: object) -> list[CheckMessage]:
    """Report, with ``check --deploy``, a cache that is no good for several processes."""
    if conf.CACHE.written() is None:
        return []
    from django_querybudget.cache.stores.checks import server_messages

    from .cache import checks

    found = checks.not_shared("DummyCache", "DatabaseCache")
    if settings.DEBUG or in_tests():
        found += checks.not_shared("LocMemCache")  # not said above
    return [*found, *server_messages()]


@registered(Tags.database)
def check_one_database(databases: Collection[str] | None = None, **_: object) -> list[CheckMessage]:
    """Report aliases that may be one database, where no server can tell (``--database``)."""
    if conf.CACHE.written() is None:
        return []
    from .cache import checks

    return checks.one_database(databases or ())


@registered("querybudget")
def check_production(**_: object) -> list[CheckMessage]:
    """Report a record of production that goes nowhere."""
    if conf.PRODUCTION.written() is None:
        return []
    from django_querybudget.production.checks import production_messages

    return production_messages(tests_or_debug=settings.DEBUG or in_tests())


@registered("querybudget")
def check_middleware_order(**_: object) -> list[CheckMessage]:
    """Report middleware above ours, whose queries are not in any count."""
    middleware = list(settings.MIDDLEWARE)
    ours = next(filter(_is_ours, middleware), None)
    if ours is None:
        return []
    above = [name for name in middleware[: middleware.index(ours)] if name not in _QUERYLESS]
    if not above:
        return []
    return [
        Warning(
            f"Queries of {', '.join(above)} are not counted: it stands above {ours}.",
            hint=f"Put {ours!r} first in MIDDLEWARE.",
            id="querybudget.W001",
        )
    ]


@registered("querybudget")
def check_middleware_is_there(**_: object) -> list[CheckMessage]:
    """Report settings that say how requests are measured, where no middleware measures them."""
    written = conf.written()
    if not isinstance(written, Mapping) or not conf.ENABLED:
        return []
    # NPLUSONE: "off" is heeded by captures, too.
    of_views = [key for key in conf.BUDGETS if not ViewKey.of(key).is_of_work]
    asked = {"BUDGETS": of_views, "HEADERS": conf.HEADERS, "IGNORE_PATHS": conf.IGNORE_PATHS}
    dead = [name for name, value in asked.items() if value]
    dead += ["NPLUSONE"] if conf.NPLUSONE not in (None, "off") else []
    dead += ["PRODUCTION"] if conf.PRODUCTION.written() is not None else []
    dead += ["SAMPLE_RATE"] if conf.SAMPLE_RATE not in (0, 1) else []
    if not dead or any(map(_is_ours, settings.MIDDLEWARE)):
        return []
    names = ", ".join(conf.path(name) for name in dead)
    return [
        Warning(
            f"Without {MIDDLEWARE} in MIDDLEWARE this has no effect on requests: {names}.",
            hint=(
                f"Put {MIDDLEWARE!r} first in MIDDLEWARE. It need not measure where it is: "
                'QUERYBUDGET = {"ENABLED": False}. Tasks, commands and messages are measured '
                "without it: a project of those alone names querybudget.W002 in "
                "SILENCED_SYSTEM_CHECKS."
            ),
            id="querybudget.W002",
        )
    ]


def _is_ours(name: str) -> bool:
    if name == MIDDLEWARE:
        return True
    try:
        found = import_string(name)
    except Exception:  # a module may raise anything; Django tells it
        return False
    return isinstance(found, type) and issubclass(found, QueryBudgetMiddleware)


def _cache_without_settings() -> list[CheckMessage]:
    # None: not installed at this moment, in a test that takes apps away.
    watching: Any = apps.app_configs.get("django_querybudget")
    if watching is None or watching.watches_writes:
        return []
    _import_views()
    if "django_querybudget.cache" not in sys.modules:
        return []
    return [
        Warning(
            "The cache is used, but only processes that import it invalidate what they write.",
            hint='Add "CACHE": {} to QUERYBUDGET, so that every process does.',
            id="querybudget.W020",
        )
    ]


def _import_views() -> None:
    """Import what serves requests: whether it uses the cache is not known before."""
    if getattr(settings, "ROOT_URLCONF", None):
        with suppress(Exception):  # Django's own check of the URLs tells it
            get_resolver().url_patterns  # noqa: B018  # imports every module that it names
