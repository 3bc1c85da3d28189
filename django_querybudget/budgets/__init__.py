"""Budgets: what a log exceeds, whose budget it is, and how queries grow with the data."""

from __future__ import annotations

from .budget import Budget, Violation

__all__ = ["Budget", "Violation"]
