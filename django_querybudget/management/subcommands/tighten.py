"""``manage.py querybudget tighten -- test …``: recorded lines lowered and pruned."""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management import BaseCommand

from django_querybudget.management import ratcheting

HELP = "Run the tests, and lower and prune the lines of querybudget.toml; none is raised."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    ratcheting.add_arguments(parser)


def run(command: BaseCommand, options: dict[str, Any]) -> None:
    """Run the tests and lower. Raises ``CommandError``; exits as ``manage.py test`` does."""
    ratcheting.run(command, options, "tighten")
