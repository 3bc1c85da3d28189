"""How two versions of ``querybudget.toml`` differ, for a terminal and for a program.

For a pull request: :mod:`.markdown`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any

from django_querybudget.messages.plurals import counted

from .comparison import Change, compare
from .lines import Line
from .loops import LoopCount
from .text import change_lines, loop_lines
from .versions import Version

__all__ = ["Difference", "Entry", "State"]

VERSION = 1
"""Of the JSON: raised when a key goes, or means something else."""
MOST_LINES = 200
"""So many lines are told in a terminal."""

_OTHER_TESTS = (
    "They were recorded from other tests: what is gone may only not have been run, what got better "
    "may have been run with less."
)
_NOTHING = Line(queries=0, loops=())


class State(Enum):
    """What became of a line; the value completes "3 …". In the order in which they are told."""

    WORSE = "worse"
    BETTER = "better"
    OTHER = "of other queries"
    NEW = "new"
    GONE = "gone"


@dataclass(frozen=True)
class Entry:
    """One line that differs."""

    state: State
    change: Change
    """Both sides; of what is new or gone, the other side is empty."""

    @property
    def line(self) -> Line:
        """The line, of the version that has it."""
        return self.change.old if self.state is State.GONE else self.change.new

    @property
    def loops(self) -> list[tuple[LoopCount, int | None, int]]:
        """The loops that came and went, each with its queries before and now."""
        return [
            *((loop, before, loop.queries) for loop, before in self.change.loops_came),
            *((loop, loop.queries, now) for loop, now in self.change.loops_went),
        ]

    def as_data(self) -> dict[str, Any]:
        """Return it for a program."""
        change = self.change
        old, new = (
            None if self.state is state else line
            for state, line in ((State.NEW, change.old), (State.GONE, change.new))
        )
        shapes = [
            *((shape.sql, before, shape.count) for shape, before in change.came_in),
            *((shape.sql, shape.count, now) for shape, now in change.went),
        ]
        return {
            "kind": change.key.kind,
            "name": change.key.name,
            "state": self.state.name.lower(),
            **{
                name: {"old": getattr(old, name, None), "new": getattr(new, name, None)}
                for name in (*Line.NUMBERS, "rows")
            },
            "shapes": [{"sql": sql, "old": was, "new": now} for sql, was, now in shapes],
            "loops": [
                {**{name: getattr(loop, name) for name in LoopCount.TEXTS}, "old": was, "new": now}
                for loop, was, now in self.loops
            ],
        }


@dataclass(frozen=True)
class Difference:
    """Two versions, and what became of each line."""

    old: Version
    new: Version

    @cached_property
    def entries(self) -> list[Entry]:
        """What differs: what got worse first, each in the file's order."""
        # As of one run: whatever tests they were recorded from, what only one has is told.
        old, new = self.old.file.lines, self.new.file.lines
        found = compare(self.old.file, new, self.old.file.run, with_rows=True)
        alone = [
            *((State.NEW, Change(key=key, old=_NOTHING, new=new[key])) for key in found.unrecorded),
            *((State.GONE, Change(key=key, old=old[key], new=_NOTHING)) for key in found.left_over),
        ]
        changes = ((State.WORSE, found.above), (State.BETTER, found.better))
        return [
            *(Entry(state, each) for state, those in changes for each in those),
            *(Entry(State.OTHER, each) for each in found.reshaped),
            *(Entry(state, change) for state, change in alone),
        ]

    @property
    def unchanged(self) -> int:
        """How many lines both have that do not differ."""
        both = self.old.file.lines.keys() & self.new.file.lines.keys()
        return len(both - {entry.change.key for entry in self.entries})

    @property
    def counts(self) -> dict[str, int]:
        """How many lines are of each state, by its name in lower case, and ``unchanged``."""
        states = [entry.state for entry in self.entries]
        told = {each.name.lower(): states.count(each) for each in State}
        return {**told, "unchanged": self.unchanged}

    @property
    def summary(self) -> str:
        """``"1 worse, 2 better, 1 new, 40 unchanged"``."""
        states = [entry.state for entry in self.entries]
        told = [f"{states.count(each)} {each.value}" for each in State if each in states]
        told += [f"{self.unchanged} unchanged"] if self.unchanged else []
        return ", ".join(told) or "no views and tests"

    @property
    def notes(self) -> list[str]:
        """What a reader has to know of the versions themselves."""
        if self.old.missing:
            return ["The old revision has no such file: every line is new."]
        return [] if self.old.file.run == self.new.file.run else [_OTHER_TESTS]

    def as_text(self) -> str:
        """Return it for a terminal."""
        return "\n".join(self._lines())

    def as_json(self) -> str:
        """Return all of it for a program."""
        sides = (("old", self.old), ("new", self.new))
        data = {
            "version": VERSION,
            **{
                side: {"name": each.name, "run": each.file.run, "missing": each.missing}
                for side, each in sides
            },
            "unchanged": self.unchanged,
            "lines": [entry.as_data() for entry in self.entries],
        }
        return json.dumps(data, indent=2, ensure_ascii=False)

    def _lines(self) -> Iterator[str]:
        yield f"{self.old.name} → {self.new.name}: {self.summary}."
        yield from self.notes
        for entry in self.entries[:MOST_LINES]:
            yield ""
            yield from _entry_lines(entry)
        if len(self.entries) > MOST_LINES:
            yield f"\n… and {len(self.entries) - MOST_LINES} more: see --json."


def _entry_lines(entry: Entry) -> Iterator[str]:
    if entry.state not in (State.NEW, State.GONE):
        yield from change_lines(entry.change)
        return
    queries = counted(entry.line.queries, "query", "queries")
    yield f"{entry.change.key.name}: {entry.state.value}, {queries}"
    for loop in entry.change.new.loops or ():
        yield f"  N+1: {loop.queries} queries {loop.what}"
        yield from (f"        {line}" for line in loop_lines(loop))
