"""What each view, task and command costs the database in production, within fixed memory.

Off, and not even imported, unless ``QUERYBUDGET["PRODUCTION"]`` is written. Then :func:`start` adds
one reporter: what it adds to each request is in :mod:`.scopes`, the rest runs on a thread
(:mod:`.process`) and in the cache (:mod:`.store`).
"""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from django.utils.module_loading import import_string

from django_querybudget.conf import conf
from django_querybudget.reports import reporters
from django_querybudget.work import measured

from . import tasks_and_commands
from .process import ProcessRecord, keep, let_go
from .scopes import Reporting, noted_read
from .store import store_on

if TYPE_CHECKING:
    from .exporting import Exporter

__all__ = ["current_record", "made_exporter", "measured", "start", "stop"]

logger = logging.getLogger("django_querybudget")


class _Running:
    def __init__(self, record: ProcessRecord) -> None:
        self.record, self.reporting = record, Reporting(record)
        self.work_reporter: reporters.WorkReporter = self.reporting.of_work  # known by identity


_running: _Running | None = None


def start() -> ProcessRecord:
    """Begin to measure this process, unless it is; return its record."""
    global _running
    if _running is None:
        _running = _Running(ProcessRecord(conf.PRODUCTION.ALIAS))
        keep(_running.record)
        # What the cache needs is imported here: on the record's thread it could be half done when
        # the process forks, and in the child it would stay so.
        with suppress(Exception):  # a cache may raise anything; the first flush tells of it
            store_on(conf.PRODUCTION.ALIAS)
        reporters.add_reporter(_running.reporting)
        reporters.add_work_reporter(_running.work_reporter)
        _listen_to_the_cache(noted_read)
        tasks_and_commands.begin()
        for path in conf.PRODUCTION.EXPORTERS:
            try:
                _running.record.add_exporter(made_exporter(path))
            except Exception:  # E042 says so; a site is better off without its figures than away
                logger.exception("django_querybudget: the exporter %r cannot be had.", path)
    return _running.record


def stop() -> None:
    """Undo :func:`start`, after a last flush."""
    global _running
    if _running is not None:
        tasks_and_commands.end()
        _listen_to_the_cache(None)
        reporters.remove_reporter(_running.reporting)
        reporters.remove_work_reporter(_running.work_reporter)
        _running.record.stop()
        _running.record.remove_exporters()
        let_go(_running.record)
        _running = None


def current_record() -> ProcessRecord | None:
    """Return the record of this process; None where it is not measured."""
    return _running.record if _running is not None else None


def made_exporter(path: str) -> Exporter:
    """Return the exporter that a dotted path names, itself or as a class without arguments.

    Raises ``ImportError`` where there is none, ``TypeError`` for what is no callable, and what the
    class raises.
    """
    found: Any = import_string(path)
    if isinstance(found, type):
        found = found()
    if not callable(found):
        raise TypeError(f"{path} is not callable.")
    return cast("Exporter", found)


def _listen_to_the_cache(listener: Any) -> None:
    # Not imported here: to import the cache is to watch writes.
    if conf.CACHE.written() is not None or "django_querybudget.cache" in sys.modules:
        from django_querybudget.cache import sites

        sites.listener = listener
