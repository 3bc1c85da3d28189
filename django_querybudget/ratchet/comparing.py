"""The subcommand ``compare``, for ``manage.py querybudget`` and without a project."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

__all__ = ["HELP", "add_arguments", "compared", "write_summary"]

HELP = "Compare two versions of querybudget.toml: which view executes more, by which queries."
SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"


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


def compared(options: dict[str, Any]) -> tuple[str, str]:
    """Return what to print, and the same for a pull request. Raises ``LockFileError``."""
    # Here, not above: `try` is to say by itself that there is no Django.
    from .difference import Difference
    from .markdown import markdown
    from .versions import version_of, version_on_disk

    path = Path(options["file"])
    new = version_of(options["new"], path) if options["new"] else version_on_disk(path)
    difference = Difference(version_of(options["old"], path), new)
    for_a_pull_request = markdown(difference, options["file"])
    if options["markdown"]:
        return for_a_pull_request, for_a_pull_request
    return difference.as_json() if options["json"] else difference.as_text(), for_a_pull_request


def write_summary(text: str) -> str:
    """Append ``text`` to the summary of a job of GitHub's; return what went wrong, or nothing."""
    path = os.environ.get(SUMMARY_VARIABLE)
    if not path:
        return ""
    try:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        return f"{SUMMARY_VARIABLE}, {path}, cannot be written: {error.strerror}"
    return ""
