"""Why a suggested line is not written, or nothing can be proved at all."""

from __future__ import annotations

from django_querybudget.exceptions import QueryBudgetError

__all__ = ["CannotProve", "Unwritable"]


class Unwritable(QueryBudgetError):
    """A suggested line is not written; the text says why, and completes "not written: …"."""


class CannotProve(QueryBudgetError):
    """No patch can be proved in this project as it is; the text says why, and the way out."""
