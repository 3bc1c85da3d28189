"""Checks of the record of production.

===================  =====================================================
``querybudget.E040``  ``QUERYBUDGET["PRODUCTION"]["ALIAS"]`` is not in ``CACHES``.
``querybudget.W041``  The record's cache is of one process alone, or keeps nothing.
===================  =====================================================
"""

from __future__ import annotations

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning

from django_querybudget.conf import InvalidSetting, conf

__all__ = ["production_messages"]


def production_messages(*, tests_or_debug: bool) -> list[CheckMessage]:
    """Return what is to be said; of one process' cache nothing where one process is enough."""
    try:
        alias = conf.PRODUCTION.ALIAS
    except InvalidSetting:  # E001 says so
        return []
    path = conf.PRODUCTION.path("ALIAS")
    if alias not in settings.CACHES:
        known = ", ".join(sorted(settings.CACHES))
        return [
            Error(
                f"{path} is {alias!r}, which is not in CACHES.",
                hint=f"The caches are: {known}.",
                id="querybudget.E040",
            )
        ]
    backend = str(settings.CACHES[alias].get("BACKEND", "")).rpartition(".")[2]
    if backend == "DummyCache" or (backend == "LocMemCache" and not tests_or_debug):
        kept = "keeps nothing" if backend == "DummyCache" else "each process has to itself"
        return [
            Warning(
                f"The record of production goes to the cache {alias!r}, a {backend}, which {kept}.",
                hint=f"Name a cache that all processes share, Redis say, in {path}.",
                id="querybudget.W041",
            )
        ]
    return []
