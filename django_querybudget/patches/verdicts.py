"""What a rehearsal with patches is judged by: :func:`judge`.

A patch stands if every test passes that passed before, every answer is the same, no view executes
more than before, and each request that the patch was found in executes as many queries fewer as was
promised.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import NamedTuple

from django_querybudget.reports.report import number

from .comparing import Uncomparable, difference
from .rehearsals import Answer, Rehearsal, Scope, headline

__all__ = ["Baseline", "Problem", "Verdict", "ViewChange", "changing", "judge"]


@dataclass
class Baseline:
    """Two runs of the unpatched code."""

    first: Rehearsal
    """Of all tests."""
    second: Rehearsal
    """Of all tests, or of some: what differs from run to run is learned from it."""


class Problem(NamedTuple):
    """Why patches do not stand."""

    text: str
    test: str | None = None
    """The test that showed it, if one did."""
    is_answer: bool = False
    """Whether it is an answer that is another one: by the clock, it may be, since the first run."""


@dataclass
class ViewChange:
    """The most queries of one request to a view."""

    view: str
    before: int
    after: int


@dataclass
class Verdict:
    """What came of a rehearsal with patches."""

    problems: list[Problem] = field(default_factory=list)
    """Why the patches do not stand; none if they do."""
    views: list[ViewChange] = field(default_factory=list)
    """The views in which the patches save queries."""
    answers: int = 0
    """How many answers were compared, of the tests that show what the patches save."""
    uncompared: int = 0
    """How many of them differ from run to run by too much to be compared."""
    tests: int = 0

    @property
    def stands(self) -> bool:
        """Whether the patches are proved."""
        return not self.problems

    @property
    def proof(self) -> str:
        """``"GET jobs:list 83 → 3 queries, 14 responses identical, 9 tests pass"``."""
        parts = [
            f"{each.view} {each.before} → {number(each.after, 'query', 'queries')}"
            for each in self.views
        ]
        parts.append(
            number(self.answers - self.uncompared, "response identical", "responses identical")
        )
        if self.uncompared:
            parts.append(f"{self.uncompared} that no two runs answer alike")
        parts.append(number(self.tests, "test passes", "tests pass"))
        return ", ".join(parts)


def judge(
    base: Baseline, run: Rehearsal, keys: Collection[str], *, about: Collection[str]
) -> Verdict:
    """Judge ``run``, which has the patches ``keys`` written into it.

    ``about`` are those of them that the figures of the verdict tell of.
    """
    verdict = Verdict()
    ran = set(run.outcomes)
    verdict.problems += _of_tests(base, run)
    if not ran and not verdict.problems:
        verdict.problems.append(Problem(f"no test ran: {run.output[-300:]}"))
    verdict.problems += _of_answers(base, run, verdict, base.first.showing(about))
    verdict.problems += _of_counts(base, run, keys)
    verdict.views = list(_views(base, run, about))
    verdict.tests = len(base.first.showing(about) & ran)
    return verdict


def _of_tests(base: Baseline, run: Rehearsal) -> Iterator[Problem]:
    for test, text in run.failed.items():
        yield Problem(f"{test} fails: {headline(text)}", test)
    for test, (outcome, _) in run.outcomes.items():
        was = base.first.outcomes.get(test, ("", ""))[0]
        if outcome == "skipped" and was == "passed":
            yield Problem(f"{test} is skipped, which passed before", test)
    if run.status and not run.failed:
        last = run.output.strip().splitlines()[-1:] or [""]
        yield Problem(f"the tests end with status {run.status}: {last[0][:300]}")


def _of_answers(
    base: Baseline, run: Rehearsal, verdict: Verdict, showing: set[str]
) -> Iterator[Problem]:
    for test in run.outcomes:
        was, now = base.first.answers.get(test, []), run.answers.get(test, [])
        if _requests(was) != _requests(now):
            again = base.second.answers.get(test)
            if again is None or _requests(again) == _requests(was):
                yield Problem(f"{test} asks for other things: {_first_other(was, now)}", test)
            continue
        again = base.second.answers.get(test, was)
        for place, (old, new) in enumerate(zip(was, now, strict=True)):
            other = again[place] if place < len(again) else old
            counts = test in showing
            verdict.answers += counts
            try:
                text = _difference(base, run, old, other, new)
            except Uncomparable:
                verdict.uncompared += counts
                continue
            if text:
                told = f"{test}: the answer to {old.request} differs: {text}"
                yield Problem(told, test, is_answer=True)


def _first_other(was: list[Answer], now: list[Answer]) -> str:
    """Return the first request that is another one, and the one in its place."""
    for place, (old, new) in enumerate(
        zip_longest(_requests(was), _requests(now), fillvalue="none"), 1
    ):
        if old != new:
            return f"its request {place} was {old}, and is {new}"
    return "nothing"


def _requests(answers: list[Answer]) -> list[str]:
    return [each.request for each in answers]


def _difference(base: Baseline, run: Rehearsal, old: Answer, other: Answer, new: Answer) -> str:
    if new.digest in (old.digest, other.digest):
        return ""
    bodies = (
        base.first.body(old.digest),
        base.second.body(other.digest),
        run.body(new.digest),
    )
    first, second, third = bodies
    if first is None or second is None or third is None:
        if old.digest == other.digest:
            return "its digest is another one, and it was too large to be kept"
        raise Uncomparable
    # The status is no word that may differ, whatever else does.
    statuses = {each.split(b"\n", 1)[0] for each in (first, third)}
    if len(statuses) > 1 and old.digest != other.digest:
        return "its status is another one"
    return difference(first, second, third)


def _of_counts(base: Baseline, run: Rehearsal, keys: Collection[str]) -> Iterator[Problem]:
    """Yield the views that execute more, and what was promised and is not saved."""
    more: Counter[str] = Counter()
    seen: set[str] = set()
    unsteady: dict[str, str] = {}
    for test in run.outcomes:
        was = base.first.scopes.get(test, [])
        pairs = _paired(was, run.scopes.get(test, []))
        if pairs is None:
            if _paired(was, base.second.scopes.get(test, was)) is not None:
                yield Problem(f"{test} asks for other views", test)
            continue
        again = _paired(was, base.second.scopes.get(test, was))
        for place, (old, new) in enumerate(pairs):
            promised = {key: saves for key, saves in old.saves.items() if key in keys}
            if again is not None and (other := again[place][1]).queries != old.queries:
                # Nothing is known of it: by itself it executes now more, now fewer.
                unsteady |= dict.fromkeys(promised, _counted_twice(test, old, other))
                continue
            seen |= promised.keys()
            for key in promised:
                for what in base.first.vain.get(key, ()):
                    if new.times(what) >= old.times(what) > 0:
                        yield Problem(f"{old.view} still loads {what} in {test}", test)
            more[old.view] += new.queries - old.queries
            if promised and old.queries - new.queries < sum(promised.values()):
                yield Problem(
                    f"{old.view} executes {new.queries} queries in {test}, not {old.queries}: "
                    f"{sum(promised.values())} were to be saved",
                    test,
                )
    for view, count in more.items():
        if count > 0:
            yield Problem(
                f"{view} executes {number(count, 'more query', 'more queries')} over all tests"
            )
    for key in set(keys) - seen:
        told = f": {unsteady[key]}" if key in unsteady else ""
        yield Problem(f"no request in which it is to save queries could be measured again{told}")


def _counted_twice(test: str, one: Scope, other: Scope) -> str:
    return (
        f"without a patch, {one.view} executes {number(one.queries, 'query', 'queries')} in "
        f"{test}, and {other.queries} in the next run"
    )


def changing(base: Baseline) -> Iterator[str]:
    """Yield what is not the same in two runs of the unpatched code, a line for each test."""
    for test in sorted(each for each in base.second.outcomes if each in base.first.outcomes):
        was, now = base.first.answers.get(test, []), base.second.answers.get(test, [])
        if _requests(was) != _requests(now):
            yield f"without a patch, {test} asks for other things: {_first_other(was, now)}"
            continue
        pairs = _paired(base.first.scopes.get(test, []), base.second.scopes.get(test, []))
        differing = [pair for pair in pairs or () if pair[0].queries != pair[1].queries]
        if differing:
            yield _counted_twice(test, *differing[0])


def _paired(was: list[Scope], now: list[Scope]) -> list[tuple[Scope, Scope]] | None:
    """Return the requests of a test in pairs, in the order of each view; None if they differ.

    Threads and coroutines may change the order from run to run.
    """
    if Counter(each.view for each in was) != Counter(each.view for each in now):
        return None
    by_view: dict[str, list[Scope]] = {}
    for scope in now:
        by_view.setdefault(scope.view, []).append(scope)
    return [(scope, by_view[scope.view].pop(0)) for scope in was]


def _views(base: Baseline, run: Rehearsal, keys: Collection[str]) -> Iterator[ViewChange]:
    most: dict[str, ViewChange] = {}
    for test in base.first.showing(keys):
        pairs = _paired(base.first.scopes.get(test, []), run.scopes.get(test, []))
        for old, new in pairs or ():
            if not set(old.saves) & set(keys):
                continue
            known = most.get(old.view)
            if known is None or old.queries > known.before:
                most[old.view] = ViewChange(old.view, old.queries, new.queries)
    yield from sorted(most.values(), key=lambda each: each.after - each.before)
