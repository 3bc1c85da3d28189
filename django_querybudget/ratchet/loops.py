"""A loop as ``querybudget.toml`` has it: how many queries, what they do, where, what to write."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django_querybudget.nplusone import Finding
    from django_querybudget.stacks import Origin

__all__ = ["LoopCount", "loops_of"]

MOST_LOOPS = 50
"""So many loops of one line are kept, those of most queries."""
MOST_CHARACTERS = 1_000
"""A text of a loop is cut there: only what a person reads is written."""

_LINE_NUMBER = re.compile(r":\d+(?=[ )]|$)")


@dataclass(frozen=True, order=True, kw_only=True)
class LoopCount:
    """One loop of a line; every text may be empty but ``what``."""

    what: str
    """What its queries do: ``"load Job.client row by row"``."""
    at: str = ""
    """The line that runs them: ``"jobs/views.py:66 in _job_row"``; or the package that does."""
    queries: int
    """How many they are."""
    write: str = ""
    """The line to write."""
    write_at: str = ""
    """Where to write it."""
    read: str = ""
    """What to read at :attr:`at` in its stead, where that changes too."""

    TEXTS = ("what", "at", "write", "write_at", "read")

    @property
    def standing(self) -> tuple[str, str]:
        """What one loop has in common before and after an edit of its file: no line's number."""
        return self.what, _LINE_NUMBER.sub("", self.at)

    def without_line_numbers(self) -> LoopCount:
        """Return it as it stays when lines above it come or go."""
        at, write_at = (_LINE_NUMBER.sub("", text) for text in (self.at, self.write_at))
        return replace(self, at=at, write_at=write_at)

    def as_data(self) -> dict[str, str | int]:
        """Return what it has, in the order in which a person reads it."""
        texts = {name: getattr(self, name) for name in self.TEXTS}
        return {"queries": self.queries, **{name: text for name, text in texts.items() if text}}

    @classmethod
    def of(cls, finding: Finding) -> LoopCount:
        """Return what is written of a finding."""
        from django_querybudget.nplusone.rendering import described  # only where a loop is found

        fix = finding.fix
        texts = {
            "what": described(finding),
            "at": finding.package or _place(finding.origin),
            "write": "" if fix is None else fix.code,
            "write_at": "" if fix is None else _place(fix.place),
            "read": finding.use or "",
        }
        return cls(queries=finding.count, **{name: _cut(text) for name, text in texts.items()})


def loops_of(findings: Iterable[Finding]) -> tuple[LoopCount, ...]:
    """Return the loops of one log, sorted."""
    found = sorted(findings, key=lambda each: -each.count)[:MOST_LOOPS]
    return tuple(sorted(map(LoopCount.of, found)))


def summed(loops: Iterable[LoopCount]) -> dict[tuple[str, str], LoopCount]:
    """Return the loops by what they have in common with those of another run, added up."""
    by_standing: dict[tuple[str, str], LoopCount] = {}
    for each in loops:
        known = by_standing.get(each.standing)
        queries = each.queries + (known.queries if known else 0)
        by_standing[each.standing] = replace(known or each, queries=queries)
    return by_standing


def _place(origin: Origin | None) -> str:
    """Return a place as any machine names it: from the folder in which the tests run."""
    if origin is None:
        return ""
    with suppress(OSError, ValueError):  # The folder is gone, or on another drive.
        origin = replace(origin, filename=os.path.relpath(origin.filename))
    return str(origin)


def _cut(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 2]} …"
