"""System checks: what is wrong with the settings, said at ``manage.py check``.

===================  =====================================================
``querybudget.E001``  A key of ``QUERYBUDGET`` is unknown, or its value is not accepted.
``querybudget.W001``  Middleware that may query stands above ``QueryBudgetMiddleware``.
``querybudget.W002``  Settings have no effect, for ``QueryBudgetMiddleware`` is not there.
``querybudget.W003``  ``NPLUSONE_ALLOW`` has a pattern that matches no relation (:mod:`.nplusone`).
``querybudget.E020``  ``CACHE["ALIAS"]`` is no alias of ``CACHES``.
``querybudget.E021``  ``CACHE["SCOPES"]`` names no model.
``querybudget.E022``  ``CACHE["SCOPES"]`` names no field by which rows can be told apart.
``querybudget.E023``  ``CACHE["REPLICAS"]`` names no alias of ``DATABASES``, or another replica.
``querybudget.E026``  ``CACHE["DELETE_SIGNALS"]`` or ``CACHE["M2M_SIGNALS"]`` names no model.
``querybudget.W020``  The cache is used without ``QUERYBUDGET["CACHE"]``.
``querybudget.W021``  ``CACHE["ALIAS"]`` is a cache that processes do not share.
``querybudget.W022``  ``CACHE["ALIAS"]`` is a database cache in SQLite.
``querybudget.W025``  The cache's server refuses scripts: nothing is cached (``--deploy``).
``querybudget.W026``  The cache's client has no time limit (``--deploy``).
``querybudget.W027``  The server may not say what it evicts, or evicts wrongly (``--deploy``).
``querybudget.W024``  Two aliases may be one database (``check --database``).
``querybudget.E024``  ``CACHE`` names an alias or a model that is not there.
===================  =====================================================

:mod:`.budget_checks` adds ``querybudget.E010``, ``E011`` and ``W010``.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.cache import caches
from django.core.cache.backends.db import DatabaseCache
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import DEFAULT_DB_ALIAS, connections, router
from django.urls import get_resolver
from django.utils.module_loading import import_string

from django_querybudget.reports.enforcement import in_tests

from .conf import InvalidSetting, conf
from .middleware import QueryBudgetMiddleware

MIDDLEWARE = "django_querybudget.middleware.QueryBudgetMiddleware"

# Django's own middleware that sends no query, and may stand above ours.
_QUERYLESS = (
    "django.middleware.common.CommonMiddleware",
    "django.middleware.gzip.GZipMiddleware",
    "django.middleware.http.ConditionalGetMiddleware",
    "django.middleware.security.SecurityMiddleware",
)


@register("querybudget")
def check_settings(**_: Any) -> list[CheckMessage]:
    """Report every key and value of ``QUERYBUDGET`` that no setting accepts."""
    return [
        Error(f"{error.name} {error.problem}.", hint=error.hint, id="querybudget.E001")
        for error in conf.errors()
    ]


@register("querybudget")
def check_nplusone_allow(**_: Any) -> list[CheckMessage]:
    """Report patterns of ``NPLUSONE_ALLOW`` that match no relation, field or model of any app."""
    try:
        if not conf.NPLUSONE_ALLOW:
            return []
    except InvalidSetting:  # E001 says so.
        return []
    # Imported when there is something to check: a server's process loads nothing of the causes.
    from django_querybudget.nplusone.checks import check_allowlist  # noqa: PLC0415

    return check_allowlist()


@register("querybudget")
def check_middleware_order(**_: Any) -> list[CheckMessage]:
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


@register("querybudget")
def check_middleware_is_there(**_: Any) -> list[CheckMessage]:
    """Report settings that the middleware alone heeds, where it is not installed."""
    written = conf.written()
    if not isinstance(written, Mapping) or not conf.ENABLED:
        return []
    # NPLUSONE: "off" is heeded by captures, too.
    asked = {"BUDGETS": conf.BUDGETS, "HEADERS": conf.HEADERS, "IGNORE_PATHS": conf.IGNORE_PATHS}
    dead = [name for name, value in asked.items() if value]
    dead += ["NPLUSONE"] if conf.NPLUSONE not in (None, "off") else []
    dead += ["SAMPLE_RATE"] if conf.SAMPLE_RATE not in (0, 1) else []
    if not dead or any(map(_is_ours, settings.MIDDLEWARE)):
        return []
    names = ", ".join(conf.path(name) for name in dead)
    return [
        Warning(
            f"Without {MIDDLEWARE} in MIDDLEWARE this has no effect: {names}.",
            hint=(
                f"Put {MIDDLEWARE!r} first in MIDDLEWARE. It need not measure where it is: "
                'QUERYBUDGET = {"ENABLED": False}.'
            ),
            id="querybudget.W002",
        )
    ]


def _is_ours(name: str) -> bool:
    if name == MIDDLEWARE:
        return True
    try:
        found = import_string(name)
    except Exception:  # noqa: BLE001 - a module may raise anything; Django tells it
        return False
    return isinstance(found, type) and issubclass(found, QueryBudgetMiddleware)


@register("querybudget")
def check_cache(**_: Any) -> list[CheckMessage]:
    """Report settings of the cache that name what does not exist or cannot be right."""
    if conf.CACHE.written() is None:
        return _cache_without_settings()
    return [
        *_cache_alias(),
        *_cache_scopes(),
        *_cache_signals(),
        *_cache_never_store(),
        *_cache_replicas(),
        *_cache_names(),
    ]


@register(Tags.database)
def check_one_database(databases: Collection[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Report aliases that may be one database, where no server can tell (``--database``)."""
    if conf.CACHE.written() is None:
        return []
    from django_querybudget.cache.identity import is_told_by_server  # noqa: PLC0415  # importing it watches writes

    found: list[CheckMessage] = []
    seen: set[tuple[str, ...]] = set()
    for alias in databases or ():
        own = settings.DATABASES[alias]
        others = sorted(
            other
            for other, options in settings.DATABASES.items()
            if other != alias
            and all(options.get(key) == own.get(key) for key in ("ENGINE", "NAME"))
            and any(options.get(key) != own.get(key) for key in ("HOST", "PORT"))
            and conf.CACHE.REPLICAS.get(other, ("",))[0] != alias
            and conf.CACHE.REPLICAS.get(alias, ("",))[0] != other
        )
        pair = tuple(sorted([alias, *others]))
        if not others or pair in seen or is_told_by_server(alias):
            continue
        seen.add(pair)
        found.append(
            Warning(
                f"The database aliases {', '.join(map(repr, pair))} have the same NAME and another "
                f"HOST or PORT, and the server does not tell whether they are one database.",
                hint=(
                    f"Say so in {conf.CACHE.path('IDENTITY')}: equal names for aliases of one "
                    f"database, other names for others."
                ),
                id="querybudget.W024",
            )
        )
    return found


