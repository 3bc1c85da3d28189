"""The project's own test runner, which warms Django's caches and tells which tests failed.

Its base is the class that the settings name when this module is imported: import it late.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.test.utils import get_runner

from django_querybudget.conf.runners import ListenedRunner, TestListener, is_discover_runner
from django_querybudget.recording.warming import warm_django_caches

__all__ = ["MeasuringRunner", "failed"]

failed: set[str] = set()
"""The names of the tests that did not pass, in this process's last run."""


class _Measuring(TestListener):
    def started(self, test: str) -> None:
        # In a process of --parallel, a test may be the one that fills a cache.
        warm_django_caches()

    def note(self, test: str, outcome: str, error: Any = None) -> None:
        if outcome == "failed":
            failed.add(test)


_base: Any = get_runner(settings)
if not is_discover_runner(_base):
    # With a failing test, nothing is recorded.
    MeasuringRunner = _base
else:

    class MeasuringRunner(ListenedRunner, _base):  # type: ignore[no-redef, misc]  # or the plain one
        """The runner of the settings, whose results are listened to."""

        listener = _Measuring()
