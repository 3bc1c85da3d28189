"""Django's own test runner under the ratchet: ``manage.py querybudget check -- test …``."""

from __future__ import annotations

import inspect
import sys
import unittest
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.management import load_command_class
from django.test.runner import DiscoverRunner
from django.test.utils import get_runner

from django_querybudget.recording.warming import warm_django_caches

__all__ = ["chosen", "run_tests"]

# What does not choose tests: with and without a value after it.
_WITH_VALUE = ("--parallel", "-v", "--verbosity", "--testrunner")
_ALONE = ("--noinput", "--no-input", "--keepdb", "--timing", "--failfast", "--buffer", "-b")


def chosen(arguments: Sequence[str]) -> str:
    """Return how ``arguments`` of ``manage.py test`` choose the tests, whatever their order."""
    words: list[str] = []
    skip = False
    for word in arguments:
        if skip and not word.startswith("-") and (word.isdigit() or word == "auto"):
            skip = False
            continue
        skip = word in _WITH_VALUE
        if not skip and not word.startswith(_WITH_VALUE) and word not in _ALONE:
            words.append(word)
    return " ".join(["test", *sorted(words)])


def run_tests(arguments: Sequence[str]) -> int:
    """Run ``manage.py test`` with ``arguments``; return its exit status."""
    test: Any = load_command_class("django.core", "test")
    try:
        test.run_from_argv([sys.argv[0], "test", *arguments, *_warming(arguments)])
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 1
    return 0


def _warming(arguments: Sequence[str]) -> list[str]:
    """Return the option that has Django's caches warmed before each test, where that can be.

    Not where tests run in other processes: there a test may be the one that fills a cache.
    """
    base: Any = get_runner(settings)
    if any(word.startswith("--testrunner") for word in arguments):
        return []
    if not (inspect.isclass(base) and issubclass(base, DiscoverRunner)):
        return []
    setattr(sys.modules[__name__], _NAME, warming_runner(base))
    return [f"--testrunner={__name__}.{_NAME}"]


_NAME = "WarmingRunner"


def warming_runner(base: type[DiscoverRunner]) -> type[DiscoverRunner]:
    """Return ``base`` with a result class that warms Django's caches before each test."""

    class WarmingRunner(base):  # type: ignore[misc, valid-type]
        def get_test_runner_kwargs(self) -> dict[str, Any]:
            kwargs: dict[str, Any] = super().get_test_runner_kwargs()
            kwargs["resultclass"] = _warming_result(
                kwargs.get("resultclass") or unittest.TextTestResult
            )
            return kwargs

    return WarmingRunner


def _warming_result(base: type[unittest.TestResult]) -> type[unittest.TestResult]:
    class WarmingResult(base):  # type: ignore[misc, valid-type]
        def startTest(self, test: unittest.TestCase) -> None:  # noqa: N802 - unittest's name
            warm_django_caches()
            super().startTest(test)

    return WarmingResult
