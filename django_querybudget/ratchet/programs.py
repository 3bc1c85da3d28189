"""What reads or writes ``querybudget.toml`` and needs no project: ``compare``, ``merge``, …

Of ``python -m django_querybudget``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from . import compare_command

__all__ = ["add_to"]

# The modules that read the file are imported when they are needed: `try` is to say by itself that
# there is no Django.


def add_to(commands: Any) -> None:
    """Add them to what ``python -m django_querybudget`` takes."""
    compare = commands.add_parser(
        "compare", help=compare_command.HELP, description=compare_command.HELP
    )
    compare_command.add_arguments(compare)
    compare.set_defaults(run=_compare)
    text = "Merge three versions of querybudget.toml by views, for git: %%O %%A %%B."
    merge = commands.add_parser("merge", help=text, description=f"{text} Writes into OURS.")
    for name in ("base", "ours", "theirs"):
        merge.add_argument(name, metavar=name.upper(), type=Path)
    merge.set_defaults(run=_merge)
    text = "Refuse a querybudget.toml that cannot be read: broken by hand, or with merge markers."
    check = commands.add_parser("check-file", help=text, description=text)
    check.add_argument("files", metavar="FILE", nargs="+", type=Path)
    check.set_defaults(run=_check_files)


def _compare(options: argparse.Namespace) -> int:
    from django_querybudget.exceptions import LockFileError

    try:
        told = compare_command.compared(vars(options))
    except LockFileError as error:
        return _refused(str(error), 2)
    _print(told.text)
    problem = compare_command.tell_github(told)
    return _refused(problem, 1) if problem else 0


def _merge(options: argparse.Namespace) -> int:
    from .merging import merge_files

    conflicts, problem = merge_files(options.base, options.ours, options.theirs)
    return _refused(problem, int(conflicts)) if problem else int(conflicts)


def _check_files(options: argparse.Namespace) -> int:
    from django_querybudget.exceptions import LockFileError

    from .versions import version_on_disk

    status = 0
    for path in options.files:
        try:
            version_on_disk(path)
        except LockFileError as error:
            status = _refused(str(error), 1)
    return status


def _print(text: str) -> None:
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")


def _refused(problem: str, status: int) -> int:
    sys.stderr.write(f"{problem}\n")
    return status
