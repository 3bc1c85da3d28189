"""Whether a view keeps within its budgets and its recorded lines, by the last test run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django_querybudget.conf import InvalidSetting
from django_querybudget.exceptions import QueryBudgetError
from django_querybudget.messages.links import message_link
from django_querybudget.ratchet.lines import Line

from .budgets import budget_of
from .counts import Known, known
from .views import View, views_of

__all__ = ["judged"]

_COUNTED = {"max_queries": "queries", "duplicates": "duplicates", "similar": "similar"}
_COUNTED["rows"] = "rows"
_NOT_COUNTED = ("writes", "duration", "nplusone")


class SeveralViews(QueryBudgetError):
    """A name that stands for several views was given where one is wanted."""


def judged(text: str, file: Path) -> dict[str, Any]:
    """Return how the last test run of a view stands to its limits.

    ``verdict`` is ``"over"`` if a count is above a limit, ``"within"`` if none is, ``"unknown"`` if
    nothing could be compared; ``unknown`` says what could not be, and why. Raises
    :class:`~.views.UnknownView`, and :class:`SeveralViews` for a name of several.
    """
    asked = views_of(text)
    if asked.listed:
        names = ", ".join(each.name for each in asked.views)
        raise SeveralViews(f"{text!r} stands for {names}: name one of them.")
    (view,) = asked.views
    files = known(file)
    checks: list[dict[str, Any]] = []
    unknown = [] if files.runs_of(view, asked.method) else [files.not_reached(view)]
    for method, run in files.runs_of(view, asked.method).items():
        for status, line in sorted(run.lines.items()):
            for source, dimension, limit in _limits(files, view, method, status, unknown):
                actual = getattr(line, _COUNTED[dimension])
                if actual is None:
                    unknown.append(f"{method} {status}: rows were not told by the database.")
                    continue
                checks.append(
                    {
                        "method": method, "status": status, "dimension": dimension,
                        "actual": actual, "limit": limit, "source": source, "over": actual > limit,
                    }
                )  # fmt: skip
    over = any(each["over"] for each in checks)
    if not checks and not unknown:
        unknown.append(f"{view.name} has neither a budget nor a line in {files.file}.")
    return {
        "view": view.name,
        "verdict": "over" if over else "within" if checks else "unknown",
        "unknown": " ".join(dict.fromkeys(unknown)),
        "checks": checks,
        "docs": message_link("budget-exceeded"),
    }


def _limits(
    files: Known, view: View, method: str, status: str, unknown: list[str]
) -> Iterator[tuple[str, str, float]]:
    """Yield what limits a method: who says it, the dimension, and the most that is allowed."""
    line: Line | None = (files.lines or {}).get(f"{method} {view.name} {status}")
    if line is not None:
        for dimension, name in _COUNTED.items():
            if (recorded := getattr(line, name)) is not None:
                yield files.file, dimension, recorded
    elif files.no_lines:
        unknown.append(files.no_lines)
    try:
        budget, where = budget_of(view, method)
    except InvalidSetting as error:
        unknown.append(str(error))
        return
    if budget is None:
        return
    for dimension in _COUNTED:
        if (limit := getattr(budget, dimension)) is not None:
            yield where, dimension, limit
    unknown += [
        f"{where} limits {dimension}, which a test run does not leave."
        for dimension in _NOT_COUNTED
        if getattr(budget, dimension) is not None
    ]
