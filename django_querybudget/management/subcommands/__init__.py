"""The subcommands of ``manage.py querybudget``, one module each.

A module has three names: ``HELP``, one line; ``add_arguments(parser)``; and
``run(command, options)``, which prints through ``command.stdout`` and raises ``CommandError``.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, Protocol, cast

if TYPE_CHECKING:
    from argparse import ArgumentParser

    from django.core.management import BaseCommand


class Subcommand(Protocol):
    """What a module of this package is."""

    HELP: str

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""

    def run(self, command: BaseCommand, options: dict[str, Any]) -> None:
        """Do it. Raises ``CommandError``."""


def subcommands() -> dict[str, Subcommand]:
    """Return the subcommands by name."""
    names = sorted(info.name for info in iter_modules(__path__))
    return {name: cast("Subcommand", import_module(f"{__name__}.{name}")) for name in names}
