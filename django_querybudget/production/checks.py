"""Checks of the record of production.

===================  =====================================================
``querybudget.E040``  ``QUERYBUDGET["PRODUCTION"]["ALIAS"]`` is not in ``CACHES``.
``querybudget.W041``  The record's cache is of one process alone, or keeps nothing.
``querybudget.E042``  An exporter cannot be imported or begun.
===================  =====================================================
"""

from __future__ import annotations

from collections.abc import Iterator

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.utils.module_loading import import_string

from django_querybudget.conf import conf
from django_querybudget.conf.caches import djangos_backend

__all__ = ["production_messages"]


def production_messages(*, tests_or_debug: bool) -> list[CheckMessage]:
    """Return what is to be said; of one process' cache nothing where one process is enough."""
    return [*_of_the_cache(tests_or_debug), *_of_the_exporters()]


def _of_the_exporters() -> Iterator[CheckMessage]:
    for path in conf.PRODUCTION.EXPORTERS:
        try:
            found = import_string(path)
        except Exception as error:  # a host's module may raise anything
            reason = f"{type(error).__name__}: {error}"
        else:
            if callable(found):
                continue
            reason = "it is not callable"
        yield Error(
            f"{conf.PRODUCTION.path('EXPORTERS')} names {path!r}, which cannot be used: {reason}.",
            hint="Nothing is exported to it. Install what it needs, or correct the path.",
            id="querybudget.E042",
        )


def _of_the_cache(tests_or_debug: bool) -> list[CheckMessage]:
    alias = conf.PRODUCTION.ALIAS
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
    backend = djangos_backend(alias)
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
