"""``manage.py querybudget record -- test …``: what every view executes, into the file."""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management import BaseCommand

from django_querybudget.management import ratcheting

HELP = "Run the tests, and record what every view executes in querybudget.toml."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--with-rows",
        action="store_true",
        help="record how many rows each view fetches, too; a file that has them keeps them",
    )
    ratcheting.add_arguments(parser)


def run(command: BaseCommand, options: dict[str, Any]) -> None:
    """Run the tests and record. Raises ``CommandError``; exits as ``manage.py test`` does."""
    ratcheting.run(command, options, "record")