@register("querybudget")
def check_shared_cache(**_: Any) -> list[CheckMessage]:
    """Report a cache of one process alone; not while developing or testing, where one is enough."""
    return [] if settings.DEBUG or in_tests() else _not_shared("LocMemCache")


@register("querybudget", deploy=True)
def check_deployed_cache(**_: Any) -> list[CheckMessage]:
    """Report, with ``check --deploy``, a cache that is no good for several processes."""
    found = _not_shared("DummyCache", "DatabaseCache")
    if settings.DEBUG or in_tests():
        found += _not_shared("LocMemCache")  # not said above
    if conf.CACHE.written() is not None:
        from django_querybudget.cache.stores.checks import server_messages  # noqa: PLC0415  # importing it watches writes

        found += server_messages()
    return found


def _not_shared(*backends: str) -> list[CheckMessage]:
    alias = conf.CACHE.ALIAS
    backend = settings.CACHES.get(alias, {}).get("BACKEND", "").rpartition(".")[2]
    problem = {
        "LocMemCache": "keeps what it holds in one process: writes of others are not seen",
        "DummyCache": "keeps nothing",
        "DatabaseCache": "asks the database at each read, and is not asked in a transaction",
    }
    if conf.CACHE.written() is None or backend not in backends:
        return []
    return [
        Warning(
            f"{conf.CACHE.path('ALIAS')} is {alias!r}, whose {backend} {problem[backend]}.",
            hint="Use a cache that all processes share: Redis, through django-redis.",
            id="querybudget.W021",
        )
    ]


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


