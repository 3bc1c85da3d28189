"""Proving patches together, then in ever smaller groups where they fail: :class:`Proof`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Self

from django_querybudget.messages.plurals import counted

from .baseline import Baseline
from .copying import ScratchCopy
from .edits import Contradiction
from .judged import Judged
from .patch import NotWritten, Patch
from .patched_files import PatchedFiles
from .rehearsals import Overtime, Rehearsal, Suite, headline, rehearse
from .unwritable import CannotProve
from .verdicts import Verdict, changing, judge, parts

__all__ = ["Proof"]

_MOST_CHANGING = 5


class Proof:
    """The whole of ``querybudget fix``, but for what it prints and what it writes.

    ``tell`` is called with a line for each step. ``seconds`` is the time limit. ``uncompared``
    keeps patches that save, and of which no answer could be compared. Use it as a context manager:
    the copy is removed at its end, however that comes.
    """

    def __init__(
        self,
        root: Path,
        suite: Suite,
        *,
        seconds: float | None = None,
        uncompared: bool = False,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        # From here on: to copy a large project takes a while, too.
        self.deadline = None if seconds is None else time.monotonic() + seconds
        self.copy = ScratchCopy(root, deadline=self.deadline)
        self.suite = suite
        self.keeps_uncompared = uncompared
        self.tell = tell
        self.judged: dict[str, Judged] = {}
        self.left: list[NotWritten] = []
        self.notes: list[str] = []
        """What could not be looked at."""
        self.is_over_time = False
        self.runs = 0
        self._base: Baseline | None = None
        self._accepted: list[str] = []
        self._tests: set[str] = set()
        self.patched_files = PatchedFiles(self.copy)
        self._last: list[str] = []
        """What was written into the copy for the last rehearsal that stood."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.copy.remove()

    @property
    def proved(self) -> list[Judged]:
        """The patches that stand, and are written."""
        return [self.judged[key] for key in self._accepted]

    def files(self, patches: Iterable[Judged] | None = None) -> dict[str, bytes]:
        """Return what the files hold with all that is proved, or with some of that."""
        chosen = self.proved if patches is None else patches
        return self._written([each.patch.key for each in chosen])

    def before(self, path: str) -> bytes:
        """Return what a file held when it was copied."""
        return self.copy.of(path)

    def run(self) -> None:
        """Find, write, rehearse, judge. Raises :class:`~.unwritable.CannotProve` for red tests."""
        try:
            self._run()
        except Overtime:
            self.is_over_time = True

    def _run(self) -> None:
        self.find()
        self.prove()

    def find(self) -> None:
        """Run the tests as they are, and learn what patches their findings make."""
        self.tell("Running the tests as they are, to find what loops …")
        first = self._rehearse()
        if first.failed or first.status:
            raise CannotProve(_red(first))
        if not first.outcomes:
            raise CannotProve(f"No test ran.\n{first.output}")
        self.left = list(first.left.values())
        self.notes = sorted(first.notes)
        self.left += first.find_unread(self.copy.of)
        for key, patch in first.patches.items():
            self._keep_to_time()
            if reason := self._foreign(patch):
                self.left += [NotWritten(each, reason) for each in patch.found]
                continue
            scopes = [each for found in first.scopes.values() for each in found]
            self.judged[key] = Judged(patch, sum(each.saves.get(key, 0) for each in scopes))
        self._base = Baseline(first, first)

    def _foreign(self, patch: Patch) -> str:
        """Return why a patch is not this repository's to write; empty if it is."""
        for path in patch.paths:
            if submodule := self.copy.submodule_of(path):
                return f"{path} is in the submodule {submodule}: run fix in its own repository"
        return ""

    def prove(self) -> None:
        """Learn what differs by itself, then judge the patches that were found."""
        base = self.baseline
        if not self.judged:
            return
        self._tests = base.first.showing(self.judged.keys())
        tests = counted(len(self._tests), "test")
        self.tell(f"Running {tests} again, to learn what differs by itself …")
        base.add(self._rehearse(self._tests))
        if base.second.failed or base.second.status:
            raise CannotProve(
                f"Run by themselves, tests fail that pass among all. {_red(base.second)}"
            )
        if missing := self._tests - base.second.outcomes.keys():
            raise CannotProve(
                f"Chosen by name, {counted(len(missing), 'test')} did not run, "
                f"{min(missing)} for one: the project's test runner leaves them out.\n"
                f"{base.second.output}"
            )
        self._note_changing()
        # Those that save most first: of two that contradict one another they stand.
        self._prove(sorted(self.judged, key=lambda key: -self.judged[key].saves))
        self._prove_over_all()

    def _rehearse(self, only: Iterable[str] | None = None) -> Rehearsal:
        self.runs += 1
        chosen = None if only is None else set(only)
        return rehearse(self.copy, self.suite, only=chosen, deadline=self.deadline)

    def _keep_to_time(self) -> None:
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise Overtime

    def _prove(self, keys: list[str]) -> None:
        """Add those of ``keys`` that stand to what is accepted."""
        keys = self._fitting(keys)
        if not keys:
            return
        verdict, run = self._try([*self._accepted, *keys], keys)
        if verdict.stands:
            self._note(run, [*self._accepted, *keys])
            if compared := self._compared(keys):
                if len(compared) < len(keys):
                    self._prove(compared)  # Without the others: they are not written.
                    return
                self._accepted += keys
                self._last = list(self._accepted)
        elif len(keys) == 1:
            self._withdraw(keys[0], [each.text for each in verdict.problems])
        else:
            self.tell(f"{len(keys)} patches do not stand together: trying fewer at a time …")
            for part in parts(self.baseline, keys, verdict):
                self._prove(part)

    def _fitting(self, keys: list[str]) -> list[str]:
        """Return the keys that can be written together, beside what is accepted."""
        fitting: list[str] = []
        for key in keys:
            self._keep_to_time()
            if self.judged[key].outcome == "withdrawn":
                continue
            try:
                self._written([*self._accepted, *fitting, key])
            except (Contradiction, SyntaxError, UnicodeEncodeError) as error:
                self._withdraw(key, [f"it cannot be written: {error}"])
            else:
                fitting.append(key)
        return fitting

    def _try(self, keys: list[str], new: list[str]) -> tuple[Verdict, Rehearsal]:
        patches, tests = counted(len(new), "patch", "patches"), counted(len(self._tests), "test")
        self.tell(f"Proving {patches} with {tests} …")
        self.copy.write(self._written(keys))
        run = self._rehearse(self._tests)
        verdict = judge(self.baseline, run, keys, about=new)
        if verdict.may_pass:
            verdict = self._compare_again(run, keys, new, verdict)
        if verdict.may_still_pass:
            verdict = self._compare_again(run, keys, new, verdict)
        return verdict, run

    def _compare_again(
        self, run: Rehearsal, keys: list[str], new: list[str], verdict: Verdict
    ) -> Verdict:
        """Judge a run beside one more without the patches: what the clock changed for one, it has
        changed for the other."""
        self.tell("Running them without the patches once more: time has gone on …")
        self.copy.write({})
        again = self._rehearse(self._tests)
        if again.failed or again.status:
            return verdict
        self.baseline.add(again)
        return judge(self.baseline, run, keys, about=new)

    def _note(self, run: Rehearsal, keys: list[str]) -> None:
        for key in keys:
            verdict = judge(self.baseline, run, keys, about=[key])
            self.judged[key].verdict = verdict
            self.judged[key].outcome = "proved" if verdict.is_compared else "uncompared"

    def _compared(self, keys: list[str]) -> list[str]:
        """Return the patches that are kept: of the others no answer could be compared."""
        if self.keeps_uncompared:
            return keys
        return [key for key in keys if self.judged[key].outcome != "uncompared"]

    def _prove_over_all(self) -> None:
        """Run every test with what is accepted: also those in which no finding showed."""
        base, keys = self.baseline, self._accepted
        if not keys or (self._last == keys and self._tests >= base.first.outcomes.keys()):
            return
        self.copy.write(self._written(keys))
        self.tell(f"Running all tests with {counted(len(keys), 'patch', 'patches')} …")
        run = self._rehearse()
        verdict = judge(base, run, keys, about=keys)
        if not verdict.stands:
            # Of tests that show no finding it was not learned what differs by itself.
            self.copy.write({})
            self.tell("Running all tests without the patches once more, to compare …")
            base.add(self._rehearse())
            self._note_changing()
            verdict = judge(base, run, keys, about=keys)
            if verdict.may_still_pass:
                self._tests = set(base.first.outcomes)
                verdict = self._compare_again(run, keys, keys, verdict)
        if verdict.stands:
            self._note(run, keys)
            self._accepted = self._compared(keys)
            if len(self._accepted) < len(keys):
                self._prove_over_all()
            return
        self._tests, self._accepted = set(base.first.outcomes), []
        for key in keys:  # The time limit may come before they are tried again.
            self.judged[key].outcome, self.judged[key].verdict = "not tried", None
        if len(keys) == 1:
            self._withdraw(keys[0], [each.text for each in verdict.problems])
            return
        for part in parts(self.baseline, keys, verdict):
            self._prove(part)

    def _note_changing(self) -> None:
        """Say which tests do not ask, or execute, the same in two runs of the same code."""
        found = list(changing(self.baseline))
        told = [f"Not the same from run to run: {each}." for each in found[:_MOST_CHANGING]]
        if len(found) > _MOST_CHANGING:
            told.append(f"{len(found) - _MOST_CHANGING} more tests are not, either.")
        self.notes += [each for each in told if each not in self.notes]

    @property
    def baseline_is_known(self) -> bool:
        """Whether the tests have run as they are."""
        return self._base is not None

    @property
    def baseline(self) -> Baseline:
        """The runs without patches. Raises :class:`~.unwritable.CannotProve` before the first."""
        if self._base is None:
            raise CannotProve("nothing was run yet")
        return self._base

    def _withdraw(self, key: str, reasons: list[str]) -> None:
        judged = self.judged[key]
        judged.outcome, judged.reasons, judged.verdict = "withdrawn", reasons, None
        self.tell(f"Withdrawn: {reasons[0]}")

    def _written(self, keys: Iterable[str]) -> dict[str, bytes]:
        return self.patched_files.files(self.judged[key].patch for key in keys)


def _red(run: Rehearsal) -> str:
    lines = [f"  {test}: {headline(text)}" for test, text in run.failed.items()]
    told = "\n".join(lines[:10]) or run.output
    return (
        "The tests fail before anything is patched: nothing can be proved by them. Files that git "
        f"ignores are in the copy only if they are small.\n{told}"
    )
