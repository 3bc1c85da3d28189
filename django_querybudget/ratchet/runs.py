"""One test run under the ratchet: what the pytest plugin and the management command share."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from django_querybudget.conf import conf
from django_querybudget.exceptions import LockFileError
from django_querybudget.messages.plurals import counted

from . import collecting, last_run, lockfile
from .comparison import Comparison, compare, recorded, tightened
from .details import read_details
from .last_run import LastRun
from .lockfile import LockFile
from .sarif import sarif
from .text import few_rows, render

__all__ = ["Outcome", "Run"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a run."""

    text: str
    """For the terminal."""
    failed: bool = False
    """Whether something is above its line, and that was not what was recorded."""
    comparison: Comparison | None = None
    """How the run differs from the file; None if the run was not judged."""
    measured: LockFile | None = None
    """All that it measured, as a file; None if not every test passed, or nothing was measured."""


@dataclass
class Run:
    """A run that records, checks or tightens ``path``.

    Raises :class:`~django_querybudget.exceptions.LockFileError` for a file that cannot be read, or
    one of the other two that cannot be written, before a test is run.
    """

    mode: str
    """``"record"``, ``"check"`` or ``"tighten"``."""
    path: Path
    """The file."""
    command: str
    """What a person types to run it, with ``{mode}`` in place of the mode."""
    sarif: Path | None = None
    """Where the failures are written as SARIF."""
    measured: Path | None = None
    """Where what is measured is written, as a file of its own, whatever the mode."""
    with_rows: bool = False
    """Whether to record how many rows are fetched, too; a file that has them keeps them."""
    _file: LockFile = field(init=False)
    _spool: Path = field(init=False)

    def __post_init__(self) -> None:
        self._file = lockfile.read(self.path)
        if self.mode != "record" and not self.path.exists():
            record = self.command.replace("{mode}", "record")
            raise LockFileError(f"{self.path}: there is no such file: {record} first.")
        if self.sarif is not None:
            _check_writable(self.sarif, "SARIF")
        if self.measured is not None:
            if self.measured.resolve() == self.path.resolve():
                record = self.command.replace("{mode}", "record")
                raise LockFileError(
                    f"{self.measured}: what is measured cannot be written into the file that it "
                    f"is compared with. Name another; or, to accept the numbers, {record}."
                )
            _check_writable(self.measured, "measurement")

    def start(self) -> None:
        """Collect from now on, in this process and in those it starts.

        What an earlier run measured is taken away: it is not to be read as of this one.
        """
        if self.measured is not None:
            self.measured.unlink(missing_ok=True)
        self._spool = Path(tempfile.mkdtemp(prefix="querybudget-spool-"))
        collecting.start(self._spool)

    def abandon(self) -> None:
        """Throw away what was collected."""
        collecting.stop()
        shutil.rmtree(self._spool, ignore_errors=True)

    def finish(self, run: str, *, passed: bool, failed: Collection[str] = ()) -> Outcome:
        """Compare, and write the file if the mode asks for it.

        ``run`` says how the tests were chosen. ``failed`` are the names of the tests that did not
        pass: what they measured is left out. ``passed`` is whether the whole run did; where it did
        not and no test is to blame (it was interrupted, say), nothing is written.
        """
        collecting.stop()
        collected = collecting.read_spool(self._spool, failed)
        threshold = conf.NPLUSONE_THRESHOLD
        few = collecting.views_of_few_rows(self._spool, threshold)
        details, complete = read_details(self._spool)
        self.abandon()
        shown = os.path.relpath(self.path)
        if not (collected.lines or collected.left_out):
            return Outcome(
                text="No view and no marked test was measured: does the suite use the test client, "
                'and is QUERYBUDGET["ENABLED"] true?',
                # A few tests may well have no view among them.
                failed=self.mode != "record" and run == self._file.run,
            )
        last = LastRun.of(collected.lines, details, run=run, passed=passed, complete=complete)
        unwritten = self._leave(last)
        comparison = compare(
            self._file, collected.lines, run, collected.left_out, with_rows=self.with_rows
        )
        if not passed:
            # What failed or never ran may have measured less than it does when it works.
            comparison.left_over.clear()
            if not failed:
                comparison.better.clear()
        rewritten = self.mode != "check" and (passed or bool(failed))
        if rewritten:
            new = (
                recorded(self._file, comparison, run, passed=passed)
                if self.mode == "record"
                else tightened(self._file, comparison)
            )
            try:
                lockfile.write(self.path, new)
            except OSError as error:
                return Outcome(text=f"{shown} cannot be written: {error}", failed=True)
        text = render(comparison, shown, mode=self.mode, rewritten=rewritten, command=self.command)
        if rewritten:
            text += f"\nWrote {counted(len(new.lines), 'line', 'lines')} to {shown}."
        elif self.mode != "check":
            text += f"\n{shown} is left as it was: the run did not come to its end."
        if few and self.mode == "record":
            text += f"\n{few_rows(few, threshold)}"
        raised = self.mode == "record" and rewritten
        lines = len(collected.lines)
        whole = f"{'The line is' if lines == 1 else f'All {lines} lines are'} as in {shown}."
        return Outcome(
            text="\n".join(filter(None, [text.strip() or whole, unwritten])),
            failed=bool(comparison.above) and not raised,
            comparison=comparison,
            measured=LockFile(run=run, lines=comparison.measured) if passed else None,
        )

    def _leave(self, last: LastRun) -> str:
        """Leave what was seen to ``explain``; return what went wrong, or nothing."""
        path = last_run.path_beside(self.path)
        try:
            last_run.write(path, last)
        except OSError as error:
            return f"{os.path.relpath(path)} cannot be written, for explain: {error}"
        return ""

    def write_others(self, outcome: Outcome, path: str) -> str:
        """Write the SARIF and the measurement, if asked for; return what went wrong, or nothing.

        ``path`` is the file of the lines as a person names it.
        """
        written = [self._write_sarif(outcome, path), self._write_measured(outcome)]
        return "\n".join(filter(None, written))

    def _write_sarif(self, outcome: Outcome, path: str) -> str:
        if self.sarif is None or outcome.comparison is None:
            return ""
        try:
            self.sarif.write_text(sarif(outcome.comparison, path), encoding="utf-8")
        except OSError as error:
            return f"{self.sarif} cannot be written: {error}"
        return ""

    def _write_measured(self, outcome: Outcome) -> str:
        if self.measured is None:
            return ""
        if outcome.measured is None:
            return f"{self.measured} is not written: not every test passed, or none was measured."
        try:
            lockfile.write(self.measured, outcome.measured)
        except OSError as error:
            return f"{self.measured} cannot be written: {error}"
        return ""


def _check_writable(path: Path, what: str) -> None:
    """Raise :class:`LockFileError` if a file at ``path`` cannot be written; none is left there."""
    try:
        existed = path.exists()
        path.open("a", encoding="utf-8").close()
    except OSError as error:
        raise LockFileError(
            f"{path} cannot be written: {error.strerror}. Name a file for the {what} in a folder "
            "that exists and that may be written to."
        ) from error
    if not existed:
        path.unlink()
