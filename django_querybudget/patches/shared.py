"""What two texts have in common, in order: :class:`Shared`, which a third text must have as well.

For answers whose words are not in the same places in two runs of the same code: ``59 seconds`` and
``1 minute, 2 seconds``, a list that is a row longer. All around that is compared still.
"""

from __future__ import annotations

import re
from collections import Counter
from difflib import SequenceMatcher
from itertools import takewhile

__all__ = ["Shared", "differing"]

_CHUNKS: re.Pattern[bytes] = re.compile(rb"[^\n>,}]*[\n>,}]|[^\n>,}]+")
"""A line of text, a tag, a value of JSON."""
_LINES = re.compile(rb"[^\n]*\n|[^\n]+")
_MOST_CHUNKS = 5_000
"""To align more takes seconds."""
_LEAST_SHARE = 0.5
_MOST_TIMES = 2


class Shared:
    """The parts of two texts that are the same, and room for anything between them.

    ``words`` are what a differing part is cut into: no number is the same in its first digit alone.
    """

    def __init__(self, first: bytes, second: bytes, words: re.Pattern[bytes]) -> None:
        self._words = words
        self._cut, one, other = _chunks(first, second)
        self._is_reordered = Counter(one) == Counter(other)
        self._chunks = one
        self.parts: list[bytes] = [b""]
        """The first begins the text and the last ends it; either may be empty."""
        if max(len(one), len(other)) <= _MOST_CHUNKS:
            self._align(one, other)
        shared, longest = sum(map(len, self.parts)), max(len(first), len(second))
        self.is_enough = shared >= longest * _LEAST_SHARE or self._is_reordered
        """Whether a text that has these parts can be called the same but for what differs."""
        self._most_between = _MOST_TIMES * (longest - shared)

    def _align(self, one: list[bytes], other: list[bytes]) -> None:
        matcher = SequenceMatcher(None, one, other)
        for tag, start, end, other_start, other_end in matcher.get_opcodes():
            if tag == "equal":
                self.parts[-1] += b"".join(one[start:end])
                continue
            ours = self._words.findall(b"".join(one[start:end]))
            theirs = self._words.findall(b"".join(other[other_start:other_end]))
            before = _common(ours, theirs)
            least = min(len(ours), len(theirs)) - len(before)
            after = _common(ours[::-1], theirs[::-1])[:least][::-1]
            self.parts[-1] += b"".join(before)
            self.parts.append(b"".join(after))

    def lacking(self, third: bytes) -> bytes | None:
        """Return the first of the parts that ``third`` has not in its place; None if it has all.

        An empty one: they are there, and much more is between them than in the two texts.
        """
        if self._is_reordered:
            missing = Counter(self._chunks) - Counter(self._cut.findall(third))
            if missing:
                return bytes(next(iter(missing)))
            return None if len(third) == sum(map(len, self._chunks)) else b""
        first, *between = self.parts
        if not third.startswith(first):
            return first
        place = len(first)
        last = between.pop() if between else b""
        for part in between:
            found = third.find(part, place)
            if found < 0:
                return part
            place = found + len(part)
        if len(third) - len(last) < place or not third.endswith(last):
            return last
        more = len(third) - sum(map(len, self.parts))
        return b"" if more > self._most_between else None


def _chunks(one: bytes, other: bytes) -> tuple[re.Pattern[bytes], list[bytes], list[bytes]]:
    """Return two texts in chunks, and what cut them: large ones in lines alone."""
    for pattern in (_CHUNKS, _LINES):
        ours, theirs = pattern.findall(one), pattern.findall(other)
        if max(len(ours), len(theirs)) <= _MOST_CHUNKS:
            break
    return pattern, ours, theirs


def differing(one: bytes, other: bytes) -> float:
    """Return how much of two texts differs, from 0 to 1."""
    _, ours, theirs = _chunks(one, other)
    if max(len(ours), len(theirs)) > _MOST_CHUNKS:
        return 1.0
    return 1 - SequenceMatcher(None, ours, theirs).ratio()


def _common(one: list[bytes], other: list[bytes]) -> list[bytes]:
    """Return the words that both begin with."""
    pairs = zip(one, other, strict=False)
    return [word for word, _ in takewhile(lambda pair: pair[0] == pair[1], pairs)]
