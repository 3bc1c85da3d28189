"""One run of the tests on a scratch copy, in a child process: :func:`rehearse`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from django_querybudget.ratchet.spool import read_lines

from .answers import Answer
from .copying import ScratchCopy
from .patch import Found, NotWritten, Patch
from .unread import UnreadLoad, removals
from .unwritable import CannotProve

__all__ = ["Overtime", "Rehearsal", "RequestRun", "Suite", "headline", "rehearse"]

_PATIENCE = 2
"""Seconds that a run is given to end by itself: its test databases may be servers'."""
_RUNNER = "django_querybudget.patches.rehearsing_runner.RehearsingRunner"


class Overtime(Exception):
    """The time limit came before the run's end."""


class Suite(NamedTuple):
    """The tests, as a person names them."""

    tool: str
    """``"test"`` (of ``manage.py``) or ``"pytest"``."""
    arguments: tuple[str, ...]
    program: tuple[str, ...] = ()
    """What runs ``test``: the path of ``manage.py``, or ``-m django``."""


class RequestRun(NamedTuple):
    """A request to a view in a test."""

    view: str
    queries: int
    saves: dict[str, int]
    """What each patch is to save of it, by the patch's key."""
    loads: Mapping[str, int] = {}
    """How often each eager load ran, by its id."""

    def times(self, what: str) -> int:
        """Return how often a relation was loaded eagerly, from whatever line."""
        return sum(count for name, count in self.loads.items() if name.rpartition(" ")[0] == what)


@dataclass
class Rehearsal:
    """What a run's processes wrote down."""

    bodies: Path
    scopes: dict[str | None, list[RequestRun]] = field(default_factory=dict)
    """By test, in their order."""
    answers: dict[str | None, list[Answer]] = field(default_factory=dict)
    outcomes: dict[str, tuple[str, str]] = field(default_factory=dict)
    """How each test ended, and with which message."""
    patches: dict[str, Patch] = field(default_factory=dict)
    left: dict[tuple[Found, str], NotWritten] = field(default_factory=dict)
    loads: dict[str, UnreadLoad] = field(default_factory=dict)
    """What was loaded eagerly, by its id."""
    read: set[str] = field(default_factory=set)
    """What of it was read."""
    vain: dict[str, frozenset[str]] = field(default_factory=dict)
    """Which of them each patch takes out, by what stays the same of them; not written down."""
    notes: set[str] = field(default_factory=set)
    """What could not be looked at."""
    foreign: list[str] = field(default_factory=list)
    """Files of the project itself that were imported in place of the copy's."""
    status: int = 0
    output: str = ""

    @property
    def failed(self) -> dict[str, str]:
        """The tests that failed, with their messages."""
        return {name: text for name, (how, text) in self.outcomes.items() if how == "failed"}

    def body(self, digest: str) -> bytes | None:
        """Return an answer's status, headers and body; None if it was too much to keep."""
        try:
            return zlib.decompress((self.bodies / digest).read_bytes())
        except OSError:
            return None

    def touched(self, keys: Collection[str]) -> dict[str, set[str]]:
        """Return by test the views in which patches of these keys have something to save."""
        found: dict[str, set[str]] = {}
        for test, scopes in self.scopes.items():
            views = {each.view for each in scopes if set(each.saves) & set(keys)}
            if test is not None and views:
                found[test] = views
        return found

    def showing(self, keys: Collection[str]) -> set[str]:
        """Return the tests in which patches of these keys have something to save."""
        return set(self.touched(keys))

    def find_unread(self, before: Callable[[str], bytes]) -> list[NotWritten]:
        """Add a patch for each eager load that no test of this run read; return what has none.

        ``before`` returns what a file of the project holds.
        """
        found, left = removals(self.loads, self.read, before)
        for removal in found:
            key, shows = removal.patch.key, False
            for scope in (each for scopes in self.scopes.values() for each in scopes):
                times = {each.id: scope.loads.get(each.id, 0) for each in removal.loads}
                if any(times.values()):
                    # A prefetch is a query, a join is none.
                    scope.saves[key] = sum(
                        times[each.id]
                        for each in removal.loads
                        if each.operation == "prefetch_related"
                    )
                    shows = True
            if shows:
                self.patches[key] = removal.patch
                self.vain[key] = frozenset(each.what for each in removal.loads)
            else:
                reason = "no request of a test loads it: nothing of it would be measured"
                left += [NotWritten(each, reason) for each in removal.patch.found]
        return left


