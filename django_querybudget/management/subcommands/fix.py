"""``manage.py querybudget fix -- test …``: suggested lines, written and proved."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management import BaseCommand, CommandError

if TYPE_CHECKING:
    from django_querybudget.patches.rehearsals import Suite

HELP = (
    "Run the tests, write the suggested lines into a copy of the project, and prove them: fewer "
    "queries, the same answers, passing tests. Prints a diff; changes nothing without --apply."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--apply",
        action="store_true",
        help="write what is proved into the project, where git says that the files are clean",
    )
    parser.add_argument(
        "--uncompared",
        action="store_true",
        help="take into the diff, and write by --apply, also what saves and passes the tests, and "
        "no answer of which could be compared",
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--diff", metavar="FILE", help="write the diff to this file")
    parser.add_argument(
        "--time-limit",
        metavar="SECONDS",
        type=float,
        help="stop after so many seconds, with what is proved by then",
    )
    parser.add_argument(
        "--file",
        metavar="PATH",
        default="querybudget.toml",
        help="the file of the recorded lines: where a test run was recorded, what is proved is "
        "left beside it, for explain (default: %(default)s)",
    )
    parser.add_argument(
        "test", nargs=argparse.REMAINDER, help="-- test [arguments], or -- pytest [arguments]"
    )


def run(command: BaseCommand, options: dict[str, Any]) -> None:
    """Prove, and print. Exits with 2 where nothing can be proved, with 1 if files were refused."""
    # Here, not above: no other subcommand has a use for it.
    from django_querybudget.patches.fixing import Wanted, fix

    wanted = Wanted(
        apply=options["apply"],
        uncompared=options["uncompared"],
        json=options["json"],
        diff=options["diff"],
        seconds=options["time_limit"],
        quiet=options["verbosity"] == 0,
        file=Path(options["file"]),
    )
    status = fix(
        _suite(options["test"]), wanted, out=command.stdout.write, err=command.stderr.write
    )
    if status:
        sys.exit(status)


def _suite(words: list[str]) -> Suite:
    from django_querybudget.patches.rehearsals import Suite

    given = [word for position, word in enumerate(words) if position or word != "--"]
    if given[:1] not in (["test"], ["pytest"]):
        raise CommandError(
            "Say which tests after two dashes: manage.py querybudget fix -- test [arguments], or "
            "manage.py querybudget fix -- pytest [arguments]",
            returncode=2,
        )
    program = Path(sys.argv[0])
    own = program.suffix == ".py" and program.name != "__main__.py"
    return Suite(given[0], tuple(given[1:]), (str(program.resolve()),) if own else ("-m", "django"))
