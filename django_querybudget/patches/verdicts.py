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

from django_querybudget.messages.plurals import counted

from .answers import Answer, Extent, aligned
from .baseline import Baseline, paired
from .comparing import Uncomparable, difference
from .rehearsals import Rehearsal, RequestRun, headline

__all__ = ["Problem", "Verdict", "ViewChange", "changing", "judge", "parts"]


class Problem(NamedTuple):
    """Why patches do not stand."""

    text: str
    test: str | None = None
    """The test that showed it, if one did."""
    may_pass: bool = False
    """Whether it may be the clock's work: a further run of the unpatched code tells."""
    is_moving: bool = False
    """Whether it surely is, in runs without a patch: two further ones may tell."""


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
    extents: Counter[Extent] = field(default_factory=Counter)
    """How many answers were compared whole, in part and not at all, of the tests that show what
    the patches save."""
    touched: Counter[Extent] = field(default_factory=Counter)
    """Those of them that come from the views in which the patches save queries."""
    tests: int = 0

    @property
    def stands(self) -> bool:
        """Whether the patches are proved."""
        return not self.problems

    @property
    def may_pass(self) -> bool:
        """Whether a further run of the unpatched code may show that there is no problem."""
        return bool(self.problems) and all(each.may_pass for each in self.problems)

    @property
    def may_still_pass(self) -> bool:
        """The same, where the last run was one for that."""
        return self.may_pass and any(each.is_moving for each in self.problems)

    @property
    def is_compared(self) -> bool:
        """Whether an answer of what was changed was compared: else only tests and counts speak."""
        return bool(self.touched["whole"] or self.touched["part"])

    @property
    def proof(self) -> str:
        """``"GET jobs:list 83 → 3 queries, 14 responses identical, 9 tests pass"``."""
        parts = [
            f"{each.view} {each.before} → {counted(each.after, 'query', 'queries')}"
            for each in self.views
        ]
        same, in_part, unlike = (self.extents[each] for each in ("whole", "part", "none"))
        if not self.is_compared:
            parts.append("no response of it could be compared")
        if same:
            word = "response" if self.is_compared else "other response"
            parts.append(counted(same, f"{word} identical", f"{word}s identical"))
        if in_part:
            parts.append(f"{in_part} identical in what two runs without a patch share")
        if unlike:
            parts.append(f"{unlike} that no two runs answer alike")
        parts.append(counted(self.tests, "test passes", "tests pass"))
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
    verdict.problems += _of_answers(base, run, verdict, about)
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
    base: Baseline, run: Rehearsal, verdict: Verdict, about: Collection[str]
) -> Iterator[Problem]:
    touched = base.first.touched(about)
    for test in run.outcomes:
        was, now = base.first.answers.get(test, []), run.answers.get(test, [])
        again = [(found, aligned(was, found)) for found in base.answers(test)]
        places = aligned(was, now)
        counted = verdict.extents if test in touched else Counter[Extent]()
        if places is None:
            if all(each is not None for _, each in again):
                yield _asks_otherwise(test, was, now)
            counted["none"] += len(was)
            continue
        for place, old in enumerate(was):
            new = now[places[place]]
            others = [found[each[place]] for found, each in again if each is not None]
            if again and not others and new.digest != old.digest:
                counted["none"] += 1
                continue
            if not _asks_the_same(old, others, new):
                yield _asks_otherwise(test, was, now)
                break
            compared = base.compare(run, old, others, new)
            counted[compared.extent] += 1
            verdict.touched[compared.extent] += old.view in touched.get(test, ())
            if compared.text:
                told = f"{test}: the answer to {old.request} differs: {compared.text}"
                yield Problem(told, test, may_pass=True, is_moving=compared.is_moving)


def _asks_otherwise(test: str, was: list[Answer], now: list[Answer]) -> Problem:
    return Problem(f"{test} asks for other things: {_first_other(was, now)}", test)


def _asks_the_same(old: Answer, others: list[Answer], new: Answer) -> bool:
    """Whether a path is the same, or is another one in a way in which it is without a patch."""
    for other in (old, *others):
        try:
            if not difference(old.request.encode(), other.request.encode(), new.request.encode()):
                return True
        except Uncomparable:
            return True
    return False


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


def _of_counts(base: Baseline, run: Rehearsal, keys: Collection[str]) -> Iterator[Problem]:
    """Yield the views that execute more, and what was promised and is not saved."""
    more: Counter[str] = Counter()
    seen: set[str] = set()
    unsteady: dict[str, str] = {}
    for test in run.outcomes:
        was = base.first.scopes.get(test, [])
        pairs = paired(was, run.scopes.get(test, []))
        if pairs is None:
            if paired(was, base.second.scopes.get(test, was)) is not None:
                yield Problem(f"{test} asks for other views", test)
            continue
        for (old, other), (_, new) in zip(base.requests(test), pairs, strict=True):
            promised = {key: saves for key, saves in old.saves.items() if key in keys}
            if other is not None:
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
                f"{view} executes {counted(count, 'more query', 'more queries')} over all tests"
            )
    for key in set(keys) - seen:
        told = f": {unsteady[key]}" if key in unsteady else ""
        text = f"no request in which it is to save queries could be measured again{told}"
        yield Problem(text, may_pass=key in unsteady, is_moving=key in unsteady)


def _counted_twice(test: str, one: RequestRun, other: RequestRun) -> str:
    return (
        f"without a patch, {one.view} executes {counted(one.queries, 'query', 'queries')} in "
        f"{test}, and {other.queries} in the next run"
    )


def parts(base: Baseline, keys: list[str], verdict: Verdict) -> list[list[str]]:
    """Return the patches that failed together, parted so that few runs tell which did.

    First those that no failing test shows; then the others, each by itself if each has a
    failing test of its own, else in halves.
    """
    tests = {each.test for each in verdict.problems if each.test is not None}
    scopes = base.first.scopes
    shown = [
        {key for scope in scopes.get(test, ()) for key in scope.saves} & {*keys} for test in tests
    ]
    blamed = [key for key in keys if any(key in each for each in shown)]
    if blamed and len(blamed) < len(keys):
        return [[key for key in keys if key not in blamed], blamed]
    if all({key} in shown for key in keys):
        return [[key] for key in keys]
    half = len(keys) // 2
    return [keys[:half], keys[half:]]


def changing(base: Baseline) -> Iterator[str]:
    """Yield what is not the same in two runs of the unpatched code, a line for each test."""
    for test in sorted(each for each in base.second.outcomes if each in base.first.outcomes):
        was, now = base.first.answers.get(test, []), base.second.answers.get(test, [])
        if aligned(was, now) is None:
            yield f"without a patch, {test} asks for other things: {_first_other(was, now)}"
            continue
        pairs = paired(base.first.scopes.get(test, []), base.second.scopes.get(test, []))
        differing = [pair for pair in pairs or () if pair[0].queries != pair[1].queries]
        if differing:
            yield _counted_twice(test, *differing[0])


def _views(base: Baseline, run: Rehearsal, keys: Collection[str]) -> Iterator[ViewChange]:
    most: dict[str, ViewChange] = {}
    for test in base.first.showing(keys):
        pairs = paired(base.first.scopes.get(test, []), run.scopes.get(test, []))
        for (old, _), (_, new) in zip(base.requests(test), pairs or (), strict=False):
            if not set(old.saves) & set(keys):
                continue
            known = most.get(old.view)
            if known is None or old.queries > known.before:
                most[old.view] = ViewChange(old.view, old.queries, new.queries)
    yield from sorted(most.values(), key=lambda each: each.after - each.before)
