"""Reports: what a log says to a person, who is told, and what happens when it is too much."""

from __future__ import annotations

from .report import QueryReport

__all__ = ["QueryReport"]
