"""Starting what was asked for: which program it is, in which environment, and its end."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django_querybudget.exceptions import QueryBudgetError

__all__ = ["FOLDER_VARIABLE", "ROWS_VARIABLE", "UnknownCommand", "program", "run"]

FOLDER_VARIABLE = "QUERYBUDGET_TRY"
"""In the environment of a run: the folder that its processes write to."""
ROWS_VARIABLE = "QUERYBUDGET_TRY_ROWS"
"""In the environment of the second run of ``--rows``: how many copies of each row are made."""

_STARTUP = '''\
"""Imported by each Python process of the run: see django_querybudget.trying."""
import os, sys
_here = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [each for each in sys.path if os.path.abspath(each) != _here]
try:
    from django_querybudget.trying.settings_classes import replace_settings_classes
except ImportError:
    pass  # a Python without Django or without us: none of the project's
else:
    replace_settings_classes()
_ours = sys.modules.pop("sitecustomize", None)
try:
    import sitecustomize  # that of the environment
except ImportError as error:
    if error.name != "sitecustomize":
        raise
    if _ours is not None:
        sys.modules["sitecustomize"] = _ours
'''


class UnknownCommand(QueryBudgetError):
    """What is to be run is nothing that can be run. Its text says what can."""


def program(words: Sequence[str]) -> list[str]:
    """Return the program and the arguments that ``words`` stand for.

    Python's files and the commands of this environment (``pytest``, ``django-admin``) run with the
    Python that runs this; any other command as it is. Raises :class:`UnknownCommand`.
    """
    word, *rest = words
    if word.endswith(".py"):
        if not Path(word).is_file():
            raise UnknownCommand(
                f"There is no {word} in {Path.cwd()}. Run this in the project's folder, or name "
                f"the file with its folder: try path/to/{Path(word).name} {' '.join(rest)}".rstrip()
            )
        return [sys.executable, word, *rest]
    if word in ("python", "python3"):
        return [sys.executable, *rest]
    script = Path(sys.executable).parent / word
    if os.sep not in word and script.is_file():
        return [*([sys.executable] if _is_python(script) else []), str(script), *rest]
    if word.isidentifier() and _is_module(f"{word}.__main__"):
        return [sys.executable, "-m", word, *rest]
    found = shutil.which(word)
    if found is None:
        raise UnknownCommand(
            f"{word!r} is no command of this environment. What can be tried is what you would type "
            "to run it: manage.py test, manage.py runserver, pytest."
        )
    return [found, *rest]


def _is_python(script: Path) -> bool:
    with script.open("rb") as file:
        first = file.readline(200)
    return first.startswith(b"#!") and b"python" in first


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ImportError:
        return False


def run(command: Sequence[str], folder: Path, *, rows: int | None = None, **streams: Any) -> int:
    """Run ``command`` with its processes looked at, and return its exit status.

    ``folder`` is where they write to, ``rows`` as ``--rows``; ``streams`` are those of
    ``subprocess``. A signal's number and 128 is the status of a command that a signal ended. Ctrl-C
    is the command's own: it ends as it does alone. A ``SIGTERM`` is handed on.
    """
    startup = folder / "startup"
    startup.mkdir(exist_ok=True)
    (startup / "sitecustomize.py").write_text(_STARTUP, encoding="utf-8")
    path = [str(startup), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), FOLDER_VARIABLE: str(folder)}
    if rows is not None:
        environment[ROWS_VARIABLE] = str(rows)
    sys.stdout.flush()
    with _waiting() as started:
        process = subprocess.Popen(command, env=environment, **streams)
        started.append(process)
        status = process.wait()
    return status if status >= 0 else 128 - status


@contextmanager
def _waiting() -> Iterator[list[subprocess.Popen[Any]]]:
    started: list[subprocess.Popen[Any]] = []

    def hand_on(number: int, _: object) -> None:
        for process in started:
            process.send_signal(number)

    # Functions, for a program that is started inherits what is ignored.
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, lambda *_: None),
        signal.SIGTERM: signal.signal(signal.SIGTERM, hand_on),
    }
    try:
        yield started
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
