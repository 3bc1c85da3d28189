"""Tokens: what stands under a tag, and how writers change it.

A tag's value is ``token|marks``. The *token* is unique (time and random), never a counter: a tag
that was evicted cannot come back with an old value. *Marks* are those of writers in flight,
``writer@deadline``, separated by commas: while there is one, readers neither trust nor store.

The two changes here are pure; :mod:`.stores.scripts` has the same ones for the server.
"""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

__all__ = [
    "LONGEST_MARK",
    "TagValue",
    "all_same",
    "is_known",
    "is_token",
    "new_token",
    "new_writer",
    "readable",
    "same",
    "token_time",
]

LONGEST_MARK = 86_400.0
"""The longest that a mark may hold, in seconds. One whose deadline is further away is nobody's."""

_TOKEN = re.compile(r"[0-9]{1,15}-[0-9a-f]{1,16}")


# Of our own: a host may seed the module's. Cheaper than asking the system each time.
_random = random.Random()  # noqa: S311  # unique is enough
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_random.seed)


def new_token() -> str:
    """Return a token that was never used, carrying the time now."""
    return f"{int(time.time() * 1000)}-{_random.getrandbits(64):016x}"


def new_writer() -> str:
    """Return a name for one writer: a transaction, or a statement outside of one."""
    return f"{_random.getrandbits(64):016x}"


def is_token(text: str) -> bool:
    """Whether ``text`` is a token. What somebody else has put under a tag's key mostly is none."""
    return _TOKEN.fullmatch(text) is not None


def is_known(value: str) -> bool:
    """Whether a tag's value is one of ours; any other is missing, and is replaced."""
    if is_token(value):
        return True
    return "|" in value and TagValue.parse(value).has_marks(int(time.time() * 1000))


def token_time(token: str) -> float:
    """Return when ``token`` was made, in seconds since the epoch; ``inf`` for what is no token."""
    return int(token.partition("-")[0]) / 1000 if is_token(token) else float("inf")


@dataclass(frozen=True, slots=True)
class TagValue:
    """A tag's value: the token, and the marks with their deadlines (milliseconds, epoch)."""

    token: str
    marks: tuple[tuple[str, int], ...] = ()

    @classmethod
    def parse(cls, text: str) -> TagValue:
        """Read ``text``; a mark that cannot be read has a deadline of 0, thus is over."""
        token, _, rest = text.partition("|")
        marks = []
        for mark in filter(None, rest.split(",")):
            writer, _, deadline = mark.partition("@")
            is_number = deadline.isascii() and deadline.isdecimal() and len(deadline) < 16
            marks.append((writer, int(deadline) if is_number else 0))
        return cls(token, tuple(marks))

    def has_marks(self, now: int) -> bool:
        """Whether a mark holds. A value with none that does is somebody else's, or over."""
        return bool(self._without("", now)[0])

    def __str__(self) -> str:
        if not self.marks:
            return self.token
        return f"{self.token}|{','.join(f'{writer}@{deadline}' for writer, deadline in self.marks)}"

    @property
    def deadline(self) -> int:
        """When the last mark is over; 0 without marks."""
        return max((deadline for _, deadline in self.marks), default=0)

    def _without(self, writer: str, now: int) -> tuple[tuple[tuple[str, int], ...], bool]:
        """Return the marks of other writers that still hold, and whether any did not."""
        others = [mark for mark in self.marks if mark[0] != writer]
        longest = now + int(LONGEST_MARK * 1000)
        kept = tuple(mark for mark in others if now < mark[1] <= longest)
        return kept, len(kept) < len(others)

    def marked(self, writer: str, now: int, deadline: int, fresh: str) -> TagValue:
        """``writer`` is about to write. A writer that was lost may have committed: ``fresh``."""
        kept, lost = self._without(writer, now)
        return TagValue(fresh if lost else self.token, (*kept, (writer, deadline)))

    def renewed(self, writer: str, now: int, fresh: str) -> TagValue:
        """``writer`` may have committed: no entry holds ``fresh``, and only its mark goes."""
        kept, _ = self._without(writer, now)
        return TagValue(fresh, kept)


def readable(value: str) -> bool:
    """Whether a tag's value is a token without marks: may be trusted, and stored under."""
    return bool(value) and "|" not in value


def all_same(entry: Mapping[str, str], values: Mapping[str, str]) -> bool:
    """Whether each tag of the entry still has the token that it was stored with, and no mark.

    As :func:`same` says of all of them, in a few steps: this is in the way of every hit.
    """
    tokens = entry.values()
    return entry.items() <= values.items() and all(tokens) and "|" not in "".join(tokens)


def same(entry: Mapping[str, str], values: Mapping[str, str], needed: Iterable[str]) -> bool:
    """Whether each tag still has the token that the entry was stored with, and no mark."""
    for tag in needed:
        token = entry[tag]
        if not token or values.get(tag) != token or "|" in token:
            return False
    return True
