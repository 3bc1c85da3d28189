"""Growth: how the number of queries of each shape follows the size of the data. Pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from django_querybudget.recording.records import QueryLog

__all__ = ["QueryGrowth", "ShapeGrowth"]

# A slope that is smaller comes of rounding, not of a query.
_NOISE = 1e-9


@dataclass(frozen=True, kw_only=True)
class ShapeGrowth:
    """The line that fits one shape's counts best (least squares)."""

    fingerprint: str | None
    """The shape; None for all of them together."""
    counts: tuple[int, ...]
    """How many queries there were at each size."""
    intercept: float
    """Queries that do not depend on the data."""
    slope: float
    """Queries for each row more."""


@dataclass(frozen=True)
class QueryGrowth:
    """The logs of the same code at several sizes of the data, and the lines that fit them."""

    logs: Mapping[int, QueryLog]
    """The log at each size."""

    def __post_init__(self) -> None:
        if len(self.logs) < 2:
            raise ValueError("Growth needs the queries at two different sizes at least.")

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes, as they were measured."""
        return tuple(self.logs)

    @cached_property
    def total(self) -> ShapeGrowth:
        """All shapes together."""
        return self._fitted(None, tuple(log.count for log in self.logs.values()))

    @cached_property
    def shapes(self) -> tuple[ShapeGrowth, ...]:
        """Every shape, the steepest first."""
        counted = [
            Counter(query.fingerprint for query in log.queries) for log in self.logs.values()
        ]
        shapes = {shape: None for counts in counted for shape in counts}
        fitted = [
            self._fitted(shape, tuple(counts[shape] for counts in counted)) for shape in shapes
        ]
        return tuple(sorted(fitted, key=lambda shape: -shape.slope))

    def above(self, slope: float) -> tuple[ShapeGrowth, ...]:
        """Return the shapes that grow by more than ``slope`` queries per row.

        SQL that is another text at each size has no shape that grows: :attr:`total` is returned
        then, if it does.
        """
        steep = tuple(shape for shape in self.shapes if shape.slope > slope + _NOISE)
        if not steep and self.total.slope > slope + _NOISE:
            return (self.total,)
        return steep

    def _fitted(self, shape: str | None, counts: tuple[int, ...]) -> ShapeGrowth:
        size, count = fmean(self.sizes), fmean(counts)
        spread = sum((each - size) ** 2 for each in self.sizes)
        together = sum(
            (each - size) * (number - count)
            for each, number in zip(self.sizes, counts, strict=True)
        )
        slope = together / spread
        return ShapeGrowth(
            fingerprint=shape, counts=counts, intercept=count - slope * size, slope=slope
        )
