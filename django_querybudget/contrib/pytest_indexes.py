"""``pytest --querybudget-indexes``: the advisor, at the end of a test run.

Imports nothing of Django until the option is given: pytest loads its plugins before settings are
known.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_django import DjangoDbBlocker

    from django_querybudget.indexes.advisor import AdvisorReport, Workload

OPTION = "--querybudget-indexes"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.getgroup("querybudget").addoption(
        OPTION,
        action="store_true",
        dest="querybudget_indexes",
        help="advise on the indexes that the tests' ORM queries need and the database lacks",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Take part only where the option is given, and under ``try``."""
    if not config.getoption("querybudget_indexes"):
        if "QUERYBUDGET_TRY" in os.environ and _is_alone(config):
            config.pluginmanager.register(TryingPlugin(), "querybudget-advisor")
        return
    if not config.pluginmanager.has_plugin("django"):
        raise pytest.UsageError(f"{OPTION} needs pytest-django: pip install pytest-django")
    if config.getoption("numprocesses", None):
        raise pytest.UsageError(
            f"{OPTION} listens in one process: run pytest without -n (or with -n 0)."
        )
    config.pluginmanager.register(AdvisorPlugin(), "querybudget-advisor")


def _is_alone(config: pytest.Config) -> bool:
    """Whether the tests run in this process, on Django's databases."""
    workers = config.getoption("numprocesses", None) or hasattr(config, "workerinput")
    second = "QUERYBUDGET_TRY_ROWS" in os.environ
    return config.pluginmanager.has_plugin("django") and not workers and not second


class AdvisorPlugin:
    """Records the run's queries, and asks the planner before the test databases are removed."""

    def __init__(self) -> None:
        self.workload: Workload | None = None
        self.report: AdvisorReport | None = None

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Generator[None, Any, Any]:
        """Listen from when the databases are set up until before they are torn down."""
        outcome = yield
        if fixturedef.argname == "django_db_setup" and self.workload is None:
            self._listen(fixturedef, request.getfixturevalue("django_db_blocker"))
        return outcome

    def _listen(self, setup: pytest.FixtureDef[Any], blocker: DjangoDbBlocker) -> None:
        workload = self.workload = self.new_workload()
        listening = ExitStack()
        listening.enter_context(workload.recording())

        def finish() -> None:
            listening.close()
            with blocker.unblock():
                self.ask(workload)

        # Finalizers run last in, first out: before the fixture's own.
        setup.addfinalizer(finish)

    def new_workload(self) -> Workload:
        """Return what listens to the run."""
        from django_querybudget.indexes.advisor import Workload

        return Workload()

    def ask(self, workload: Workload) -> None:
        """Ask the planner."""
        from django_querybudget.indexes.advisor import advise

        self.report = advise(workload)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Name the test whose body runs; what fixtures query is not the project's workload."""
        if self.workload is not None:
            self.workload.test = item.nodeid
        try:
            return (yield)
        finally:
            if self.workload is not None:
                self.workload.test = None

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the advice."""
        terminalreporter.section("querybudget: indexes")
        if self.report is None:
            terminalreporter.write_line("No test used a database.")
            return
        from django_querybudget.indexes.advisor import render_advice

        terminalreporter.write_line(render_advice(self.report))


class TryingPlugin(AdvisorPlugin):
    """The same for ``python -m django_querybudget try pytest``, which prints it on its page."""

    def new_workload(self) -> Workload:
        """Listen to what views ask."""
        from django_querybudget.trying.indexes import ViewWorkload

        return ViewWorkload()

    def ask(self, workload: Workload) -> None:
        """Ask, and leave the answer to the page."""
        from django_querybudget.trying.indexes import note_advice

        note_advice(workload)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print nothing: the page is printed when pytest is done."""
