"""``pytest --querybudget``: the ratchet of one session."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from django_querybudget.exceptions import LockFileError
from django_querybudget.ratchet.runs import Outcome, Run
from django_querybudget.ratchet.text import github_annotations

__all__ = ["RatchetPlugin"]


class RatchetPlugin:
    """Collects, and judges at the end of the session; in xdist's controller, for all workers."""

    def __init__(self, config: pytest.Config, mode: str) -> None:
        path = config.rootpath / config.option.querybudget_file
        written = config.option.querybudget_sarif
        measured = config.option.querybudget_measured
        try:
            self.run: Run = Run(
                mode=mode,
                path=path,
                command="pytest --querybudget={mode}",
                sarif=Path(written) if written else None,
                measured=Path(measured) if measured else None,
                with_rows=config.option.querybudget_with_rows,
            )
        except LockFileError as error:
            raise pytest.UsageError(str(error)) from error
        self.outcome: Outcome | None = None
        self.failed: set[str] = set()
        self.problem = ""
        self.run.start()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note the tests that failed, in whatever process they ran."""
        if report.failed:
            self.failed.add(report.nodeid)

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Judge; the exit status is 1 if something is above its line."""
        # With 1, tests failed and all others ran; anything else is no run to judge by.
        failed = self.failed if exitstatus == pytest.ExitCode.TESTS_FAILED else ()
        self.outcome = self.run.finish(
            _chosen(session.config), passed=exitstatus == 0, failed=failed
        )
        self.problem = self.run.write_others(self.outcome, session.config.option.querybudget_file)
        if (self.outcome.failed or self.problem) and exitstatus == 0:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_unconfigure(self) -> None:
        """Leave nothing behind if the session did not come to its end."""
        if self.outcome is None:
            self.run.abandon()

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print what is above its line, what got better, what is left over."""
        outcome = self.outcome
        if outcome is None:
            return
        terminalreporter.section("query budgets")
        terminalreporter.write_line(outcome.text, red=outcome.failed)
        if self.problem:
            terminalreporter.write_line(self.problem, red=True)
        if outcome.comparison is None:
            return
        if terminalreporter.config.option.querybudget_github and outcome.failed:
            for annotation in github_annotations(outcome.comparison):
                terminalreporter.write_line(annotation)


def _chosen(config: pytest.Config) -> str:
    """Return how the tests were chosen, the same wherever pytest was started."""
    arguments = config.args
    if config.args_source is pytest.Config.ArgsSource.INVOCATION_DIR:
        arguments = [str(config.invocation_params.dir)]
    option = config.option
    words = ["pytest", *sorted(_relative(argument, config) for argument in arguments)]
    options = ("keyword", "markexpr", "deselect", "ignore", "ignore_glob", "lf", "stepwise")
    chosen = ((name, getattr(option, name, None)) for name in options)
    words += [f"{name}={value}" for name, value in chosen if value]
    return " ".join(words)


def _relative(argument: str, config: pytest.Config) -> str:
    path, separator, rest = argument.partition("::")
    absolute = Path(config.invocation_params.dir, path)
    return Path(os.path.relpath(absolute, config.rootpath)).as_posix() + separator + rest
