"""What production's record says of a view, where it is kept."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.core.cache.backends.db import BaseDatabaseCache
from django.core.cache.backends.filebased import FileBasedCache
from django.utils.module_loading import import_string

from django_querybudget.conf import conf
from django_querybudget.production.reading import read_picture
from django_querybudget.production.record import series_key
from django_querybudget.production.summary import as_json, summarised

from .views import View

__all__ = ["production_of", "why_not_to_read"]

SECONDS = 24 * 3600
"""How far back is looked."""


def production_of(view: View, methods: Iterable[str]) -> dict[str, Any]:
    """Return the last day's rows of a view in the record of production, one for each method."""
    unknown, rows, since, until = "", [], None, None
    if conf.PRODUCTION.written() is None:
        unknown = 'Production keeps no record: "PRODUCTION": {} in QUERYBUDGET keeps one.'
    elif not (unknown := why_not_to_read(conf.PRODUCTION.ALIAS, "report")):
        try:
            picture = read_picture(SECONDS, keep=False)
        except Exception as error:  # a cache may raise anything
            unknown = (
                f"The cache {conf.PRODUCTION.ALIAS!r} cannot be read: "
                f"{type(error).__name__}: {error}"
            )
        else:
            since, until = picture.since, picture.until
            keys = {series_key("view", view.name, method) for method in methods}
            rows = [row for row in summarised(picture.whole) if row.key in keys]
            if not rows:
                unknown = f"No request to {view.name} was recorded in the last 24 hours."
    return {"unknown": unknown, "since": since, "until": until, "series": as_json(rows)}


def why_not_to_read(alias: str, subcommand: str) -> str:
    """Return why a cache is not read here: a read of it may delete what has expired; or nothing."""
    path = settings.CACHES.get(alias, {}).get("BACKEND")
    try:
        backend = import_string(path) if path else None
    except ImportError:
        return ""  # Reading says so.
    if isinstance(backend, type) and issubclass(backend, BaseDatabaseCache | FileBasedCache):
        return (
            f"The cache {alias!r} is a {backend.__name__}, of which each read may delete what has "
            f"expired, and nothing is written here: see manage.py querybudget {subcommand}."
        )
    return ""
