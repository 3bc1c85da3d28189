"""``manage.py querybudget``: hands over to one of ``management/subcommands``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from django_querybudget.management.printing import only_ours
from django_querybudget.management.subcommands import subcommands


class Command(BaseCommand):
    """Parse, and run the subcommand."""

    help = "Query budgets and indexes from the command line."
    # An audit is wanted all the more where a check fails.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Give each subcommand a parser of its own."""
        parsers = parser.add_subparsers(dest="subcommand", required=True, metavar="SUBCOMMAND")
        for name, subcommand in subcommands().items():
            child = parsers.add_parser(name, help=subcommand.HELP, description=subcommand.HELP)
            _add_common_options(child)
            subcommand.add_arguments(child)
            for inner in _inner_parsers(child):
                _add_common_options(inner)

    def handle(self, *args: Any, **options: Any) -> None:  # Django's signature
        """Run the subcommand that was asked for; with ``--json`` nothing else is on stdout."""
        run = subcommands()[options["subcommand"]].run
        if not options.get("json"):
            run(self, options)
            return
        with only_ours(self):
            run(self, options)


def _inner_parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield the parsers of a subcommand's own subcommands."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.values()


def _add_common_options(parser: argparse.ArgumentParser) -> None:
    """Let Django's common options stand behind the subcommand, too; the parent gives defaults."""
    for flags, options in (
        (("-v", "--verbosity"), {"type": int, "choices": [0, 1, 2, 3]}),
        (("--settings",), {}),
        (("--pythonpath",), {}),
        (("--traceback",), {"action": "store_true"}),
        (("--no-color",), {"action": "store_true"}),
        (("--force-color",), {"action": "store_true"}),
    ):
        arguments: dict[str, Any] = {"default": argparse.SUPPRESS, "help": argparse.SUPPRESS}
        parser.add_argument(*flags, **arguments, **options)
