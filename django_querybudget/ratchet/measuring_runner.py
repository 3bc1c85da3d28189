"""The project's own test runner, which warms Django's caches and tells which tests failed.

Its base is the class that the settings name when this module is imported: import it late.
"""

from __future__ import annotations

import unittest
from typing import Any

from django.conf import settings
from django.test.runner import DiscoverRunner
from django.test.utils import get_runner

from django_querybudget.recording.warming import warm_django_caches

__all__ = ["MeasuringRunner", "failed"]

failed: set[str] = set()
"""The names of the tests that did not pass, in this process's last run."""


def _result_class(base: type[unittest.TestResult]) -> type[unittest.TestResult]:
    """Return ``base``, told of each test: also of those that ran in another process."""

    class MeasuringResult(base):  # type: ignore[misc, valid-type]  # the base is a value: the project's
        def startTest(self, test: unittest.TestCase) -> None:  # noqa: N802 - unittest's name
            # In a process of --parallel, a test may be the one that fills a cache.
            warm_django_caches()
            super().startTest(test)

        def addError(self, test: unittest.TestCase, err: object) -> None:  # noqa: N802
            failed.add(test.id())
            super().addError(test, err)

        def addFailure(self, test: unittest.TestCase, err: object) -> None:  # noqa: N802
            failed.add(test.id())
            super().addFailure(test, err)

        def addSubTest(self, test: unittest.TestCase, subtest: object, err: object) -> None:  # noqa: N802
            if err is not None:
                failed.add(test.id())
            super().addSubTest(test, subtest, err)

        def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802
            failed.add(test.id())
            super().addUnexpectedSuccess(test)

    return MeasuringResult


_base: Any = get_runner(settings)
if not (isinstance(_base, type) and issubclass(_base, DiscoverRunner)):
    # A runner of another kind runs as it is: with a failing test, nothing is recorded.
    MeasuringRunner = _base
else:

    class MeasuringRunner(_base):  # type: ignore[no-redef, misc]  # as above
        """The runner of the settings, whose results are listened to."""

        def get_test_runner_kwargs(self) -> dict[str, Any]:
            kwargs: dict[str, Any] = super().get_test_runner_kwargs()
            kwargs["resultclass"] = _result_class(
                kwargs.get("resultclass") or unittest.TextTestResult
            )
            return kwargs
