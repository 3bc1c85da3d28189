"""Before and after: two releases of the record, or saved reports."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from .measures import measure
from .reading import Picture
from .record import Record, SeriesKey, series_key
from .summary import VERSION

__all__ = [
    "Comparison",
    "Figures",
    "Verdict",
    "compared",
    "comparison_as_json",
    "deploy_of",
    "figures_of",
    "figures_of_file",
]

_QUERIES, _SECONDS = measure("queries"), measure("database_seconds")


@dataclass(frozen=True, slots=True)
class Figures:
    """What a request of one series costs."""

    queries: float
    """On average."""
    milliseconds: float | None = None
    """In the database, on average; None where no time is known."""
    requests: int | None = None
    """How many were measured; None where that is not known."""


AllFigures = Mapping[SeriesKey, Figures]


class Verdict(NamedTuple):
    """What a person is told of a change."""

    words: str
    is_worse: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """One series, before and after; None where it is not in one."""

    key: SeriesKey
    before: Figures | None
    after: Figures | None

    @property
    def change(self) -> float | None:
        """How many queries a request has more now; None where it is not in both."""
        if self.before is None or self.after is None:
            return None
        return self.after.queries - self.before.queries

    @property
    def weight(self) -> float:
        """What the change comes to: of a request's milliseconds, times the requests of now."""
        before, after = self.before or Figures(0), self.after or Figures(0)
        return ((after.milliseconds or 0) - (before.milliseconds or 0)) * (after.requests or 0)

    @property
    def verdict(self) -> Verdict | None:
        """What is noticeably other now: a fifth of the time, else a tenth of the queries."""
        if self.before is None or self.after is None:
            return None
        old, new = self.before.milliseconds or 0, self.after.milliseconds or 0
        if _is_far(old, new, 0.2):
            return Verdict("costs more" if new > old else "costs less", new > old)
        old, new = self.before.queries, self.after.queries
        if _is_far(old, new, 0.1):
            return Verdict("more queries" if new > old else "fewer queries", new > old)
        return None


def _is_far(old: float, new: float, share: float) -> bool:
    return abs(new - old) >= max(0.5, share * max(old, new))


def compared(before: AllFigures, after: AllFigures) -> list[Comparison]:
    """Return every series of either, those first whose number of queries changed most."""
    found = [Comparison(key, before.get(key), after.get(key)) for key in {**after, **before}]
    return sorted(found, key=lambda each: (-abs(each.change or 0.0), each.key))


def figures_of(record: Record) -> AllFigures:
    """Return the figures of a record's series."""
    return {
        key: Figures(
            _QUERIES.mean(series.numbers),
            _SECONDS.mean(series.numbers) * 1000,
            series.requests,
        )
        for key, series in record.series.items()
        if series.requests
    }


def deploy_of(picture: Picture, current: str) -> tuple[str, str] | None:
    """Return the releases before and after the last deploy; None if there was none in that time.

    After it is ``current``, if anything of it was recorded, else the release that came last.
    """
    ranked = sorted(picture.seen, key=picture.seen.__getitem__)
    after = current if current in picture.seen else (ranked[-1] if ranked else "")
    before = [name for name in ranked if name != after]
    return (before[-1], after) if before else None


def figures_of_file(name: str) -> AllFigures:
    """Return the figures of a file: what ``report --json`` printed.

    Raises ``ValueError`` with what is wrong.
    """
    try:
        text = Path(name).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ValueError(f"{name} cannot be read: {error}") from error
    return _of_report(name, text)


def _of_report(name: str, text: str) -> AllFigures:
    try:
        told = json.loads(text)
        if (version := told.get("version", VERSION)) != VERSION:  # the first ones had none
            raise ValueError(f"its version is {version!r}, this release reads {VERSION}")
        return {
            series_key(row["kind"], row["name"], row["method"]): Figures(
                float(row["queries"]), float(row["milliseconds"]), int(row["requests"])
            )
            for row in told["series"]
        }
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{name} is not what `manage.py querybudget report --json` prints "
            f"({type(error).__name__}: {error})"
        ) from error


def comparison_as_json(rows: list[Comparison]) -> list[dict[str, Any]]:
    """Return rows as JSON has them."""
    return [
        {
            **row.key._asdict(),
            "before": asdict(row.before) if row.before else None,
            "after": asdict(row.after) if row.after else None,
            "change": row.change,
        }
        for row in rows
    ]
