"""Whether an answer is the same: :func:`difference`. What differs by itself is learned first.

Two runs of the unpatched code give two answers. Where both are equal, a third must be equal to the
byte. Where they differ (an id, a time, a token), that word may differ in the third as well; all
else may not. Numbers whose order both runs share must keep it: ids that begin elsewhere are still
in the order of their rows. Where the words are not in the same places, :mod:`.shared` is asked.
"""

from __future__ import annotations

import re
from itertools import pairwise

__all__ = ["LONG_WORDS", "Uncomparable", "difference", "in_places", "shown"]

_TIME = rb"[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?"
_TIMES = (
    rb"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ]" + _TIME + rb"(?:Z|[+-][0-9]{2}:?[0-9]{2})?"
    rb"|[A-Z][a-z]{2}, [0-9]{2}[ -][A-Z][a-z]{2}[ -][0-9]{4} " + _TIME + rb"|" + _TIME
)
"""Moments are one word each: all of one changes where a minute ends, and not one number of it."""
_TOKENS = (
    rb"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
    rb"|(?=[A-Za-z]*[0-9])(?=[0-9]*[A-Za-z])[0-9A-Za-z]{20,}"
)
"""A session's key and the like is one word: into how many it would fall apart is chance."""
_WORDS = re.compile(_TIMES + rb"|" + _TOKENS + rb"|[0-9]+|[A-Za-z]+|[^0-9A-Za-z]", re.DOTALL)
_NAMES = re.compile(_TIMES + rb"|" + _TOKENS + rb"|[0-9A-Za-z]+|[^0-9A-Za-z]", re.DOTALL)
"""Where one draws ``krista28`` and the next one ``mrodriguez``."""
LONG_WORDS = re.compile(_TIMES + rb"|[0-9A-Za-z_\-+/=:.]{16,}|[0-9A-Za-z]+|[^0-9A-Za-z]", re.DOTALL)
_SHOWN = 60
_MOST_WORDS = 2_000_000


class Uncomparable(Exception):
    """Two runs of the unpatched code differ by more than words in their places."""


def difference(first: bytes, second: bytes, third: bytes) -> str:
    """Return how ``third`` differs beyond what ``first`` and ``second`` do; nothing if it does not.

    Raises :class:`Uncomparable` where the first two have no words in common places.
    """
    if first == second:
        return "" if third == first else _shown(first, third)
    if third in (first, second):
        return ""
    told = ""
    for pattern in (_WORDS, _NAMES, LONG_WORDS):
        if told and pattern is LONG_WORDS:
            break  # It takes too much for one word.
        words = [pattern.findall(each) for each in (first, second)]
        if len(words[0]) != len(words[1]) or len(words[0]) > _MOST_WORDS:
            continue
        now = pattern.findall(third)
        found = _by_word(words[0], words[1], now)
        if found is None:
            continue
        why, place = found
        if not why:
            return ""
        told = f"{why}: {_shown_from(words[0], now, place)}"
        if len(now) == len(words[0]):
            return told
    if told:
        return told
    raise Uncomparable


def in_places(first: bytes, second: bytes) -> bool:
    """Whether two answers differ by no more than words in their places."""
    try:
        difference(first, second, first + second)  # one that is neither: all is looked at
    except Uncomparable:
        return False
    return True


def _by_word(first: list[bytes], second: list[bytes], third: list[bytes]) -> tuple[str, int] | None:
    """Return what differs, and from which word on; None if the first two differ in more than some.

    The text is empty where nothing does.
    """
    places = [place for place, pair in enumerate(zip(first, second, strict=True)) if _differ(pair)]
    # Punctuation that moves: the words are not in their places.
    moved = any(not first[each].isalnum() and len(first[each]) == 1 for each in places)
    if moved or len(places) * 2 > len(first):
        return None
    masked = set(places)
    pairs = enumerate(zip(first, third, strict=False))
    other = next((place for place, (a, b) in pairs if place not in masked and a != b), None)
    if len(third) != len(first):
        end = min(len(first), len(third))
        return "it has more or fewer words", end if other is None else other
    if other is not None:
        return "a word differs that was the same in both runs without the patch", other
    drawn, now = (sorted(each[place] for place in places) for each in (first, third))
    if drawn == sorted(second[place] for place in places) and now != drawn:
        return "words whose order is chance are other words", places[0]
    return _of_numbers(places, first, second, third), places[0]


def _of_numbers(
    places: list[int], first: list[bytes], second: list[bytes], third: list[bytes]
) -> str:
    """Return what differs among the numbers that no two runs have alike."""
    numbers = [each for each in places if first[each].isdigit() and second[each].isdigit()]
    ours = [(int(first[each]), int(second[each])) for each in numbers]
    if _keeps_order(ours):
        if not all(third[each].isdigit() for each in numbers):
            return "a number became a word"
        if not _keeps_order([(int(first[each]), int(third[each])) for each in numbers]):
            return "its numbers are in another order"
    return ""


def _differ(pair: tuple[bytes, bytes]) -> bool:
    return pair[0] != pair[1]


def _keeps_order(pairs: list[tuple[int, int]]) -> bool:
    """Whether equal numbers became equal ones, and larger ones larger ones."""
    ordered = sorted(set(pairs))
    return all(a[0] < b[0] and a[1] < b[1] for a, b in pairwise(ordered))


def _shown_from(first: list[bytes], third: list[bytes], place: int) -> str:
    """Return two answers, in words, near the place where they differ, as text."""
    start = max(place - _SHOWN // 6, 0)
    near = (b"".join(each[start : place + _SHOWN])[: 2 * _SHOWN] for each in (first, third))
    was, now = map(shown, near)
    return f"…{was}… became …{now}…"


def _shown(first: bytes, third: bytes) -> str:
    """Return the first place where two answers differ, as text."""
    place = next(
        (each for each, pair in enumerate(zip(first, third, strict=False)) if pair[0] != pair[1]),
        min(len(first), len(third)),
    )
    start = max(place - _SHOWN // 3, 0)
    was, now = (shown(each[start : start + _SHOWN]) for each in (first, third))
    return f"…{was}… became …{now}…"


def shown(part: bytes) -> str:
    """Return bytes as a line of text, the first of them."""
    return part[: 2 * _SHOWN].decode("utf-8", "replace").replace("\n", "⏎")
