"""``manage.py test`` inside of a subcommand: ``manage.py querybudget check -- test …``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from django.core.management import CommandError, load_command_class

__all__ = ["add_test_argument", "arguments_of_test", "chosen", "run_tests"]

# What does not choose tests: with and without a value after it.
_WITH_VALUE = ("--parallel", "-v", "--verbosity", "--testrunner")
_ALONE = ("--noinput", "--no-input", "--keepdb", "--timing", "--failfast", "--buffer", "-b")


def add_test_argument(parser: argparse.ArgumentParser) -> None:
    """Declare what stands after the two dashes."""
    parser.add_argument("test", nargs=argparse.REMAINDER, help="-- test [arguments of test]")


def arguments_of_test(options: dict[str, Any], subcommand: str) -> list[str]:
    """Return the arguments of ``test``. Raises ``CommandError`` where another command is named."""
    words = [word for position, word in enumerate(options["test"]) if position or word != "--"]
    if words[:1] != ["test"]:
        raise CommandError(
            "Say which tests after two dashes: "
            f"manage.py querybudget {subcommand} -- test [arguments]",
            returncode=2,
        )
    return words[1:]


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


def run_tests(arguments: Sequence[str], runner: str = "") -> int:
    """Run ``manage.py test``, with the runner of that dotted path if any; return its status."""
    test: Any = load_command_class("django.core", "test")
    options = [f"--testrunner={runner}"] if runner else []
    try:
        test.run_from_argv([sys.argv[0], "test", *arguments, *options])
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 1
    return 0
