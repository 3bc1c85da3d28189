"""What the subcommands ``record``, ``check`` and ``tighten`` of ``manage.py querybudget`` share."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from django.core.management import BaseCommand, CommandError

from django_querybudget.conf import conf
from django_querybudget.exceptions import LockFileError

from .runs import Run
from .text import github_annotations

__all__ = ["add_arguments", "run"]


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
    parser.add_argument("test", nargs=argparse.REMAINDER, help="-- test [arguments of test]")


def run(command: BaseCommand, options: dict[str, Any], mode: str) -> None:
    """Run the tests, then record, check or tighten the file.

    Raises ``CommandError`` with status 2 for arguments and files that make no sense, with 1 for
    what is above its line. Exits as ``manage.py test`` does where tests fail.
    """
    words = [word for position, word in enumerate(options["test"]) if position or word != "--"]
    if words[:1] != ["test"]:
        raise CommandError(
            f"Say which tests after two dashes: manage.py querybudget {mode} -- test [arguments]",
            returncode=2,
        )
    typed = "manage.py querybudget {mode} -- " + " ".join(words)
    try:
        ratchet = Run(
            mode=mode,
            path=Path(options["file"]),
            command=typed,
            sarif=Path(options["sarif"]) if options["sarif"] else None,
        )
    except LockFileError as error:
        raise CommandError(str(error), returncode=2) from error
    conf.overrides["VERBOSITY"] = min(max(options["verbosity"] - 1, 0), 2)
    from .django_runner import chosen, run_tests  # noqa: PLC0415  # imports the project's runner

    ratchet.start()
    status, failed = 1, set[str]()
    try:
        status, failed = run_tests(words[1:])
    finally:
        conf.overrides.pop("VERBOSITY", None)
        outcome = ratchet.finish(chosen(words[1:]), passed=status == 0, failed=failed)
    command.stdout.write(outcome.text)
    if outcome.comparison is not None and options["github"] and outcome.failed:
        for annotation in github_annotations(outcome.comparison):
            command.stdout.write(annotation)
    problem = ratchet.write_sarif(outcome, options["file"])
    if problem:
        command.stderr.write(problem)
    if status:
        sys.exit(status)
    if outcome.failed:
        raise CommandError("Views or tests are above their lines.", returncode=1)
    if problem:
        sys.exit(1)
