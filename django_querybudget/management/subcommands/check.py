"""``manage.py querybudget check -- test …``: no view above its recorded line."""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management import BaseCommand

from django_querybudget.management import ratcheting

HELP = "Run the tests, and fail if a view executes more than querybudget.toml says."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    ratcheting.add_arguments(parser)


def run(command: BaseCommand, options: dict[str, Any]) -> None:
    """Run the tests and compare. Raises ``CommandError``; exits as ``manage.py test`` does."""
    ratcheting.run(command, options, "check")
