"""The pytest plugin: options, fixtures, the marker ``query_budget``, and who starts the ratchet.

``pytest --querybudget=record`` writes ``querybudget.toml``, ``check`` holds the suite to it,
``tighten`` lowers and prunes its lines. Nothing of Django is imported before a test, or an option,
asks for it: pytest loads plugins before settings are known.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn
from unittest import TestCase

import pytest

if TYPE_CHECKING:
    from django_querybudget.budgets.budget import Budget

MARKER = "query_budget"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the ratchet."""
    group = parser.getgroup("querybudget", "query budgets")
    group.addoption(
        "--querybudget",
        choices=("record", "check", "tighten"),
        help="record what every view executes in querybudget.toml, check it, or lower its lines",
    )
    group.addoption(
        "--querybudget-file",
        metavar="PATH",
        default="querybudget.toml",
        help="the file, relative to the rootdir (default: %(default)s)",
    )
    group.addoption(
        "--querybudget-github",
        action="store_true",
        help="print failures of --querybudget as annotations of GitHub's workflows too",
    )
    group.addoption(
        "--querybudget-with-rows",
        action="store_true",
        help="with --querybudget=record: record how many rows each view fetches, too",
    )
    group.addoption(
        "--querybudget-sarif",
        metavar="PATH",
        help="write failures of --querybudget to this file as SARIF",
    )
    group.addoption(
        "--querybudget-measured",
        metavar="PATH",
        help="with --querybudget: write what this run measures to this file, in the form of "
        "querybudget.toml",
    )
    group.addoption(
        "--querybudget-fix",
        action="store_true",
        help="write the suggested lines into a copy of the project, prove them by these tests, and "
        "print a diff; nothing of the project is changed",
    )
    group.addoption(
        "--querybudget-fix-apply",
        action="store_true",
        help="with --querybudget-fix: write what is proved where git says that files are clean",
    )
    group.addoption(
        "--querybudget-fix-uncompared",
        action="store_true",
        help="with --querybudget-fix: take into the diff also what saves and passes the tests, and "
        "no answer of which could be compared",
    )
    group.addoption(
        "--querybudget-fix-diff",
        metavar="FILE",
        help="with --querybudget-fix: write the diff to this file",
    )
    group.addoption(
        "--querybudget-fix-seconds",
        metavar="SECONDS",
        type=float,
        help="with --querybudget-fix: stop after so many seconds, with what is proved by then",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Prove patches in the place of the session, if that was asked for."""
    if not config.option.querybudget_fix or _is_rehearsal():
        return None
    from .pytest_fix import run

    return run(config)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker; start the ratchet, if that was asked for."""
    config.addinivalue_line(
        "markers",
        "query_budget(max_queries, *, duplicates, similar, writes, rows, duration, nplusone, "
        "using, until, issue, message): fail the test if it executes more; without a number, "
        "--querybudget records and checks the test",
    )
    if _has_settings() and config.option.verbose > 0:
        from django_querybudget.conf import conf

        conf.overrides["VERBOSITY"] = min(config.option.verbose, 2)
    if _is_rehearsal():
        from .pytest_fix import RehearsalPlugin

        config.pluginmanager.register(RehearsalPlugin(config), "querybudget-rehearsal")
    mode = config.option.querybudget
    if config.option.querybudget_with_rows and mode != "record":
        raise pytest.UsageError("--querybudget-with-rows goes with --querybudget=record.")
    if config.option.querybudget_measured and not mode:
        raise pytest.UsageError("--querybudget-measured goes with --querybudget.")
    if not mode or config.option.collectonly:
        return
    if not _has_settings():
        raise pytest.UsageError(
            "--querybudget needs Django's settings: set DJANGO_SETTINGS_MODULE."
        )
    if hasattr(config, "workerinput"):
        from django_querybudget.ratchet.collecting import start_from_environment

        start_from_environment()
        return
    from .pytest_ratchet import RatchetPlugin

    config.pluginmanager.register(RatchetPlugin(config, mode), "querybudget-ratchet")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave nothing to the next session of the process."""
    if _has_settings() and config.option.verbose > 0:
        from django_querybudget.conf import conf

        conf.overrides.pop("VERBOSITY", None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a bad budget before a test is run."""
    for item in items:
        marker = item.get_closest_marker(MARKER)
        if marker is not None:
            try:
                _budget(marker)
            except (TypeError, ValueError) as error:
                raise pytest.UsageError(f"{item.nodeid}: query_budget: {error}") from error


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Put a marked test's budget around its function: its fixtures and ``setUp`` do not count."""
    __tracebackhide__ = True
    marker = item.get_closest_marker(MARKER)
    if item.config.option.querybudget or marker is not None:
        from django_querybudget.recording.warming import warm_django_caches

        warm_django_caches()
    if marker is None or not isinstance(item, pytest.Function):
        return (yield)
    function = item.obj
    item.obj = measured = _measured(item, function, _budget(marker))
    case = item.instance if item.cls and issubclass(item.cls, TestCase) else None
    if case is not None:
        # unittest finds the method by its name.
        setattr(case, item.name, measured)
    try:
        return (yield)
    finally:
        item.obj = function
        if case is not None:
            vars(case).pop(item.name, None)


@pytest.fixture(name="assert_max_queries")
def _assert_max_queries(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """``django_querybudget.testing.assert_max_queries``; a ``live_server``'s queries count too."""
    from django_querybudget.testing import assert_max_queries

    return partial(assert_max_queries, across_threads="live_server" in request.fixturenames)


@pytest.fixture(name="capture_queries")
def _capture_queries(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """``django_querybudget.capture_queries``; a ``live_server``'s queries count too."""
    from django_querybudget import capture_queries

    return partial(capture_queries, across_threads="live_server" in request.fixturenames)


@pytest.fixture(name="assert_query_growth")
def _assert_query_growth() -> Callable[..., Any]:
    """``django_querybudget.testing.assert_query_growth``."""
    from django_querybudget.testing import assert_query_growth

    return assert_query_growth


def _is_rehearsal() -> bool:
    """Whether ``fix`` has started this very session, on its copy of the project."""
    return "QUERYBUDGET_REHEARSAL" in os.environ


def _has_settings() -> bool:
    if os.environ.get("DJANGO_SETTINGS_MODULE"):
        return True
    from django.conf import settings

    return settings.configured


def _budget(marker: pytest.Mark) -> Budget | None:
    from django_querybudget.budgets.budget import Budget
    from django_querybudget.recording.aliases import checked_aliases

    if not marker.args and not marker.kwargs:
        return None
    budget = Budget(*marker.args, **marker.kwargs)
    if _has_settings():
        checked_aliases(budget.using)
    return budget


def _measured(
    item: pytest.Function, function: Callable[..., Any], budget: Budget | None
) -> Callable[..., Any]:
    from django_querybudget.ratchet.collecting import collect
    from django_querybudget.ratchet.lines import Key
    from django_querybudget.testing import measured

    path, line, _ = item.location

    def fail(text: str) -> NoReturn:
        # The test has returned: a traceback could show nothing but this library.
        pytest.fail(f"{text}\n\n{path}:{(line or 0) + 1}: in {item.name}", pytrace=False)

    return measured(
        function,
        item.nodeid,
        budget,
        across_threads="live_server" in item.fixturenames,
        tell=lambda log: collect(Key("tests", item.nodeid), log),
        fail=fail,
    )
