"""The project's own test runner, whose tests' outcomes are written down, and chosen by name.

Its base is the class that the settings name when this module is imported: import it late.
"""

from __future__ import annotations

import os
from typing import Any

from django.conf import settings
from django.test.utils import get_runner, iter_test_cases  # type: ignore[attr-defined]  # not in the stubs

from django_querybudget.conf.runners import ListenedRunner, TestListener, is_discover_runner
from django_querybudget.recording.warming import warm_django_caches

from .journal import note_outcome, note_test, only

__all__ = ["BASE_VARIABLE", "RehearsingRunner"]

BASE_VARIABLE = "QUERYBUDGET_REHEARSAL_RUNNER"
"""In the environment: the runner that the command line names, in place of the settings'."""


class _Rehearsing(TestListener):
    """Tells the journal of each test."""

    def started(self, test: str) -> None:
        warm_django_caches()
        note_test(test)

    def ended(self, test: str) -> None:
        note_test(None)

    def note(self, test: str, outcome: str, error: Any = None) -> None:
        if outcome == "failed":
            note_outcome(test, outcome, _told(error))
        else:
            note_outcome(test, outcome)


def _told(error: Any) -> str:
    if error is None:
        return "it succeeds, which it should not"
    kind, value = error[0], error[1]
    return f"{getattr(kind, '__name__', kind)}: {value}"


_base: Any = get_runner(settings, os.environ.get(BASE_VARIABLE) or None)
if not is_discover_runner(_base):
    # Which tests pass is not told then, and nothing can be proved.
    RehearsingRunner = _base
else:

    class RehearsingRunner(ListenedRunner, _base):  # type: ignore[no-redef, misc]  # or the plain one
        """The runner of the settings."""

        listener = _Rehearsing()

        def load_tests_for_label(self, label: str, discover_kwargs: dict[str, Any]) -> Any:
            tests = super().load_tests_for_label(label, discover_kwargs)
            chosen = only()
            if chosen is None:
                return tests
            return self.test_suite(each for each in iter_test_cases(tests) if each.id() in chosen)
