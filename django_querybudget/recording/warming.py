"""Django's process-wide caches, filled before a test counts.

``ContentType`` and ``Site`` objects are read once per process: whichever test touches one first
pays a query, and counts would depend on the order of the tests. What cannot be filled here (a test
without database access, async code) is counted as it comes.
"""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import router, transaction

from . import hook

__all__ = ["warm_django_caches"]


def warm_django_caches() -> None:
    """Read all content types, and the current site, into Django's caches; no capture sees it.

    Quiet where it may not query: in a ``SimpleTestCase``, under a running event loop, before the
    tables are there.
    """
    with hook.unobserved():
        if apps.is_installed("django.contrib.contenttypes"):
            _warm(_read_content_types)
        site_id = getattr(settings, "SITE_ID", None)
        if site_id and apps.is_installed("django.contrib.sites"):
            _warm(lambda: _read_site(site_id))


def _warm(read: Any) -> None:
    # Exception: DatabaseOperationForbidden is an AssertionError, pytest-django's a RuntimeError.
    with suppress(Exception):
        read()


def _read_content_types() -> None:
    manager = _manager("contenttypes.ContentType")
    alias = router.db_for_read(manager.model)
    # clear_cache() lets go of the dict: the same one still has what was put into it.
    cached = manager._cache.get(alias)
    if cached is not None and cached is _warmed.get(alias):
        return
    with _harmless(alias):
        for content_type in manager.using(alias):
            # What get_for_model() does after each of its queries.
            manager._add_to_cache(alias, content_type)
    _warmed[alias] = manager._cache.get(alias)


def _read_site(site_id: int) -> None:
    manager = _manager("sites.Site")
    site_cache = import_module("django.contrib.sites.models").SITE_CACHE
    if site_id not in site_cache:
        with _harmless(router.db_for_read(manager.model)):
            manager.get_current()


_warmed: dict[str, object] = {}
"""The content types' cache of each alias, as it was when it was filled here."""


def _manager(label: str) -> Any:
    return apps.get_model(label)._default_manager


def _harmless(alias: str) -> Any:
    """A savepoint: on PostgreSQL a query that fails would spoil the test's transaction."""
    return transaction.atomic(using=alias)
