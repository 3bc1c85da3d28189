"""``pytest --querybudget-fix``, and what ``fix`` does in the sessions that it starts."""

from __future__ import annotations

import sys
from collections.abc import Generator

import pytest

__all__ = ["RehearsalPlugin", "run"]


def run(config: pytest.Config) -> int:
    """Prove patches by the tests that this pytest was asked to run; return the exit status."""
    from django_querybudget.patches.fixing import Wanted, fix
    from django_querybudget.patches.rehearsals import Suite

    option = config.option
    wanted = Wanted(
        apply=option.querybudget_fix_apply,
        uncompared=option.querybudget_fix_uncompared,
        diff=option.querybudget_fix_diff,
        seconds=option.querybudget_fix_seconds,
        quiet=option.verbose < 0,
        file=config.rootpath / option.querybudget_file,
    )
    # The sessions that are started read the same command line, and know that they are rehearsals.
    suite = Suite("pytest", tuple(map(str, config.invocation_params.args)))
    return fix(
        suite,
        wanted,
        out=lambda line: sys.stdout.write(f"{line}\n"),
        err=lambda line: sys.stderr.write(f"{line}\n"),
    )


class RehearsalPlugin:
    """Tells the journal of each test, and leaves out those that are not to run."""

    def __init__(self, config: pytest.Config) -> None:
        """Let the process write down what it does, if Django did not ask for that already."""
        from django_querybudget.patches.journal import start

        self.test = ""
        self.is_worker = hasattr(config, "workerinput")
        if getattr(config.option, "randomly_seed", None) is not None:
            config.option.randomly_seed = 1  # Of pytest-randomly, which draws one for each run.
        start()

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

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Let each test draw the same in every run."""
        from django_querybudget.patches.seeding import seed

        self.test = item.nodeid
        seed(self.test)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[object]
    ) -> Generator[None, object, object]:
        """Let what several tests share draw the same, whichever of them runs first."""
        from django_querybudget.patches.seeding import seed

        if fixturedef.scope == "function":
            return (yield)
        seed(f"{fixturedef.baseid}::{fixturedef.argname}")
        try:
            return (yield)
        finally:
            seed(self.test)

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
