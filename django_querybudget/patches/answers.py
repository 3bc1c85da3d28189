"""Whether what a test client received is the same: :func:`compare_answers`.

Beside the first run of the unpatched code stand further ones: what differs between any two of them
may differ with a patch, too. What two teach is believed only if all that are like them keep to it.
Data that a suite makes by the clock moves: runs that are near in time are alike, others are not.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Literal, NamedTuple

from .comparing import LONG_WORDS, Uncomparable, difference, in_places, shown
from .shared import Shared, differing

__all__ = ["Answer", "Compared", "Extent", "aligned", "compare_answers"]

Extent = Literal["whole", "part", "none"]

_MUCH = 0.1


class Answer(NamedTuple):
    """What a test client received."""

    request: str
    digest: str
    view: str = ""
    """As a scope names it: the same for paths that are other ones in each run."""

    @property
    def key(self) -> str:
        """What is asked for, whatever its path is in this run."""
        return self.view or self.request


class Compared(NamedTuple):
    """What came of one answer."""

    text: str = ""
    """How it differs from what it was without a patch; empty if it does not."""
    extent: Extent = "whole"
    """``"part"``: what two runs have in common was compared; ``"none"``: nothing could be."""
    is_moving: bool = False
    """Whether it differs by more than words from run to run without a patch: a further run may be
    more like this one."""


def aligned(one: Sequence[Answer], other: Sequence[Answer]) -> list[int] | None:
    """Return the place in ``other`` of each answer of ``one``; None if they asked other things.

    Threads and coroutines change the order of requests, ids change their paths.
    """
    keys: tuple[Callable[[Answer], str], ...] = (lambda a: a.request, lambda a: a.key)
    for key in keys:
        ours, theirs = [key(each) for each in one], [key(each) for each in other]
        if ours == theirs:
            return list(range(len(ours)))
        if key is keys[0] and Counter(ours) == Counter(theirs):
            places: dict[str, list[int]] = {}
            for place, request in enumerate(theirs):
                places.setdefault(request, []).append(place)
            rest = {request: iter(found) for request, found in places.items()}
            return [next(rest[request]) for request in ours]
    return None


def compare_answers(first: bytes, others: Sequence[bytes], third: bytes) -> Compared:
    """Return how ``third`` differs beyond what ``others`` do, which are of the unpatched code."""
    known = [*dict.fromkeys((first, *others))]
    if third.split(b"\n", 1)[0] not in {each.split(b"\n", 1)[0] for each in known}:
        return Compared("its status is another one")
    pairs = [*combinations(known, 2)] or [(first, first)]
    # Most are answers in which words differ by themselves: that takes one look.
    if third in known or any(_is_same(*pair, third) for pair in pairs):
        return Compared()
    moving = [pair for pair in pairs if not in_places(*pair)]
    # Those that are like it tell more narrowly what may differ than all together.
    alike = [each for each in known if in_places(each, third)]
    near = [*combinations(alike, 2)] if moving else []
    found = {pair: _beside(*pair, third) for pair in near or pairs}
    for each in found.values():
        if each.extent == "part" and not each.text:
            return each
    if moving and _may_be_chance(known, moving, third):
        return Compared(extent="none")
    for pair, each in reversed(found.items()):
        held = known if pair in moving else [one for one in known if in_places(one, pair[0])]
        if each.text and all(_is_accepted(*pair, one) for one in held):
            return each._replace(is_moving=bool(moving))
    return Compared(extent="none")


def _is_same(first: bytes, second: bytes, third: bytes) -> bool:
    """Whether no more than the words differ that do in two runs of the unpatched code."""
    try:
        return not difference(first, second, third)
    except Uncomparable:
        return False


def _may_be_chance(
    known: Sequence[bytes], moving: Sequence[tuple[bytes, bytes]], third: bytes
) -> bool:
    """Whether runs without a patch differ by much, and ``third`` from each of them as well.

    Where the clock makes a row more, all that is drawn behind it is another thing, too.
    """
    apart = [differing(*pair) for pair in moving]
    nearest = min(differing(each, third) for each in known)
    return max(apart) >= _MUCH and nearest >= min(apart) / 2


def _is_accepted(first: bytes, other: bytes, known: bytes) -> bool:
    compared = _beside(first, other, known)
    return not compared.text and compared.extent != "none"


def _beside(first: bytes, second: bytes, third: bytes) -> Compared:
    """Compare by what two runs of the unpatched code teach."""
    try:
        return Compared(difference(first, second, third))
    except Uncomparable:
        pass
    heads, bodies = zip(*(_parted(each) for each in (first, second, third)), strict=True)
    if text := _of_heads(*heads):
        return Compared(text, "part")
    shared = Shared(bodies[0], bodies[1], LONG_WORDS)
    if not shared.is_enough:
        return Compared(extent="none")
    lacking = shared.lacking(bodies[2])
    if lacking is None:
        return Compared(extent="part")
    told = f": …{shown(lacking)}…" if lacking else ""
    what = "a part is not there" if lacking else "much more is in it than"
    return Compared(f"{what} that was in both runs without the patch{told}", "part")


def _parted(answer: bytes) -> tuple[bytes, bytes]:
    head, _, body = answer.partition(b"\n\n")
    return head, body


def _of_heads(first: bytes, second: bytes, third: bytes) -> str:
    """Return which header differs, of those that are the same in two runs."""
    ours, theirs, now = (each.split(b"\n") for each in (first, second, third))
    for line in ours:
        if line in theirs and line not in now:
            return f"a header is not there that was in both runs without the patch: {shown(line)}"
    known = {_name(line) for line in (*ours, *theirs)}
    for line in now:
        if _name(line) not in known:
            return f"a header is new: {shown(line)}"
    return ""


def _name(line: bytes) -> bytes:
    return re.split(rb"[:=]", line, maxsplit=1)[0]
