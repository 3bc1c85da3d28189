"""What an alias of ``CACHES`` is, for who checks that it is shared: :func:`djangos_backend`."""

from __future__ import annotations

from django.conf import settings
from django.core.cache.backends.db import BaseDatabaseCache
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache
from django.utils.module_loading import import_string

__all__ = ["djangos_backend"]

_BACKENDS = (
    (LocMemCache, "LocMemCache"),
    (DummyCache, "DummyCache"),
    (BaseDatabaseCache, "DatabaseCache"),
)


def djangos_backend(alias: str) -> str:
    """Return ``LocMemCache``, ``DummyCache`` or ``DatabaseCache``, also for a class made from it.

    Empty for any other backend, and for one that is not there: Django tells that.
    """
    try:
        backend = import_string(settings.CACHES[alias]["BACKEND"])
    except Exception:  # a host's module may raise anything, and Django says so at its first use
        return ""
    if not isinstance(backend, type):
        return ""
    return next((name for base, name in _BACKENDS if issubclass(backend, base)), "")
