"""What an alias of ``CACHES`` is, for those who check that it is shared: :func:`kind_of_cache`."""

from __future__ import annotations

from django.conf import settings
from django.core.cache.backends.db import BaseDatabaseCache
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache
from django.utils.module_loading import import_string

__all__ = ["kind_of_cache"]

_KINDS = (
    (LocMemCache, "LocMemCache"),
    (DummyCache, "DummyCache"),
    (BaseDatabaseCache, "DatabaseCache"),
)


def kind_of_cache(alias: str) -> str:
    """Return ``LocMemCache``, ``DummyCache`` or ``DatabaseCache``, also of a class made from it.

    Empty for any other backend, and for one that is not there: Django tells that.
    """
    try:
        backend = import_string(settings.CACHES[alias]["BACKEND"])
    except Exception:  # a host's module may raise anything
        return ""
    if not isinstance(backend, type):
        return ""
    return next((kind for base, kind in _KINDS if issubclass(backend, base)), "")
