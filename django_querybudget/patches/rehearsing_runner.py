"""The project's own test runner, whose tests' outcomes are written down, and chosen by name.

Its base is the class that the settings name when this module is imported: import it late.
"""

from __future__ import annotations

import os
import unittest
from typing import Any

from django.conf import settings
from django.test.runner import DiscoverRunner
from django.test.utils import get_runner, iter_test_cases  # type: ignore[attr-defined]  # not in the stubs

from django_querybudget.recording.warming import warm_django_caches

from .journal import note_outcome, note_test, only

__all__ = ["BASE_VARIABLE", "RehearsingRunner"]

BASE_VARIABLE = "QUERYBUDGET_REHEARSAL_RUNNER"
"""In the environment: the runner that the command line names, in place of the settings'."""


def _result_class(base: type[unittest.TestResult]) -> type[unittest.TestResult]:
    class RehearsingResult(base):  # type: ignore[misc, valid-type]  # the base is a value: the project's
        """Tells the journal of each test; of those of other processes, too."""

        def startTest(self, test: unittest.TestCase) -> None:  # noqa: N802 - unittest's name
            warm_django_caches()
            note_test(test.id())
            super().startTest(test)

        def stopTest(self, test: unittest.TestCase) -> None:  # noqa: N802
            super().stopTest(test)
            note_test(None)

        def addSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802
            note_outcome(test.id(), "passed")
            super().addSuccess(test)

        def addSkip(self, test: unittest.TestCase, reason: str) -> None:  # noqa: N802
            note_outcome(test.id(), "skipped")
            super().addSkip(test, reason)

        def addExpectedFailure(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
            note_outcome(test.id(), "skipped")
            super().addExpectedFailure(test, err)

        def addError(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
            note_outcome(test.id(), "failed", _told(err))
            super().addError(test, err)

        def addFailure(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
            note_outcome(test.id(), "failed", _told(err))
            super().addFailure(test, err)

        def addSubTest(self, test: unittest.TestCase, subtest: Any, err: Any) -> None:  # noqa: N802
            if err is not None:
                note_outcome(test.id(), "failed", _told(err))
            super().addSubTest(test, subtest, err)

        def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802
            note_outcome(test.id(), "failed", "it succeeds, which it should not")
            super().addUnexpectedSuccess(test)

    return RehearsingResult


def _told(error: Any) -> str:
    kind, value = error[0], error[1]
    return f"{getattr(kind, '__name__', kind)}: {value}"


_base: Any = get_runner(settings, os.environ.get(BASE_VARIABLE) or None)
if not (isinstance(_base, type) and issubclass(_base, DiscoverRunner)):
    # Which tests pass is not told then, and nothing can be proved.
    RehearsingRunner = _base
else:

    class RehearsingRunner(_base):  # type: ignore[no-redef, misc]  # as above
        """The runner of the settings."""

        def load_tests_for_label(self, label: str, discover_kwargs: dict[str, Any]) -> Any:
            tests = super().load_tests_for_label(label, discover_kwargs)
            chosen = only()
            if chosen is None:
                return tests
            return self.test_suite(each for each in iter_test_cases(tests) if each.id() in chosen)

        def get_test_runner_kwargs(self) -> dict[str, Any]:
            kwargs: dict[str, Any] = super().get_test_runner_kwargs()
            kwargs["resultclass"] = _result_class(
                kwargs.get("resultclass") or unittest.TextTestResult
            )
            return kwargs
