"""The project's own test runner with the advisor listening: of ``manage.py querybudget advise``.

Its base is the class that the settings name when this module is imported: import it late.
"""

from __future__ import annotations

import unittest
from typing import Any, ClassVar

from django.conf import settings
from django.core.management import CommandError
from django.test.runner import DiscoverRunner
from django.test.utils import get_runner

from .advice import AdvisorReport, advise
from .workload import Workload

__all__ = ["AdvisingRunner"]


def _result_class(base: type[unittest.TestResult], workload: Workload) -> type[unittest.TestResult]:
    """Return ``base``, telling the workload which test runs."""

    class NamingResult(base):  # type: ignore[misc, valid-type]  # the base is a value: the project's
        def startTest(self, test: unittest.TestCase) -> None:  # noqa: N802 - unittest's name
            workload.test = test.id()
            super().startTest(test)

        def stopTest(self, test: unittest.TestCase) -> None:  # noqa: N802 - as above
            super().stopTest(test)
            workload.test = None

    return NamingResult


_base: Any = get_runner(settings)
if not (isinstance(_base, type) and issubclass(_base, DiscoverRunner)):
    raise CommandError(
        f"TEST_RUNNER is {settings.TEST_RUNNER!r}, which is not built on Django's DiscoverRunner: "
        "the advisor cannot tell when its databases stand. With pytest, run "
        "'pytest --querybudget-indexes' instead.",
        returncode=2,
    )


class AdvisingRunner(_base):  # type: ignore[misc]  # the base is a value: the project's
    """The runner of the settings, in one process: another would record for itself."""

    report: ClassVar[AdvisorReport | None] = None
    """What this process's last run has to say; None before its databases were torn down."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **{**kwargs, "parallel": 0})
        self.workload = Workload()

    def get_test_runner_kwargs(self) -> dict[str, Any]:
        kwargs: dict[str, Any] = super().get_test_runner_kwargs()
        kwargs["resultclass"] = _result_class(
            kwargs.get("resultclass") or unittest.TextTestResult, self.workload
        )
        return kwargs

    def run_suite(self, suite: object, **kwargs: object) -> Any:
        with self.workload.recording():
            return super().run_suite(suite, **kwargs)

    def teardown_databases(self, old_config: object, **kwargs: object) -> None:
        AdvisingRunner.report = advise(self.workload)
        super().teardown_databases(old_config, **kwargs)
