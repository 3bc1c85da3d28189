"""Django's process-wide caches, filled before a test counts.

``ContentType`` and ``Site`` objects are read once per process: whichever test touches one first
pays a query, and counts would depend on the order of the tests. What cannot be filled here (a test
without database access, async code) is counted as it comes.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import router, transaction
from django.db.models import Manager

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
        if apps.is_installed("django.contrib.sites") and getattr(settings, "SITE_ID", None):
            _warm(_read_site)


def _warm(read: Any) -> None:
    # Exception: DatabaseOperationForbidden is an AssertionError, pytest-django's a RuntimeError.
    with suppress(Exception):
        read()


def _read_content_types() -> None:
    manager = _manager("contenttypes.ContentType")
    alias = router.db_for_read(manager.model)
    with _harmless(manager):
        for content_type in manager.using(alias):
            # What get_for_model() does after each of its queries.
            manager._add_to_cache(alias, content_type)


def _read_site() -> None:
    manager = _manager("sites.Site")
    with _harmless(manager):
        manager.get_current()


def _manager(label: str) -> Any:
    return apps.get_model(label)._default_manager


def _harmless(manager: Manager[Any]) -> Any:
    """A savepoint: on PostgreSQL a query that fails would spoil the test's transaction."""
    return transaction.atomic(using=router.db_for_read(manager.model), durable=False)
