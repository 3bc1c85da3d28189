"""The test runner that the settings name, listened to: :class:`ListenedRunner` above it.

A module with such a runner makes it of the class that the settings name when it is imported.
"""

from __future__ import annotations

import unittest
from typing import Any

from django.test.runner import DiscoverRunner

__all__ = ["ListenedRunner", "TestListener", "is_discover_runner"]


def is_discover_runner(runner: object) -> bool:
    """Whether a runner of the project is built on Django's: one of another kind runs as it is."""
    return isinstance(runner, type) and issubclass(runner, DiscoverRunner)


class TestListener:
    """Is told of each test, by its id: also of those that run in another process."""

    __test__ = False  # pytest collects what begins so

    def started(self, test: str) -> None:
        """Be told that a test begins; in a process of ``--parallel`` it is told there, too."""

    def ended(self, test: str) -> None:
        """Be told that a test is over."""

    def note(self, test: str, outcome: str, error: Any = None) -> None:
        """Take note of an outcome: ``"passed"``, ``"skipped"`` or ``"failed"``.

        ``error`` is what unittest has of a failure; None where a test succeeds that should not. A
        test with subtests may fail several times.
        """


class ListenedRunner:
    """What stands above the project's runner: its results tell ``listener``."""

    listener: TestListener

    def get_test_runner_kwargs(self) -> dict[str, Any]:
        kwargs: dict[str, Any] = super().get_test_runner_kwargs()  # type: ignore[misc]  # the project's
        kwargs["resultclass"] = _listened(
            kwargs.get("resultclass") or unittest.TextTestResult, self.listener
        )
        return kwargs


def _listened(base: type[unittest.TestResult], listener: TestListener) -> type[unittest.TestResult]:
    class ListenedResult(base):  # type: ignore[misc, valid-type]  # the base is a value: the project's
        # The names are unittest's.
        def startTest(self, test: unittest.TestCase) -> None:  # noqa: N802
            listener.started(test.id())
            super().startTest(test)

        def stopTest(self, test: unittest.TestCase) -> None:  # noqa: N802
            super().stopTest(test)
            listener.ended(test.id())

        def addSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802
            listener.note(test.id(), "passed")
            super().addSuccess(test)

        def addSkip(self, test: unittest.TestCase, reason: str) -> None:  # noqa: N802
            listener.note(test.id(), "skipped")
            super().addSkip(test, reason)

        def addExpectedFailure(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
            listener.note(test.id(), "skipped")
            super().addExpectedFailure(test, err)

        def addError(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
            listener.note(test.id(), "failed", err)
            super().addError(test, err)

        def addFailure(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
            listener.note(test.id(), "failed", err)
            super().addFailure(test, err)

        def addSubTest(self, test: unittest.TestCase, subtest: Any, err: Any) -> None:  # noqa: N802
            if err is not None:
                listener.note(test.id(), "failed", err)
            super().addSubTest(test, subtest, err)

        def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802
            listener.note(test.id(), "failed")
            super().addUnexpectedSuccess(test)

    return ListenedResult
