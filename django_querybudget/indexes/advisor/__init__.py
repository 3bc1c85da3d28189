"""The advisor: which indexes the ORM queries of a test run need, proved by the planner."""

from __future__ import annotations

from .advice import Advice, AdvisorReport, advise
from .report import render_advice
from .verify import CannotVerify, Saving, check_verifiable, verify
from .workload import Workload

__all__ = [
    "Advice",
    "AdvisorReport",
    "CannotVerify",
    "Saving",
    "Workload",
    "advise",
    "check_verifiable",
    "render_advice",
    "verify",
]
