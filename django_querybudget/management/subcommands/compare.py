"""``manage.py querybudget compare OLD [NEW]``: what a pull request changes of querybudget.toml."""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management import BaseCommand, CommandError

from django_querybudget.exceptions import LockFileError
from django_querybudget.ratchet import compare_command

HELP = compare_command.HELP


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    compare_command.add_arguments(parser)


def run(command: BaseCommand, options: dict[str, Any]) -> None:
    """Print the difference. Raises ``CommandError``: 2 for what cannot be read."""
    try:
        told = compare_command.compared(options)
    except LockFileError as error:
        raise CommandError(str(error), returncode=2) from error
    command.stdout.write(told.text)
    if problem := compare_command.tell_github(told):
        raise CommandError(problem, returncode=1)
