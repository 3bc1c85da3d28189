"""Query budgets, N+1 causes, caching that is never stale, and indexes for Django.

Importable before settings exist: the names below are imported when they are first used.

PYTEST_DONT_REWRITE: pytest warns of a plugin's package that was imported before it, unless its
docstring says this word; ``try`` does so, and the package's root asserts nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django_querybudget.budgets.budget import Budget

    from .capture import capture_queries
    from .decorators import query_budget
    from .exceptions import NPlusOneError, QueryBudgetError, QueryBudgetExceeded

__version__ = "0.1.0"

__all__ = [
    "Budget",
    "NPlusOneError",
    "QueryBudgetError",
    "QueryBudgetExceeded",
    "__version__",
    "capture_queries",
    "query_budget",
]

_MODULES = {
    "Budget": "budgets",
    "NPlusOneError": "exceptions",
    "QueryBudgetError": "exceptions",
    "QueryBudgetExceeded": "exceptions",
    "capture_queries": "capture",
    "query_budget": "decorators",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
