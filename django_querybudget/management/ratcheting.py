"""What the subcommands ``record``, ``check`` and ``tighten`` of ``manage.py querybudget`` share."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from django.core.management import BaseCommand, CommandError

from django_querybudget.conf import conf
from django_querybudget.exceptions import LockFileError
from django_querybudget.ratchet.runs import Run
from django_querybudget.ratchet.text import github_annotations

from .test_command import add_test_argument, arguments_of_test, chosen, run_tests

__all__ = ["add_arguments", "run"]

_RUNNER = "django_querybudget.ratchet.measuring_runner.MeasuringRunner"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--file",
        metavar="PATH",
        default="querybudget.toml",
        help="the file of the lines (default: %(default)s)",
    )
    parser.add_argument(
        "--github",
        action="store_true",
        help="print failures as annotations of GitHub's workflows too",
    )
    parser.add_argument("--sarif", metavar="PATH", help="write failures to this file as SARIF")
    parser.add_argument(
        "--measured",
        metavar="PATH",
        help="write what this run measures to this file, in the form of querybudget.toml",
    )
    add_test_argument(parser)


def run(command: BaseCommand, options: dict[str, Any], mode: str) -> None:
    """Run the tests, then record, check or tighten the file.

    Raises ``CommandError`` with status 2 for arguments and files that make no sense, with 1 for
    what is above its line. Exits as ``manage.py test`` does where tests fail.
    """
    arguments = arguments_of_test(options, mode)
    typed = " ".join(["manage.py querybudget {mode} -- test", *arguments])
    try:
        ratchet = Run(
            mode=mode,
            path=Path(options["file"]),
            command=typed,
            sarif=Path(options["sarif"]) if options["sarif"] else None,
            measured=Path(options["measured"]) if options["measured"] else None,
            with_rows=bool(options.get("with_rows")),
        )
    except LockFileError as error:
        raise CommandError(str(error), returncode=2) from error
    conf.overrides["VERBOSITY"] = min(max(options["verbosity"] - 1, 0), 2)
    from django_querybudget.ratchet import measuring_runner  # imports the project's runner

    ratchet.start()
    # The project's own runner, if the arguments name one: which tests fail is not told then.
    named = any(word.startswith("--testrunner") for word in arguments)
    status = 1
    try:
        status = run_tests(arguments, "" if named else _RUNNER)
    finally:
        conf.overrides.pop("VERBOSITY", None)
        outcome = ratchet.finish(
            chosen(arguments), passed=status == 0, failed=measuring_runner.failed
        )
    command.stdout.write(outcome.text)
    if outcome.comparison is not None and options["github"] and outcome.failed:
        for annotation in github_annotations(outcome.comparison):
            command.stdout.write(annotation)
    problem = ratchet.write_others(outcome, options["file"])
    if problem:
        command.stderr.write(problem)
    if status:
        sys.exit(status)
    if outcome.failed:
        raise CommandError("Views or tests are above their lines.", returncode=1)
    if problem:
        sys.exit(1)
