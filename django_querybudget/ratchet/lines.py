"""A line of the ratchet: the most that one view, or one test, was seen to execute."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from django_querybudget.recording.records import QueryLog
from django_querybudget.reports.report import QueryReport
from django_querybudget.sql.shortening import shortened

from .loops import LoopCount, loops_of

if TYPE_CHECKING:
    from django_querybudget.nplusone import Finding

__all__ = ["Key", "Line", "ShapeCount", "SourceLine", "merged", "view_key"]


class Key(NamedTuple):
    """Whose line it is."""

    kind: str
    """``"views"`` or ``"tests"``."""
    name: str
    """``"GET jobs:list 2xx"`` or ``"tests/test_jobs.py::test_list"``."""


@dataclass(frozen=True, order=True)
class SourceLine:
    """A line of the project's code."""

    path: str
    """Its file, relative to the repository's root in a workflow of GitHub, else to the folder."""
    line: int
    """Its number, from 1."""
    text: str
    """As a report names it, with the template or the serializer field."""


@dataclass(frozen=True, order=True)
class ShapeCount:
    """How often one shape ran."""

    sql: str
    """The shape, shortened."""
    count: int
    """The number of queries."""
    place: SourceLine | None = None
    """Where most of them come from; not written to the file."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """The most that was seen: each number by itself, shapes and loops of the worst log."""

    queries: int
    """The highest number of queries."""
    duplicates: int = 0
    """The highest number that repeat an earlier one: same SQL, same parameters."""
    similar: int = 0
    """The highest number that repeat an earlier one's shape."""
    rows: int | None = None
    """The highest number of rows fetched; None where that is not known of all, or not recorded."""
    shapes: tuple[ShapeCount, ...] = ()
    """The shapes, sorted by their SQL."""
    loops: tuple[LoopCount, ...] | None = None
    """The N+1 queries, sorted; None where nobody looked for them. They are told, not judged."""

    NUMBERS = ("queries", "duplicates", "similar")
    """The numbers that each line has; :attr:`rows` it may have."""

    @classmethod
    def of(cls, log: QueryLog, findings: Iterable[Finding] = ()) -> Line:
        """Return the line of one log; ``findings`` are its N+1 queries."""
        shapes: dict[str, ShapeCount] = {}
        for shape in QueryReport(name="", log=log).shapes:
            sql = shortened(shape.fingerprint)
            place = None
            if shape.origins:
                origin = shape.origins[0][0]
                root = os.environ.get("GITHUB_WORKSPACE") or os.curdir
                path = os.path.relpath(origin.filename, root)
                place = SourceLine(path, origin.line, str(origin))
            before = shapes.get(sql)
            shapes[sql] = (
                ShapeCount(sql, shape.count, place)
                if before is None
                else ShapeCount(sql, before.count + shape.count, before.place)
            )
        return cls(
            queries=log.count,
            duplicates=log.duplicate_count,
            similar=log.similar_count,
            rows=None if log.rows_unknown else log.rows,
            shapes=tuple(sorted(shapes.values(), key=lambda shape: shape.sql)),
            loops=None if log.evidence is None else loops_of(findings),
        )

    def exceeds(self, other: Line) -> bool:
        """Whether any of its numbers is above ``other``'s; what one of them lacks is not judged."""
        if self.rows is not None and other.rows is not None and self.rows > other.rows:
            return True
        return any(getattr(self, name) > getattr(other, name) for name in self.NUMBERS)

    def with_rows_of(self, other: Line) -> Line:
        """Return it with ``other``'s rows, if it has none itself."""
        return replace(self, rows=other.rows) if self.rows is None else self

    def without_rows(self) -> Line:
        """Return it without rows."""
        return self if self.rows is None else replace(self, rows=None)

    def without_line_numbers(self) -> Line:
        """Return it as it stays when lines of the project's files come or go above its loops."""
        if not self.loops:
            return self
        return replace(self, loops=tuple(loop.without_line_numbers() for loop in self.loops))

    def highest(self, other: Line) -> Line:
        """Return the most of both; the same whichever of them is asked."""
        ranked = sorted((self, other), key=lambda line: (-line.queries, _written(line)))
        unknown = self.rows is None or other.rows is None
        return Line(
            **{name: max(getattr(self, name), getattr(other, name)) for name in self.NUMBERS},
            rows=None if unknown else max(self.rows or 0, other.rows or 0),
            shapes=ranked[0].shapes,
            loops=ranked[0].loops,
        )

    def as_data(self) -> dict[str, Any]:
        """Return it as plain data, for another process."""
        shapes = [
            [shape.sql, shape.count, [shape.place.path, shape.place.line, shape.place.text]]
            if shape.place
            else [shape.sql, shape.count, None]
            for shape in self.shapes
        ]
        numbers = {name: getattr(self, name) for name in (*self.NUMBERS, "rows")}
        loops = None if self.loops is None else [asdict(each) for each in self.loops]
        return {**numbers, "shapes": shapes, "loops": loops}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Line:
        """Undo :meth:`as_data`."""
        shapes = tuple(
            ShapeCount(sql, count, SourceLine(*place) if place else None)
            for sql, count, place in data["shapes"]
        )
        loops = data["loops"]
        return cls(
            **{name: data[name] for name in (*cls.NUMBERS, "rows")},
            shapes=shapes,
            loops=None if loops is None else tuple(LoopCount(**each) for each in loops),
        )


def view_key(method: str, view_name: str, status_code: int) -> Key:
    """Return the key of a view's line: one for each method and class of status."""
    return Key("views", f"{method} {view_name} {status_code // 100}xx")


def merged(lines: Iterable[tuple[Key, Line]]) -> dict[Key, Line]:
    """Return the highest line for each key, whatever their order."""
    highest: dict[Key, Line] = {}
    for key, line in lines:
        highest[key] = line.highest(highest[key]) if key in highest else line
    return highest


def _written(line: Line) -> tuple[list[tuple[str, int]], tuple[LoopCount, ...]]:
    return [(shape.sql, shape.count) for shape in line.shapes], line.loops or ()
