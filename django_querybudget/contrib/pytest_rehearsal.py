"""What ``manage.py querybudget fix -- pytest`` does in its pytest: outcomes, and chosen tests."""

from __future__ import annotations

import pytest

__all__ = ["RehearsalPlugin"]


class RehearsalPlugin:
    """Tells the journal of each test, and leaves out those that are not to run."""

    def __init__(self, config: pytest.Config) -> None:
        self.is_worker = hasattr(config, "workerinput")

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Keep the tests that were chosen."""
        from django_querybudget.patches.journal import only

        chosen = only()
        if chosen is None:
            return
        left = [each for each in items if each.nodeid not in chosen]
        items[:] = [each for each in items if each.nodeid in chosen]
        if left:
            config.hook.pytest_deselected(items=left)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note how a test ended; xdist's workers hand theirs on to the controller."""
        from django_querybudget.patches.journal import note_outcome

        if self.is_worker:
            return
        if report.failed:
            note_outcome(report.nodeid, "failed", report.longreprtext)
        elif report.skipped:
            note_outcome(report.nodeid, "skipped")
        elif report.when == "call":
            note_outcome(report.nodeid, "passed")
