"""System checks of ``QUERYBUDGET["CACHE"]``; :mod:`.stores.checks` asks the cache's server.

===================  =====================================================
``querybudget.E020``  ``CACHE["ALIAS"]`` is no alias of ``CACHES``.
``querybudget.E021``  ``CACHE["SCOPES"]`` names no model.
``querybudget.E022``  ``CACHE["SCOPES"]`` names no field by which rows can be told apart.
``querybudget.E023``  ``CACHE["REPLICAS"]`` names no alias of ``DATABASES``, or another replica.
``querybudget.E024``  ``CACHE`` names an alias or a model that is not there.
``querybudget.E026``  ``CACHE["DELETE_SIGNALS"]`` or ``CACHE["M2M_SIGNALS"]`` names no model.
``querybudget.E028``  ``CACHE["NEVER_STORE"]`` names no model and no field.
``querybudget.W020``  The cache is used without ``QUERYBUDGET["CACHE"]`` (in the root's checks).
``querybudget.W021``  ``CACHE["ALIAS"]`` is a cache that processes do not share.
``querybudget.W022``  ``CACHE["ALIAS"]`` is a database cache in SQLite.
``querybudget.W024``  Two aliases may be one database (``check --database``).
===================  =====================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.cache import caches
from django.core.checks import CheckMessage, Error, Warning
from django.db import DEFAULT_DB_ALIAS, connections, router
from django.db.models import Model

from django_querybudget.conf import conf
from django_querybudget.conf.caches import djangos_backend

from .columns import scope_column
from .identity import is_told_by_server, primary_of
from .withheld import column_of

__all__ = ["not_shared", "one_database", "settings_messages"]


def settings_messages() -> list[CheckMessage]:
    """Return what the settings name that does not exist or cannot be right."""
    return [*_alias(), *_scopes(), *_signals(), *_never_store(), *_replicas(), *_names()]


def one_database(databases: Iterable[str]) -> list[CheckMessage]:
    """Return which of the aliases may be one database, where no server can tell."""
    found: list[CheckMessage] = []
    seen: set[tuple[str, ...]] = set()
    for alias in databases:
        own = settings.DATABASES[alias]
        others = sorted(
            other
            for other, options in settings.DATABASES.items()
            if other != alias
            and all(options.get(key) == own.get(key) for key in ("ENGINE", "NAME"))
            and any(options.get(key) != own.get(key) for key in ("HOST", "PORT"))
            and alias != primary_of(other)
            and other != primary_of(alias)
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


def not_shared(*backends: str) -> list[CheckMessage]:
    """Return what is wrong with the cache for several processes, if its backend is one of these."""
    alias = conf.CACHE.ALIAS
    backend = djangos_backend(alias)
    problem = {
        "LocMemCache": "keeps what it holds in one process: writes of others are not seen",
        "DummyCache": "keeps nothing",
        "DatabaseCache": "asks the database at each read, and is not asked in a transaction",
    }
    if backend not in backends:
        return []
    return [
        Warning(
            f"{conf.CACHE.path('ALIAS')} is {alias!r}, whose {backend} {problem[backend]}.",
            hint="Use a cache that all processes share: Redis, through django-redis.",
            id="querybudget.W021",
        )
    ]


def _alias() -> Iterator[CheckMessage]:
    alias = conf.CACHE.ALIAS
    name = conf.CACHE.path("ALIAS")
    if alias not in settings.CACHES:
        yield Error(
            f"{name} is {alias!r}, which is not in CACHES.",
            hint=f"There are: {', '.join(sorted(settings.CACHES))}.",
            id="querybudget.E020",
        )
    elif djangos_backend(alias) == "DatabaseCache":
        cache: Any = caches[alias]
        database = router.db_for_write(cache.cache_model_class) or DEFAULT_DB_ALIAS
        if connections[database].vendor == "sqlite":
            yield Warning(
                f"{name} is {alias!r}, a database cache in SQLite: nothing is cached.",
                hint="Its transactions would get into those of your writes. Use another backend.",
                id="querybudget.W022",
            )


def _model(label: str) -> type[Model] | None:
    try:
        return apps.get_model(label)
    except (LookupError, ValueError):
        return None


def _scopes() -> Iterator[CheckMessage]:
    name = conf.CACHE.path("SCOPES")
    for label, fields in conf.CACHE.SCOPES.items():
        model = _model(label)
        if model is None:
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


def _signals() -> Iterator[CheckMessage]:
    for key in ("DELETE_SIGNALS", "M2M_SIGNALS"):
        for label in sorted(getattr(conf.CACHE, key)):
            if _model(label) is None:
                yield Error(
                    f"{conf.CACHE.path(key)} names {label!r}, which is no model.",
                    hint=(
                        'Write "app_label.Model" of an app in INSTALLED_APPS; of a many-to-many '
                        "field the table's model, \"app_label.Model_field\" where it is Django's."
                    ),
                    id="querybudget.E026",
                )


def _never_store() -> Iterator[CheckMessage]:
    for name in sorted(conf.CACHE.NEVER_STORE):
        try:
            column_of(name)
        except LookupError as error:
            yield Error(
                f"{conf.CACHE.path('NEVER_STORE')} names {name!r}: {error}. Nothing is cached.",
                hint='Write "app_label.Model" or "app_label.Model.field".',
                id="querybudget.E028",
            )


def _names() -> Iterator[CheckMessage]:
    for alias in conf.CACHE.IDENTITY:
        if alias not in settings.DATABASES:
            yield Error(
                f"{conf.CACHE.path('IDENTITY')} names {alias!r}, which is not in DATABASES.",
                hint=f"There are: {', '.join(sorted(settings.DATABASES))}.",
                id="querybudget.E024",
            )
    for label in conf.CACHE.ROW_SECURITY:
        if _model(label) is None:
            yield Error(
                f"{conf.CACHE.path('ROW_SECURITY')} names {label!r}, which is no model.",
                hint='Write "app_label.Model" of an app in INSTALLED_APPS.',
                id="querybudget.E024",
            )


def _replicas() -> Iterator[CheckMessage]:
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
