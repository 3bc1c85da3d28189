"""Exceptions that expire: until which day a raised budget or an accepted N+1 holds.

The day counts to its end, in the project's time zone (``TIME_ZONE``): what holds until 2027-03-01
holds on that day, and no longer on the next. The day is asked for each time, so that a process that
runs over midnight notices.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, tzinfo

from django.utils.timezone import get_default_timezone

__all__ = ["Accepted", "Until", "accepted", "accepted_patterns", "today", "until_in"]

clock: Callable[[tzinfo], datetime] = datetime.now
"""What time it is; tests set it."""

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_IN_TEXT = re.compile(r"\buntil\s*=\s*([^\s,;]+)")
_LINK = re.compile(r"https?://[^\s,;]+")


def today() -> date:
    """Return the day that it is in the project's time zone."""
    return clock(get_default_timezone()).date()


@dataclass(frozen=True)
class Until:
    """The last day of something that is accepted for a while."""

    day: date
    issue: str = ""
    """Where it stands what is to be done until then: a link."""

    @classmethod
    def of(cls, until: object, issue: object = "") -> Until:
        """Return what ``until`` (``"2027-03-01"``, or a ``date``) says.

        Raises ``ValueError`` for text that is no day, ``TypeError`` for anything else.
        """
        if not isinstance(issue, str):
            raise TypeError(f"issue is {issue!r}; it accepts a text, a link for example.")
        if isinstance(until, date) and not isinstance(until, datetime):
            return cls(until, issue)
        if not isinstance(until, str):
            raise TypeError(f'until is {until!r}; it accepts a day, "2027-03-01" or a date.')
        try:
            if _DAY.fullmatch(until):
                return cls(date.fromisoformat(until), issue)
        except ValueError:  # The form is right, and the calendar has no such day.
            pass
        raise ValueError(f'until is {until!r}; it accepts a day of the calendar, "2027-03-01".')

    @property
    def days_past(self) -> int:
        """How many days ago it ended; 0 while it holds."""
        return max(0, (today() - self.day).days)

    def __str__(self) -> str:
        """``"expired on 2027-03-01 (12 days ago): https://…"``."""
        days = self.days_past
        ago = "1 day ago" if days == 1 else f"{days} days ago"
        text = f"expired on {self.day} ({ago})" if days else f"holds until {self.day}"
        return f"{text}: {self.issue}" if self.issue else text


def until_in(text: str) -> Until | None:
    """Return what ``until=2027-03-01`` in a comment's text says, with the first link of the text.

    None if it says no such thing. Raises ``ValueError`` for what is no day.
    """
    found = _IN_TEXT.search(text)
    if found is None:
        return None
    link = _LINK.search(text)
    return Until.of(found[1], link[0] if link else "")


@dataclass(frozen=True)
class Accepted:
    """An entry of ``NPLUSONE_ALLOW``."""

    pattern: str
    """A relation, ``"jobs.Job.client"``, ``"Job.*"``, or a glob of files."""
    until: Until | None = None
    """The day that it ends; None for never."""


def accepted(entry: object) -> Accepted:
    """Return what an entry of an allowlist stands for: a pattern, or a dict with one.

    Raises ``TypeError`` or ``ValueError`` for what is none.
    """
    if isinstance(entry, Accepted):
        return entry
    if isinstance(entry, str):
        return Accepted(entry)
    if not isinstance(entry, Mapping):
        raise TypeError(f"{entry!r} is neither a pattern nor a dict")
    for key in entry:
        if key not in ("pattern", "until", "issue"):
            raise ValueError(f"{key!r} is unknown; the keys are pattern, until and issue")
    pattern = entry.get("pattern")
    if not isinstance(pattern, str) or not pattern:
        raise ValueError(f"pattern is {pattern!r}; it accepts a text")
    if "until" not in entry:
        raise ValueError(f"{pattern!r} has no until; without one, write the pattern alone")
    return Accepted(pattern, Until.of(entry["until"], entry.get("issue", "")))


def accepted_patterns(value: object) -> tuple[Accepted, ...]:
    """Return the entries of an allowlist. Raises ``TypeError`` or ``ValueError``."""
    if not isinstance(value, list | tuple):
        raise TypeError
    return tuple(map(accepted, value))
