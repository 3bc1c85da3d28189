"""``manage.py querybudget compare OLD [NEW]``: what a pull request changes of querybudget.toml."""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management import BaseCommand, CommandError

from django_querybudget.exceptions import LockFileError
from django_querybudget.ratchet import comparing

HELP = comparing.HELP


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    comparing.add_arguments(parser)


def run(command: BaseCommand, options: dict[str, Any]) -> None:
    """Print the difference. Raises ``CommandError``: 2 for what cannot be read."""
    try:
        told = comparing.compared(options)
    except LockFileError as error:
        raise CommandError(str(error), returncode=2) from error
    command.stdout.write(told.text)
    if problem := comparing.tell_github(told):
        raise CommandError(problem, returncode=1)
