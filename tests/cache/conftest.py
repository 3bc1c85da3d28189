"""What the cache's proofs say at the end of a run: how many steps and orders they went through."""

from __future__ import annotations

from collections import Counter

import pytest

COUNTED = {
    "steps": "steps of random programs, every cached read compared after each",
    "orders": "orders of two or more processes, each run to its end",
    "reads": "reads of separate processes while others write, die, and Redis stops",
}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the counts; the workers of xdist send them with their reports."""
    totals: Counter[str] = Counter()
    for report in terminalreporter.stats.get("passed", []):
        for name, value in getattr(report, "user_properties", []):
            if name in COUNTED and report.when == "call":
                totals[name] += value
    for name, total in totals.items():
        terminalreporter.write_line(f"{total} {COUNTED[name]}")
