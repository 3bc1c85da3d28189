"""What a rehearsal with patches is held to: :class:`Baseline`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .answers import Answer, Compared, compare_answers
from .rehearsals import Rehearsal

__all__ = ["Baseline"]


@dataclass
class Baseline:
    """The runs of the unpatched code."""

    first: Rehearsal
    """Of all tests."""
    second: Rehearsal
    """The last one, of all tests or of some: what differs from run to run is learned from it."""
    earlier: list[Rehearsal] = field(default_factory=list)
    """Those between, which teach what may differ in an answer, too."""
    _compared: dict[tuple[str, ...], Compared] = field(default_factory=dict)
    """What came of answers, by their digests: each patch is judged by the same ones."""

    def add(self, run: Rehearsal) -> None:
        """Add a run: it becomes the last one."""
        if self.second is not self.first:
            self.earlier.append(self.second)
        self.second = run

    def answers(self, test: str) -> list[list[Answer]]:
        """Return what a test received in each further run that it was in."""
        runs = [*self.earlier, self.second] if self.second is not self.first else []
        return [run.answers.get(test, []) for run in runs if test in run.outcomes]

    def compare(
        self, run: Rehearsal, old: Answer, others: Sequence[Answer], new: Answer
    ) -> Compared:
        """Compare an answer of ``run`` with that of the first run and those of further ones."""
        digests = (old.digest, *(each.digest for each in others))
        if new.digest in digests:
            return Compared()
        key = (*digests, new.digest)
        if key not in self._compared:
            known = [body for body in map(self.first.body, digests) if body is not None]
            third = run.body(new.digest)
            if third is not None and len(known) == len(digests):
                self._compared[key] = compare_answers(known[0], known[1:], third)
            elif len(set(digests)) == 1:
                told = "its digest is another one, and it was too large to be kept"
                self._compared[key] = Compared(told)
            else:
                self._compared[key] = Compared(extent="none")
        return self._compared[key]
