"""The budget of a view, and whose it is: a decorator's, a setting's, or none."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from typing import Any

from django_querybudget.budgets.budget import DIMENSIONS, Budget
from django_querybudget.budgets.by_view import MARK, Declared, parse_budgets
from django_querybudget.conf import InvalidSetting, conf
from django_querybudget.routing.names import ByView
from django_querybudget.stacks import shown_path

from .views import View

__all__ = ["budget_of", "budgets_of"]


def budgets_of(view: View, methods: Iterable[str]) -> dict[str, Any]:
    """Return the budgets of a view, one for each method."""
    budgets, unknown = [], []
    for method in methods:
        try:
            budgets.append({"method": method, **_budget(view, method)})
        except InvalidSetting as error:
            unknown.append(str(error))
    return {"unknown": " ".join(dict.fromkeys(unknown)), "budgets": budgets}


def budget_of(view: View, method: str) -> tuple[Budget | None, str]:
    """Return the budget that holds for a method, and what says so; None and nothing for none.

    Raises :class:`~django_querybudget.conf.InvalidSetting` for a setting that is none.
    """
    for handler in view.handlers(method):
        declared: Declared | None = getattr(handler, MARK, None)
        if declared is not None:
            return declared.budget, f"query_budget of {_place(handler)}"
    written = conf.BUDGETS
    key = ByView((text, text) for text in written).of(view.request(method))
    if key is None:
        return None, ""
    (_, budget), *_ = parse_budgets({key: written[key]})
    return budget, f'QUERYBUDGET["BUDGETS"][{key!r}]'


def _budget(view: View, method: str) -> dict[str, Any]:
    budget, where = budget_of(view, method)
    source = None if not where else "setting" if where.startswith("QUERYBUDGET") else "decorator"
    told: dict[str, Any] = {"source": source, "where": where, "limits": None}
    if budget is not None:
        told["limits"] = dict(_limits(budget))
        told["using"] = sorted(budget.using) if budget.using is not None else None
        told["until"] = None if budget.until is None else str(budget.until)
        told["issue"] = budget.issue
        told["message"] = budget.message
    return told


def _limits(budget: Budget) -> Iterator[tuple[str, float]]:
    for name in (*DIMENSIONS, "nplusone"):
        limit = getattr(budget, name)
        if limit is not None:
            yield name, limit


def _place(handler: Any) -> str:
    name = f"{handler.__module__}.{handler.__qualname__}"
    code = getattr(inspect.unwrap(handler), "__code__", None)
    if code is None:
        return name
    return f"{name} ({shown_path(code.co_filename)}:{code.co_firstlineno})"
