"""Budgets: how much a scope may query. Functions of a :class:`QueryLog`, no I/O."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import KW_ONLY, dataclass, fields
from datetime import date
from typing import Any

from django_querybudget.conf.until import Until
from django_querybudget.recording.aliases import named_aliases
from django_querybudget.recording.records import QueryLog

__all__ = ["DIMENSIONS", "Budget", "Violation", "unjudged_rows"]

DIMENSIONS = ("max_queries", "duplicates", "similar", "writes", "rows", "duration")
"""What a budget can limit, in the order in which a report names it."""


@dataclass(frozen=True, kw_only=True)
class Violation:
    """One dimension of a budget that a log exceeds."""

    dimension: str
    """The dimension's name, one of :data:`DIMENSIONS`; or ``"until"``: the budget has expired."""
    limit: float
    """What the budget allows."""
    actual: float
    """What the log has; of ``"until"``, how many days ago it expired."""


@dataclass(frozen=True)
class Budget:
    """The most a scope may do. ``Budget(10)`` allows ten queries.

    A dimension that is None is not limited; at least one has to be. Transaction control counts
    nowhere. Raises ``TypeError`` for a limit of the wrong type and for a budget that limits
    nothing, ``ValueError`` for a negative limit, an ``until`` that is no day and a ``using`` that
    names no database. Whether ``DATABASES`` has the aliases is checked where it is used.
    """

    max_queries: int | None = None
    """The most queries, on all databases together."""
    _: KW_ONLY
    duplicates: int | None = None
    """The most queries that repeat an earlier one: same database, SQL and parameters."""
    similar: int | None = None
    """The most queries that repeat an earlier one's shape: same database, whatever parameters."""
    writes: int | None = None
    """The most queries whose text says that they write."""
    rows: int | None = None
    """The most rows fetched by the queries that read, added up. Where the driver does not tell how
    many (SQLite's, a server-side cursor's), the budget is not judged, and the report says so."""
    duration: float | None = None
    """The longest that the databases may take, in seconds, added up."""
    nplusone: int | None = None
    """How many repeats of one shape, from one line, are an N+1; that is an error of its own."""
    using: str | Collection[str] | None = None
    """The alias, or the aliases, of the databases that count; all if it is None."""
    until: date | str | None = None
    """The last day that it holds, ``"2027-03-01"``, in the project's time zone: a budget that was
    raised for a while. From the next day on each scope that it is of exceeds it."""
    issue: str = ""
    """Where it stands what is to be done until then: a link, which the failure names."""
    message: str = ""
    """What a failure says first: why the budget is what it is, or whom to ask."""

    def __post_init__(self) -> None:
        limits = {name: getattr(self, name) for name in DIMENSIONS}
        if all(limit is None for limit in limits.values()) and self.nplusone is None:
            raise TypeError(f"A budget limits at least one of: {', '.join(DIMENSIONS)}, nplusone.")
        if self.nplusone is not None:
            _check_threshold(self.nplusone)
        for name, limit in limits.items():
            if limit is not None:
                _check_limit(name, limit)
        if self.using is not None:
            object.__setattr__(self, "using", named_aliases(self.using))
        if self.until is not None:
            object.__setattr__(self, "until", Until.of(self.until, self.issue).day)
        elif self.issue:
            raise TypeError(f"issue is {self.issue!r}, and until is missing: it goes with a day.")
        if not isinstance(self.message, str):
            raise TypeError(f"message is {self.message!r}; it accepts a text.")

    @classmethod
    def of(cls, value: Any) -> Budget:
        """Return the budget that ``value`` stands for: a Budget, a number, a dict of dimensions.

        Raises ``TypeError`` or ``ValueError`` for what is none, and names an unknown dimension.
        """
        if isinstance(value, Budget):
            return value
        if not isinstance(value, Mapping):
            return cls(value)
        known = [field.name for field in fields(cls) if field.init]
        for name in value:
            if name not in known:
                raise TypeError(f"{name!r} is no dimension of a budget: {', '.join(known)}.")
        return cls(**value)

    @property
    def ends(self) -> Until | None:
        """The day that it ends, with the issue; None for never."""
        return None if self.until is None else Until.of(self.until, self.issue)

    def check(self, log: QueryLog) -> tuple[Violation, ...]:
        """Return what ``log`` exceeds; nothing if it keeps within the budget."""
        if self.using is not None:
            log = log.on(self.using)
        violations = []
        if (ends := self.ends) is not None and (days := ends.days_past):
            violations.append(Violation(dimension="until", limit=0, actual=days))
        for name in DIMENSIONS:
            limit = getattr(self, name)
            if limit is not None and (actual := _measured(log, name)) > limit:
                violations.append(Violation(dimension=name, limit=limit, actual=actual))
        return tuple(violations)


def unjudged_rows(budget: Budget | None, log: QueryLog) -> int:
    """Return of how many queries the rows are unknown, that the budget limits; 0 if it does not."""
    if budget is None or budget.rows is None:
        return 0
    return (log if budget.using is None else log.on(budget.using)).rows_unknown


def _check_threshold(threshold: object) -> None:
    if isinstance(threshold, bool) or not isinstance(threshold, int) or threshold < 2:
        raise ValueError(f"nplusone is {threshold!r}; it accepts a whole number, 2 or more.")


def _check_limit(name: str, limit: Any) -> None:
    accepts = "a number of seconds" if name == "duration" else "a whole number"
    accepted: Any = (int, float) if name == "duration" else int
    if isinstance(limit, bool) or not isinstance(limit, accepted):
        raise TypeError(f"{name} is {limit!r}; it accepts {accepts}, 0 or more.")
    if not limit >= 0:
        raise ValueError(f"{name} is {limit!r}; it accepts {accepts}, 0 or more.")


def _measured(log: QueryLog, dimension: str) -> float:
    match dimension:
        case "max_queries":
            return log.count
        case "duplicates":
            return log.duplicate_count
        case "similar":
            return log.similar_count
        case "writes":
            return log.write_count
        case "rows":
            return log.rows or 0
        case _:
            return log.duration
