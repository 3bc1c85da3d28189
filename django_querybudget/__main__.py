"""``python -m django_querybudget try|compare|merge|check-file``: what needs no settings."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from .ratchet import programs
from .trying import command


def main(arguments: Sequence[str]) -> int:
    """Run what ``arguments`` ask for, and return the exit status: 2 for bad ones."""
    parser = argparse.ArgumentParser(prog="python -m django_querybudget")
    commands = parser.add_subparsers(dest="subcommand", required=True, metavar="COMMAND")
    command.add_to(commands)
    programs.add_to(commands)
    options = parser.parse_args(list(arguments))
    run: Callable[[argparse.Namespace], int] = options.run
    return run(options)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
