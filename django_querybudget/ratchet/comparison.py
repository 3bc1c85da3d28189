"""What a run measured, against what the file says. Pure functions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from .lines import Key, Line, ShapeCount
from .lockfile import LockFile, sorted_keys
from .loops import LoopCount, summed

__all__ = ["Change", "Comparison", "compare", "recorded", "tightened"]


@dataclass(frozen=True, kw_only=True)
class Change:
    """A line that the run measured differently."""

    key: Key
    """Which."""
    old: Line
    """The file's."""
    new: Line
    """The run's."""

    @property
    def came_in(self) -> list[tuple[ShapeCount, int]]:
        """The shapes that run more often now, each with how often it ran; the worst first."""
        before = _counts(self.old)
        more = [
            (shape, before.get(shape.sql, 0))
            for shape in self.new.shapes
            if shape.count > before.get(shape.sql, 0)
        ]
        return sorted(more, key=lambda pair: pair[1] - pair[0].count)

    @property
    def went(self) -> list[tuple[ShapeCount, int]]:
        """The shapes that run less often now, as the file has them, each with how often now."""
        now = _counts(self.new)
        return [
            (shape, now.get(shape.sql, 0))
            for shape in self.old.shapes
            if shape.count > now.get(shape.sql, 0)
        ]

    @property
    def loops_came(self) -> list[tuple[LoopCount, int | None]]:
        """The loops of more queries now, each with how many they were; the worst first.

        None for that number where the file does not know: all loops of the run then.
        """
        return [] if self.new.loops is None else _more(self.old.loops, self.new.loops)

    @property
    def loops_went(self) -> list[tuple[LoopCount, int]]:
        """The loops of fewer queries now, as the file has them, each with how many now."""
        if self.old.loops is None or self.new.loops is None:
            return []
        return [(loop, now or 0) for loop, now in _more(self.new.loops, self.old.loops)]

    @property
    def is_reshaped(self) -> bool:
        """Whether other shapes or loops make up its numbers."""
        loops_came = self.loops_came if self.old.loops is not None else ()
        return bool(self.came_in or self.went or loops_came or self.loops_went)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How a run differs from the file."""

    measured: Mapping[Key, Line]
    """All lines of the run."""
    above: list[Change] = field(default_factory=list)
    """What costs more than its line says: the failures."""
    better: list[Change] = field(default_factory=list)
    """What costs less, in nothing more."""
    reshaped: list[Change] = field(default_factory=list)
    """What costs the same by other queries."""
    unrecorded: list[Key] = field(default_factory=list)
    """What the file has no line for."""
    left_over: list[Key] = field(default_factory=list)
    """Lines that nothing was measured for; empty if the run was of other tests."""
    rows_unknown: list[Key] = field(default_factory=list)
    """What has rows in the file, or is to have them, and none in the run: not known there."""
    left_out: Mapping[Key, Collection[str]] = field(default_factory=dict)
    """What failing tests measured: not judged by them, with their names."""


def compare(
    lockfile: LockFile,
    measured: Mapping[Key, Line],
    run: str,
    left_out: Mapping[Key, Collection[str]] | None = None,
    *,
    with_rows: bool = False,
) -> Comparison:
    """Return how ``measured``, of the run that chose its tests by ``run``, differs.

    ``left_out`` is what failing tests measured. They may have measured less than they do when they
    work, so that their lines are neither better nor left over, and may still be above.
    ``with_rows`` is whether rows are to be recorded of every line; where the file has some, they
    are.
    """
    with_rows = with_rows or lockfile.has_rows
    if not with_rows:
        measured = {key: line.without_rows() for key, line in measured.items()}
    comparison = Comparison(measured=measured, left_out=left_out or {})
    for key in sorted_keys(measured):
        old, new = lockfile.lines.get(key), measured[key]
        if with_rows and new.rows is None:
            comparison.rows_unknown.append(key)
        if old is None:
            comparison.unrecorded.append(key)
        elif new.exceeds(old):
            comparison.above.append(Change(key=key, old=old, new=new))
        elif old.exceeds(new):
            if key not in comparison.left_out:
                comparison.better.append(Change(key=key, old=old, new=new))
        elif (change := Change(key=key, old=old, new=new)).is_reshaped:
            comparison.reshaped.append(change)
    if run == lockfile.run:
        comparison.left_over.extend(sorted_keys(lockfile.lines.keys() - measured.keys()))
    return comparison


def recorded(
    lockfile: LockFile, comparison: Comparison, run: str, *, passed: bool = True
) -> LockFile:
    """Return the file with every measured line as measured; those left over pruned.

    A run of other tests than the file's, and one in which tests failed, leaves the lines that it
    did not measure; a line that a failing test measured is not lowered either.
    """
    whole = not lockfile.lines or run == lockfile.run
    lines = dict(comparison.measured)
    # What this database does not tell, another told.
    for key in lines.keys() & lockfile.lines.keys():
        lines[key] = lines[key].with_rows_of(lockfile.lines[key])
    if not (whole and passed):
        kept = lockfile.lines
        for key in comparison.left_out.keys() & lines.keys() & kept.keys():
            lines[key] = lines[key].highest(kept[key])
        lines = {**kept, **lines}
    return LockFile(run=run if whole else lockfile.run, lines=lines)


def tightened(lockfile: LockFile, comparison: Comparison) -> LockFile:
    """Return the file with better lines lowered and those left over pruned; nothing is raised."""
    lines = {key: line for key, line in lockfile.lines.items() if key not in comparison.left_over}
    lines.update((each.key, each.new.with_rows_of(each.old)) for each in comparison.better)
    return LockFile(run=lockfile.run, lines=lines)


def _more(
    few: tuple[LoopCount, ...] | None, many: tuple[LoopCount, ...]
) -> list[tuple[LoopCount, int | None]]:
    """Return the loops of ``many`` that have more queries than in ``few``; the worst first."""
    if few is None:
        return [(loop, None) for loop in sorted(many, key=lambda each: -each.queries)]
    before = {standing: loop.queries for standing, loop in summed(few).items()}
    more: list[tuple[LoopCount, int | None]] = [
        (loop, before.get(standing, 0))
        for standing, loop in summed(many).items()
        if loop.queries > before.get(standing, 0)
    ]
    return sorted(more, key=lambda pair: (pair[1] or 0) - pair[0].queries)


def _counts(line: Line) -> dict[str, int]:
    return {shape.sql: shape.count for shape in line.shapes}
