"""What a run showed: plain data, written by its processes and merged by the parent."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django_querybudget.ratchet.spool import read_lines

__all__ = [
    "FEW_ROWS",
    "Grown",
    "Loops",
    "Trial",
    "ViewCount",
    "read_few",
    "read_trial",
    "write_few",
]

_FEW = "few.json"
FEW_ROWS = 3
"""Lists of fewer rows show no loop, by the default of ``NPLUSONE_THRESHOLD``."""


@dataclass(kw_only=True)
class ViewCount:
    """The most that one request to a view executed."""

    name: str
    """``"GET jobs:list"``."""
    queries: int = 0
    duplicates: int = 0
    milliseconds: float = 0.0
    """In the database, of the request with the most queries."""
    lists: dict[str, int] = field(default_factory=dict)
    """The most rows that a list of a model is known to have had, by its label; for ``GET`` alone.
    """
    unknown: list[str] = field(default_factory=list)
    """The models of which it had lists of a number of rows that is not known."""

    def add(self, other: ViewCount) -> bool:
        """Take the most of both; whether that changed anything."""
        before = (self.queries, self.duplicates, dict(self.lists), len(self.unknown))
        if other.queries > self.queries:
            self.milliseconds = other.milliseconds
        self.queries = max(self.queries, other.queries)
        self.duplicates = max(self.duplicates, other.duplicates)
        for model, rows in other.lists.items():
            self.add_list(model, rows)
        for model in other.unknown:
            self.add_list(model, None)
        return before != (self.queries, self.duplicates, self.lists, len(self.unknown))

    def add_list(self, model: str, rows: int | None) -> None:
        """Take note of a list of so many rows; of None, if that is not known."""
        self.lists[model] = max(rows or 0, self.lists.get(model, 0))
        if rows is None and model not in self.unknown:
            self.unknown.append(model)

    def few(self, threshold: int) -> list[str]:
        """Return the models of which it may have listed too few rows for a loop to show."""
        return sorted(model for model, rows in self.lists.items() if rows < threshold)

    def rows_text(self, model: str) -> str:
        """Return ``"2 of jobs.Job"``."""
        number = "an unknown number" if model in self.unknown else self.lists[model]
        return f"{number} of {model}"


@dataclass(kw_only=True)
class Loops:
    """The loops that one line removes; or one loop that no line is known for."""

    saves: int
    """How many queries the line saves in one request."""
    queries: int
    """How many they are in one request."""
    text: list[str]
    """As a report tells it."""
    line: dict[str, Any] | None
    """The line to write, and where."""
    loops: list[dict[str, Any]]
    """Each with its place."""
    views: list[str] = field(default_factory=list)
    rows: int | None = None
    """How many copies of each row ``--rows`` had to make for it to show; None if none were."""

    @property
    def places(self) -> frozenset[tuple[str, str]]:
        """Where the loops are, and what they load."""
        return frozenset((each["place"], each["relation"]) for each in self.loops)

    @property
    def standing(self) -> tuple[str, ...]:
        """What two have in common that are one: the place of the line, or of the loop."""
        if self.line is None:
            return tuple(sorted(place for place, _ in self.places))
        return (self.line["place"] or self.line["code"],)


@dataclass(kw_only=True)
class Grown:
    """What ``--rows`` found of one view."""

    name: str
    queries: int | None = None
    """With the copies; None where it could not be measured."""
    before: int | None = None
    """Of the same request without them; None where that is not known."""
    copied: list[str] = field(default_factory=list)
    """The models whose rows were copied."""
    not_listed: list[str] = field(default_factory=list)
    """Those of them of which no list became longer."""
    problems: dict[str, str] = field(default_factory=dict)
    """Why there are no copies, by model; ``""`` for the view itself."""


@dataclass
class Trial:
    """A whole run."""

    views: dict[str, ViewCount] = field(default_factory=dict)
    loops: list[Loops] = field(default_factory=list)
    """Those that save most first."""
    packages: dict[str, int] = field(default_factory=dict)
    """The most queries of loops that only installed packages run, by the package."""
    indexes: list[dict[str, str]] = field(default_factory=list)
    """Of the models: ``kind``, ``model``, ``text``."""
    missing: list[dict[str, str]] | None = None
    """What the planner missed: ``model``, ``text``; None if it was not asked."""
    problems: list[str] = field(default_factory=list)
    """What could not be looked at, and why."""
    started: bool = False
    """Whether any process of the run set Django up."""
    added: bool = True
    """Whether the project does not have the app itself."""
    threshold: int = FEW_ROWS
    grown: dict[str, Grown] = field(default_factory=dict)
    cut: bool = False
    """Whether a process saw more than it may write."""

    def few(self) -> dict[str, list[str]]:
        """Return the models of which each view may have listed too few rows, by the view."""
        found = {name: view.few(self.threshold) for name, view in sorted(self.views.items())}
        return {name: models for name, models in found.items() if models}


def write_few(folder: Path, few: dict[str, list[str]]) -> None:
    """Leave for the second run of ``--rows`` which views listed too few rows, of which models."""
    (folder / _FEW).write_text(json.dumps(few), encoding="utf-8")


def read_few(folder: Path) -> dict[str, list[str]]:
    """Undo :func:`write_few`."""
    few: dict[str, list[str]] = json.loads((folder / _FEW).read_text(encoding="utf-8"))
    return few


def read_trial(folder: Path) -> Trial:
    """Return what the processes of a run wrote into ``folder``."""
    trial, loops = Trial(), list[Loops]()
    for path in sorted(folder.glob("*.jsonl")):
        for kind, data in read_lines(path):
            if kind == "loops":
                loops.append(Loops(**data))
            else:
                _take(trial, kind, data)
    trial.loops = _ranked(loops)
    return trial


def _take(trial: Trial, kind: str, data: Any) -> None:
    if kind == "process":
        trial.started, trial.added = True, data["added"]
        trial.threshold = data["threshold"]
    elif kind == "view":
        view = ViewCount(**data)
        trial.views.setdefault(view.name, view).add(view)
    elif kind == "packages":
        for name, queries in data.items():
            trial.packages[name] = max(queries, trial.packages.get(name, 0))
    elif kind == "indexes":
        trial.indexes = data
    elif kind == "missing":
        trial.missing = [*(trial.missing or ()), *data]
    elif kind == "problem" and data not in trial.problems:
        trial.problems.append(data)
    elif kind == "cut":
        trial.cut = True
    elif kind == "grown":
        _add_grown(trial.grown, data)


def _add_grown(grown: dict[str, Grown], data: Mapping[str, Any]) -> None:
    new = Grown(**data)
    known = grown.setdefault(new.name, new)
    if new.queries is not None and (known.queries is None or new.queries > known.queries):
        grown[new.name] = new
    elif known.queries is None:
        known.problems.update(new.problems)


def _ranked(found: Iterable[Loops]) -> list[Loops]:
    """Return each once, those that save most first.

    One line of the project may have been suggested with more and with less in it, by the rows that
    each test had: the one that saves most stands for those whose loops it has.
    """
    kept: dict[tuple[str, ...], list[Loops]] = {}
    # What the tests' own rows showed counts as they showed it, before what copies did.
    order = sorted(
        found, key=lambda each: (each.rows is not None, -each.saves, -each.queries, each.text)
    )
    for each in order:
        same = kept.setdefault(each.standing, [])
        larger = next((other for other in same if each.places <= other.places), None)
        if larger is None:
            same.append(each)
        else:
            larger.views += [name for name in each.views if name not in larger.views]
    return sorted(
        (each for same in kept.values() for each in same),
        key=lambda each: (-each.saves, -each.queries, each.text),
    )
