"""What a rehearsal with patches is held to: :class:`Baseline`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from .answers import Answer, Compared, compare_answers
from .rehearsals import Rehearsal, RequestRun

__all__ = ["MOST_EARLIER", "Baseline", "Held", "paired"]

MOST_EARLIER = 2
"""How many runs between the first and the last are held to: each pair of them is compared, and a
patch that fails may ask for two more."""


class Held(NamedTuple):
    """A request, as runs of the unpatched code know it."""

    scope: RequestRun
    """What a run with patches is held to."""
    other: RequestRun | None = None
    """One that executed another number of queries, if no two runs in a row execute the same."""


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
        """Add a run: it becomes the last one, and of those between the latest are kept."""
        if self.second is not self.first:
            self.earlier = [*self.earlier, self.second][-MOST_EARLIER:]
        self.second = run

    def _further(self, test: str) -> list[Rehearsal]:
        runs = [*self.earlier, self.second] if self.second is not self.first else []
        return [run for run in runs if test in run.outcomes]

    def answers(self, test: str) -> list[list[Answer]]:
        """Return what a test received in each further run that it was in."""
        return [run.answers.get(test, []) for run in self._further(test)]

    def requests(self, test: str) -> list[Held]:
        """Return the requests of a test in the first run's order, each as it was last."""
        was = self.first.scopes.get(test, [])
        further = [paired(was, run.scopes.get(test, [])) for run in self._further(test)]
        known = [pairs for pairs in further if pairs is not None]
        return [
            self._held([scope, *(p[place][1] for p in known)]) for place, scope in enumerate(was)
        ]

    def _held(self, scopes: list[RequestRun]) -> Held:
        first, last = scopes[0], scopes[-1]
        if all(each.queries == first.queries for each in scopes):
            return Held(first)
        if scopes[-2].queries != last.queries:
            return Held(first, last)
        # What the clock moves has moved on. What nobody reads is told of the first run alone.
        unread = {key: saves for key, saves in first.saves.items() if key in self.first.vain}
        return Held(last._replace(saves={**unread, **last.saves}))

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


def paired(
    was: Sequence[RequestRun], now: Sequence[RequestRun]
) -> list[tuple[RequestRun, RequestRun]] | None:
    """Return the requests of a test in pairs, in the order of each view; None if they differ.

    Threads and coroutines may change the order from run to run.
    """
    if Counter(each.view for each in was) != Counter(each.view for each in now):
        return None
    by_view: dict[str, list[RequestRun]] = {}
    for scope in now:
        by_view.setdefault(scope.view, []).append(scope)
    rest = {view: iter(scopes) for view, scopes in by_view.items()}
    return [(scope, next(rest[scope.view])) for scope in was]