def headline(text: str) -> str:
    """Return the line of a failure that says why: its first, or pytest's first with an ``E``."""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["it says nothing"]
    first = next((line[1:].strip() for line in lines if line.startswith("E  ")), lines[0])
    if "queries executed" in first and "expected" in first:
        first += " (the test expects an exact number of queries: assertMaxQueries takes fewer)"
    return first[:300]


def rehearse(
    copy: ScratchCopy,
    suite: Suite,
    *,
    only: Collection[str] | None = None,
    deadline: float | None = None,
) -> Rehearsal:
    """Run the tests on the copy as it is now, and return what came of it.

    ``only`` are the names of the tests to run, all of ``suite`` if it is None. ``deadline`` is by
    ``time.monotonic()``. Raises :class:`Overtime`, and :class:`~.unwritable.CannotProve` for a run
    that imports the project itself.
    """
    number = len(list(copy.folder.glob("run-*")))
    folder, bodies = copy.folder / f"run-{number}", copy.folder / "bodies"
    folder.mkdir()
    bodies.mkdir(exist_ok=True)
    if only is not None:
        (folder / "only").write_text(json.dumps(sorted(only)), encoding="utf-8")
    environment = copy.environment()
    environment |= {
        "QUERYBUDGET_REHEARSAL": str(folder),
        "QUERYBUDGET_REHEARSAL_COPY": str(copy.tree),
        "QUERYBUDGET_REHEARSAL_ROOT": str(copy.root),
    }
    command = _command(copy, suite, environment)
    here = copy.tree / os.path.relpath(os.path.realpath(Path.cwd()), copy.root)
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=here,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        status = _wait(process, deadline)
    run = _read(folder, bodies)
    run.status = status
    text = (folder / "output").read_bytes().decode(errors="replace")
    run.output = "\n".join(text.strip().splitlines()[-30:])
    if run.foreign:
        raise CannotProve(
            "The tests import the project itself, not its copy: "
            f"{', '.join(run.foreign[:3])}. An editable install or a path in the settings leads "
            "there: run them from the folder that holds the packages, or put it into PYTHONPATH."
        )
    return run


def _wait(process: subprocess.Popen[bytes], deadline: float | None) -> int:
    try:
        return process.wait(None if deadline is None else max(deadline - time.monotonic(), 0.1))
    except subprocess.TimeoutExpired:
        raise Overtime from None
    finally:
        if process.poll() is None:  # Overtime, or Ctrl-C: it has a session of its own.
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a child and those that it started: first as Ctrl-C does, so that it tidies up."""
    for number, patience in ((signal.SIGINT, _PATIENCE), (signal.SIGKILL, _PATIENCE)):
        try:
            os.killpg(process.pid, number)
            process.wait(patience)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue
        else:
            return


def _command(copy: ScratchCopy, suite: Suite, environment: dict[str, str]) -> list[str]:
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # private, and what multiprocessing calls
    arguments = [copy.moved(each) for each in suite.arguments]
    if suite.tool == "pytest":
        return [sys.executable, *flags, "-m", "pytest", *arguments]
    kept: list[str] = []
    words = iter(arguments)
    for word in words:
        if word.startswith("--testrunner"):
            base = word.partition("=")[2] or next(words, "")
            environment["QUERYBUDGET_REHEARSAL_RUNNER"] = base
        else:
            kept.append(word)
    program = [copy.moved(each) for each in suite.program]
    ours = [f"--testrunner={_RUNNER}", "--noinput"]
    return [sys.executable, *flags, *program, "test", *kept, *ours]


def _read(folder: Path, bodies: Path) -> Rehearsal:
    run = Rehearsal(bodies)
    for path in sorted(folder.glob("*.jsonl")):
        for record in read_lines(path):
            _add(run, record)
    return run


def _add(run: Rehearsal, record: dict[str, Any]) -> None:
    match record["kind"]:
        case "scope":
            loads = record["loads"]
            scope = RequestRun(record["view"], record["count"], record["saves"], loads)
            run.scopes.setdefault(record["test"], []).append(scope)
            for found, reason, code in record["left"]:
                left = NotWritten(Found(*found), reason, code)
                run.left[left.found, left.reason] = left
        case "answer":
            answer = Answer(record["request"], record["digest"], record["view"])
            run.answers.setdefault(record["test"], []).append(answer)
        case "outcome":
            before = run.outcomes.get(record["test"])
            if before is None or before[0] != "failed":
                run.outcomes[record["test"]] = record["outcome"], record["text"]
        case "patch":
            run.patches[record["key"]] = Patch.from_data(record)
        case "load":
            run.loads[record["id"]] = UnreadLoad.from_data(record)
        case "read":
            run.read.add(record["id"])
        case "note":
            run.notes.add(record["text"])
        case "end":
            run.foreign += record["foreign"]