def _cache_alias() -> Iterator[CheckMessage]:
    alias = conf.CACHE.ALIAS
    name = conf.CACHE.path("ALIAS")
    if alias not in settings.CACHES:
        yield Error(
            f"{name} is {alias!r}, which is not in CACHES.",
            hint=f"There are: {', '.join(sorted(settings.CACHES))}.",
            id="querybudget.E020",
        )
    elif settings.CACHES[alias].get("BACKEND") == f"{DatabaseCache.__module__}.DatabaseCache":
        cache: Any = caches[alias]
        database = router.db_for_write(cache.cache_model_class) or DEFAULT_DB_ALIAS
        if connections[database].vendor == "sqlite":
            yield Warning(
                f"{name} is {alias!r}, a database cache in SQLite: nothing is cached.",
                hint="Its transactions would get into those of your writes. Use another backend.",
                id="querybudget.W022",
            )


def _cache_scopes() -> Iterator[CheckMessage]:
    # With settings for the cache it is imported; without them, this must not do so.
    from django_querybudget.cache.tables import scope_column  # noqa: PLC0415

    name = conf.CACHE.path("SCOPES")
    for label, fields in conf.CACHE.SCOPES.items():
        try:
            model = apps.get_model(label)
        except (LookupError, ValueError):
            yield Error(
                f"{name} names {label!r}, which is no model.",
                hint='Write "app_label.Model" of an app in INSTALLED_APPS.',
                id="querybudget.E021",
            )
            continue
        for field in fields:
            column, problem = scope_column(model, field)
            if column is None:
                yield Error(
                    f"{name} names {field!r} of {label}, {problem}.",
                    hint="A scope is an integer, a UUID or a foreign key in the model's own table.",
                    id="querybudget.E022",
                )


def _cache_signals() -> Iterator[CheckMessage]:
    for key in ("DELETE_SIGNALS", "M2M_SIGNALS"):
        for label in sorted(getattr(conf.CACHE, key)):
            try:
                apps.get_model(label)
            except (LookupError, ValueError):
                yield Error(
                    f"{conf.CACHE.path(key)} names {label!r}, which is no model.",
                    hint=(
                        'Write "app_label.Model" of an app in INSTALLED_APPS; of a many-to-many '
                        "field the table's model, \"app_label.Model_field\" where it is Django's."
                    ),
                    id="querybudget.E026",
                )


def _cache_never_store() -> Iterator[CheckMessage]:
    from django_querybudget.cache.withheld import column_of  # noqa: PLC0415  # where there is the section, the cache is imported

    for name in sorted(conf.CACHE.NEVER_STORE):
        try:
            column_of(name)
        except LookupError as error:
            yield Error(
                f"{conf.CACHE.path('NEVER_STORE')} names {name!r}: {error}. Nothing is cached.",
                hint='Write "app_label.Model" or "app_label.Model.field".',
                id="querybudget.E028",
            )


def _cache_names() -> Iterator[CheckMessage]:
    for alias in conf.CACHE.IDENTITY:
        if alias not in settings.DATABASES:
            yield Error(
                f"{conf.CACHE.path('IDENTITY')} names {alias!r}, which is not in DATABASES.",
                hint=f"There are: {', '.join(sorted(settings.DATABASES))}.",
                id="querybudget.E024",
            )
    for label in conf.CACHE.ROW_SECURITY:
        try:
            apps.get_model(label)
        except (LookupError, ValueError):
            yield Error(
                f"{conf.CACHE.path('ROW_SECURITY')} names {label!r}, which is no model.",
                hint='Write "app_label.Model" of an app in INSTALLED_APPS.',
                id="querybudget.E024",
            )


def _cache_replicas() -> Iterator[CheckMessage]:
    name = conf.CACHE.path("REPLICAS")
    for alias, (primary, _lag) in conf.CACHE.REPLICAS.items():
        for one in (alias, primary):
            if one not in settings.DATABASES:
                yield Error(
                    f"{name} names {one!r}, which is not in DATABASES.",
                    hint=f"There are: {', '.join(sorted(settings.DATABASES))}.",
                    id="querybudget.E023",
                )
        if primary == alias or primary in conf.CACHE.REPLICAS:
            yield Error(
                f"{name}: the primary of {alias!r} is {primary!r}, a replica.",
                hint="Name the alias that is written to.",
                id="querybudget.E023",
            )
