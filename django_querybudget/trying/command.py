"""``python -m django_querybudget try``: the arguments, the run, the page."""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from django_querybudget.messages.plurals import counted

from .documents import as_html, as_json, check_writable
from .launching import UnknownCommand, program, run
from .page import page
from .trial import Trial, read_trial, write_few

__all__ = ["add_to"]

OLDEST = (5, 2)
STDOUT = "-"

_EXAMPLES = """\
examples:
  python -m django_querybudget try manage.py test
  python -m django_querybudget try --rows 20 pytest tests/jobs
  python -m django_querybudget try --html queries.html manage.py runserver
"""


def add_to(commands: Any) -> None:
    """Add ``try`` to what ``python -m django_querybudget`` takes."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "try",
        help="run a command of your project, and see what its views ask of the database",
        description="Runs a command of your project with django-querybudget in it, for this run "
        "alone: no file of the project is edited. Its exit status is the command's.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_arguments(parser)
    parser.set_defaults(run=lambda options: _run(parser, options))


def _run(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    """Run what ``options`` ask for; return the exit status: the command's, 2 for bad arguments."""
    words = options.command[options.command[:1] == ["--"] :]
    if not words:
        parser.error("say what to run: manage.py test, pytest, manage.py runserver.")
    if options.rows is not None and any(each.startswith("runserver") for each in words):
        parser.error("--rows runs tests a second time, and a server runs none: leave it out.")
    for name in (options.json, options.html):
        if name not in (None, STDOUT) and (problem := check_writable(name)):
            parser.error(f"nothing was run, for {problem}.")
    if options.html == STDOUT == options.json:
        parser.error("only one of --json and --html can be printed.")
    if problem := _lacks_django():
        parser.error(problem)
    try:
        command = program(words)
    except UnknownCommand as error:
        parser.error(str(error))
    return _try(command, options, words)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rows",
        type=_rows,
        metavar="N",
        help="run the tests a second time, with N copies of the rows of which a view listed few, "
        "in transactions that are rolled back; what that run says and how it ends counts nowhere",
    )
    parser.add_argument(
        "--json",
        metavar="FILE",
        help="write all of it as JSON; with - it is all that is printed, and the command's own "
        "output goes to stderr",
    )
    parser.add_argument("--html", metavar="FILE", help="write all of it as one HTML file")
    parser.add_argument(
        "command", nargs=argparse.REMAINDER, metavar="COMMAND …", help="what you would type"
    )


def _rows(text: str) -> int:
    number = int(text)
    if not 3 <= number <= 200:
        raise argparse.ArgumentTypeError(f"{text} is not from 3 to 200")
    return number


def _lacks_django() -> str:
    try:
        import django
    except ImportError:
        return (
            f"{sys.executable} has no Django. Install django-querybudget into the environment that "
            "runs the project, and use its python."
        )
    if django.VERSION[:2] < OLDEST:
        return f"Django {django.__version__} is too old: 5.2 or newer is needed."
    return ""


def _try(command: list[str], options: argparse.Namespace, words: list[str]) -> int:
    printed = STDOUT in (options.json, options.html)
    # A document alone is printed: a program reads it.
    text_to = sys.stderr if printed else sys.stdout
    streams: dict[str, Any] = {"stdout": sys.stderr} if printed else {}
    typed = shlex.join(words)
    with tempfile.TemporaryDirectory(prefix="querybudget-try-") as name:
        folder = Path(name)
        status = run(command, folder, **streams)
        trial = read_trial(folder)
        if options.rows is not None and trial.few():
            _grow(command, options.rows, trial, folder, text_to)
            trial = read_trial(folder)
    told: dict[str, Any] = {"status": status, "rows": options.rows}
    text_to.write(f"\n{page(trial, typed, **told)}\n")
    for target, render in ((options.json, as_json), (options.html, as_html)):
        if target == STDOUT:
            sys.stdout.write(f"{render(trial, typed, **told)}\n")
        elif target is not None:
            try:
                Path(target).write_text(render(trial, typed, **told), encoding="utf-8")
            except OSError as error:
                sys.stderr.write(f"{target} cannot be written: {error.strerror}\n")
                return status or 1
            text_to.write(f"Wrote {target}.\n")
    return status


def _grow(command: list[str], rows: int, trial: Trial, folder: Path, text_to: Any) -> None:
    few = trial.few()
    print(
        f"\nRunning it once more, with {rows} copies of the rows that {counted(len(few), 'view')} "
        "listed few of. What this run prints is left out.",
        file=text_to,
        flush=True,
    )
    write_few(folder, few)
    run(
        command,
        folder,
        rows=rows,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
