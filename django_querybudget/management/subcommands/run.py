"""``manage.py querybudget run -- COMMAND``: run a command, and report what it queried."""

from __future__ import annotations

import argparse
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.core.management import BaseCommand, CommandError, ManagementUtility, get_commands

from django_querybudget.budgets.budget import Budget
from django_querybudget.reports.report import QueryReport
from django_querybudget.work import Work

HELP = "Run a command of manage.py or a Python file, and report what it queried."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--max-queries",
        type=_whole_number,
        metavar="N",
        help='exit with 1 past so many queries (default: "command NAME" in BUDGETS)',
    )
    parser.add_argument(
        "words", nargs=argparse.REMAINDER, metavar="-- COMMAND …", help="what you would type"
    )


def run(command: BaseCommand, options: dict[str, Any]) -> None:
    """Run it in this process; its exit status is kept. Raises ``CommandError``."""
    name, execute = _program(options["words"])
    limit = options["max_queries"]
    # Whatever its threads query is the command's; its report stands below, not in the log.
    work = Work("command", name, causes=True, across_threads=True, shown=True)
    work.begin()
    status: object = None
    try:
        execute()
    except SystemExit as error:
        status = error.code
    finally:
        report = work.end(None if limit is None else Budget(limit))
        command.stderr.write(_text(report, options["verbosity"]), style_func=str)
    if status is None or status == 0:
        status = 1 if report.violations else 0
    if status != 0:
        raise SystemExit(status)


def _text(report: QueryReport, verbosity: int) -> str:
    return report.headline if verbosity == 0 else report.render(verbosity=min(verbosity, 3) - 1)


def _whole_number(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of 0 or more.")
    return int(text)


def _program(given: list[str]) -> tuple[str, Callable[[], object]]:
    """Return the name of what is to run, and what runs it. Raises ``CommandError``."""
    words = given[1:] if given[:1] == ["--"] else given
    if len(words) > 1 and Path(words[0]).name.startswith("python"):
        words = words[1:]
    if len(words) > 1 and Path(words[0]).name == "manage.py":
        words = words[1:]
    if not words:
        raise CommandError(
            "Say which command after two dashes: manage.py querybudget run -- COMMAND [arguments]",
            returncode=2,
        )
    name = words[0]
    if name in get_commands():
        argv = [sys.argv[0], *words]
        utility = ManagementUtility(argv)
        return name, lambda: utility.fetch_command(name).run_from_argv(argv)
    if name == "-m" and len(words) > 1:
        return f"-m {words[1]}", lambda: _run_python(words[1:], runpy.run_module)
    if Path(name).suffix == ".py" and Path(name).is_file():
        return name, lambda: _run_python(words, runpy.run_path)
    raise CommandError(
        f"{name!r} is no command of manage.py, no Python file and no -m MODULE: these alone can be "
        "looked at in this process. For any other program: "
        f"python -m django_querybudget try {' '.join(words)}",
        returncode=2,
    )


def _run_python(words: list[str], run: Callable[..., object]) -> None:
    """Run a file or a module as Python does, with the arguments and the path that it expects."""
    argv, path = sys.argv, list(sys.path)
    sys.argv = words
    sys.path.insert(0, str(Path(words[0]).resolve().parent) if run is runpy.run_path else "")
    try:
        run(words[0], run_name="__main__")
    finally:
        sys.argv, sys.path[:] = argv, path
