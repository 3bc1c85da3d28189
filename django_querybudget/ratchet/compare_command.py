"""The subcommand ``compare``, for ``manage.py querybudget`` and without a project."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["HELP", "Compared", "add_arguments", "compared", "tell_github"]

HELP = "Compare two versions of querybudget.toml: which view executes more, by which queries."
SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"
OUTPUT_VARIABLE = "GITHUB_OUTPUT"


class Compared(NamedTuple):
    """What is told of two versions."""

    text: str
    """What to print."""
    markdown: str
    """The same for a pull request."""
    counts: Mapping[str, int]
    """How many lines are ``worse``, ``better``, ``other``, ``new``, ``gone`` and ``unchanged``."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("old", metavar="OLD", help="a file, or a revision of git")
    parser.add_argument(
        "new",
        metavar="NEW",
        nargs="?",
        help="a file, or a revision of git (default: the file that --file names, as it is now)",
    )
    parser.add_argument(
        "--file",
        metavar="PATH",
        default="querybudget.toml",
        help="the file of the lines, in a revision (default: %(default)s)",
    )
    told = parser.add_mutually_exclusive_group()
    told.add_argument("--markdown", action="store_true", help="print it for a pull request")
    told.add_argument("--json", action="store_true", help="print it for a program")


def compared(options: dict[str, Any]) -> Compared:
    """Compare what ``options`` name. Raises ``LockFileError``."""
    # Here, not above: `try` is to say by itself that there is no Django.
    from .difference import Difference
    from .markdown import markdown
    from .versions import path_in_repository, version_of, version_on_disk

    path = Path(options["file"])
    new = version_of(options["new"], path) if options["new"] else version_on_disk(path)
    difference = Difference(version_of(options["old"], path), new)
    for_a_pull_request = markdown(difference, path_in_repository(path))
    if options["markdown"]:
        text = for_a_pull_request
    else:
        text = difference.as_json() if options["json"] else difference.as_text()
    return Compared(text, for_a_pull_request, difference.counts)


def tell_github(told: Compared) -> str:
    """In a job of GitHub's, add to its summary and set the step's outputs.

    Return what went wrong, or nothing.
    """
    outputs = "".join(f"{name}={count}\n" for name, count in told.counts.items())
    problems = _append(SUMMARY_VARIABLE, told.markdown), _append(OUTPUT_VARIABLE, outputs)
    return "\n".join(filter(None, problems))


def _append(variable: str, text: str) -> str:
    """Append ``text`` to the file that ``variable`` names, if any; return what went wrong."""
    path = os.environ.get(variable)
    if not path:
        return ""
    try:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        return f"{variable}, {path}, cannot be written: {error.strerror}"
    return ""
