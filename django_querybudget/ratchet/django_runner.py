"""Django's own test runner under the ratchet: ``manage.py querybudget check -- test …``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from django.core.management import load_command_class

from . import measuring_runner

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


def run_tests(arguments: Sequence[str]) -> tuple[int, set[str]]:
    """Run ``manage.py test``; return its exit status, and the names of the tests that failed."""
    test: Any = load_command_class("django.core", "test")
    options = []
    if not any(word.startswith("--testrunner") for word in arguments):
        options = ["--testrunner=django_querybudget.ratchet.measuring_runner.MeasuringRunner"]
    status = 0
    try:
        test.run_from_argv([sys.argv[0], "test", *arguments, *options])
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    return status, measuring_runner.failed if options else set()
