"""``manage.py querybudget explain VIEW``: everything known about one view."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management import BaseCommand, CommandError

from django_querybudget.explaining.explanation import explanation
from django_querybudget.explaining.text import render
from django_querybudget.explaining.views import UnknownView

HELP = "Tell everything that is known of one view: budget, counts, N+1 queries, indexes, cache."


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "view",
        metavar="VIEW",
        help="a view as in BUDGETS (jobs:list, /jobs/, 'POST jobs:list') or by its code "
        "(jobs.views.list); 'jobs:*' lists those that begin so",
    )
    parser.add_argument(
        "--file",
        metavar="PATH",
        default="querybudget.toml",
        help="the file of the recorded lines; the last test run's stands beside it "
        "(default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def run(command: BaseCommand, options: dict[str, Any]) -> None:
    """Print it. Raises ``CommandError`` with status 2 for a view that is not there."""
    try:
        told = explanation(options["view"], Path(options["file"]))
    except UnknownView as error:
        raise CommandError(str(error), returncode=2) from error
    if options["json"]:
        command.stdout.write(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        command.stdout.write(render(told))
