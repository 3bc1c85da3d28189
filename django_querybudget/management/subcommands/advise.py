"""``manage.py querybudget advise -- test …``: the indexes that the tests' queries need."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from django.core.management import BaseCommand, CommandError
from django.db import DatabaseError, connections

from django_querybudget.indexes.advisor import (
    CannotVerify,
    check_verifiable,
    render_advice,
    verify,
)
from django_querybudget.management.test_command import (
    add_test_argument,
    arguments_of_test,
    run_tests,
)
from django_querybudget.messages.plurals import counted

HELP = "Advise on missing indexes, from the ORM queries of a test run. Creates nothing."

_RUNNER = "django_querybudget.indexes.advisor.advising_runner.AdvisingRunner"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--verify",
        metavar="ALIAS",
        help="ask this database, with real data, what each index would save (PostgreSQL with "
        "HypoPG); one that saves less than half of the plan's cost is not worth it",
    )
    parser.add_argument(
        "--create-and-rollback",
        action="store_true",
        help="without HypoPG: build each index in a transaction that is rolled back; writes to "
        "the table wait meanwhile",
    )
    parser.add_argument(
        "--fail",
        action="store_true",
        help="exit with 1 if an index is missing",
    )
    add_test_argument(parser)


def run(command: BaseCommand, options: dict[str, Any]) -> None:
    """Run the tests, then print the advice.

    Raises ``CommandError``: for arguments that make no sense, for what cannot be verified, and
    with ``--fail`` for missing indexes. Exits as ``manage.py test`` does where tests fail.
    """
    arguments = arguments_of_test(options, "advise")
    if options["verify"] and options["verify"] not in connections:
        known = ", ".join(connections)
        raise CommandError(
            f"There is no database {options['verify']!r} in DATABASES. It names: {known}.",
            returncode=2,
        )
    if options["verify"]:
        # Not after the whole suite, if it is known now.
        try:
            check_verifiable(options["verify"], create_and_rollback=options["create_and_rollback"])
        except (CannotVerify, DatabaseError) as error:
            raise CommandError(f"Cannot verify: {error}", returncode=2) from error
    from django_querybudget.indexes.advisor import advising_runner  # imports the project's runner

    failed = run_tests(arguments, _RUNNER)
    report = advising_runner.AdvisingRunner.report
    if report is None:
        raise CommandError("The tests did not run, so there is nothing to advise on.")
    verdicts = []
    if options["verify"]:
        try:
            verdicts = verify(
                report.advice,
                options["verify"],
                create_and_rollback=options["create_and_rollback"],
            )
        except (CannotVerify, DatabaseError) as error:
            command.stdout.write(render_advice(report))
            raise CommandError(f"Not verified: {error}", returncode=2) from error
    command.stdout.write(render_advice(report, verdicts))
    if failed:
        sys.exit(failed)
    missing = [verdict for verdict in verdicts if verdict.worth_it] if verdicts else report.advice
    if options["fail"] and missing:
        count = counted(len(missing), "index is", "indexes are")
        raise CommandError(f"{count} missing.", returncode=1)
