"""Django's test runner with the advisor listening: of ``manage.py querybudget advise -- test``."""

from __future__ import annotations

import unittest
from typing import Any

from django.conf import settings
from django.test.runner import DiscoverRunner
from django.utils.module_loading import import_string

from django_querybudget.exceptions import QueryBudgetError

from .advice import AdvisorReport, advise
from .workload import Workload


class UnsupportedRunner(QueryBudgetError):
    """``TEST_RUNNER`` is not built on Django's."""


class Advised:
    """Where the run leaves its report for the command that started it."""

    workload: Workload
    report: AdvisorReport | None

    def __init__(self) -> None:
        self.workload = Workload()
        self.report = None


def advising_runner(advised: Advised) -> type[DiscoverRunner]:
    """Return the project's own test runner, recording into ``advised``.

    Raises:
        UnsupportedRunner: the project's runner is no subclass of ``DiscoverRunner``.
    """
    base = import_string(settings.TEST_RUNNER)
    if not (isinstance(base, type) and issubclass(base, DiscoverRunner)):
        raise UnsupportedRunner(
            f"TEST_RUNNER is {settings.TEST_RUNNER!r}, which is not built on Django's "
            f"DiscoverRunner: the advisor cannot tell when its databases stand. With pytest, run "
            f"'pytest --querybudget-indexes' instead."
        )

    class AdvisingRunner(base):  # type: ignore[misc, valid-type]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            # Another process would record for itself.
            super().__init__(*args, **{**kwargs, "parallel": 0})

        def get_test_runner_kwargs(self) -> dict[str, Any]:
            kwargs: dict[str, Any] = super().get_test_runner_kwargs()
            kwargs["resultclass"] = _naming(
                kwargs.get("resultclass") or unittest.TextTestResult, advised.workload
            )
            return kwargs

        def run_suite(self, suite: Any, **kwargs: Any) -> Any:
            with advised.workload.recording():
                return super().run_suite(suite, **kwargs)

        def teardown_databases(self, old_config: Any, **kwargs: Any) -> None:
            advised.report = advise(advised.workload)
            super().teardown_databases(old_config, **kwargs)

    return AdvisingRunner


def _naming(base: type[Any], workload: Workload) -> type[Any]:
    """Return a result class that tells the workload which test runs."""

    class NamingResult(base):  # type: ignore[misc]
        def startTest(self, test: Any) -> None:  # noqa: N802  # unittest's name
            workload.test = test.id()
            super().startTest(test)

        def stopTest(self, test: Any) -> None:  # noqa: N802  # unittest's name
            super().stopTest(test)
            workload.test = None

    return NamingResult
