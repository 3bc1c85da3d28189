"""The project's own test runner with the advisor listening: of ``manage.py querybudget advise``.

Its base is the class that the settings name when this module is imported: import it late.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.core.management import CommandError
from django.test.utils import get_runner

from django_querybudget.conf.runners import ListenedRunner, TestListener, is_discover_runner

from .advice import AdvisorReport, advise
from .workload import Workload

__all__ = ["AdvisingRunner"]


class _Naming(TestListener):
    """Tells a workload which test runs."""

    def __init__(self, workload: Workload) -> None:
        self._workload = workload

    def started(self, test: str) -> None:
        self._workload.test = test

    def ended(self, test: str) -> None:
        self._workload.test = None


_base: Any = get_runner(settings)
if not is_discover_runner(_base):
    raise CommandError(
        f"TEST_RUNNER is {settings.TEST_RUNNER!r}, which is not built on Django's DiscoverRunner: "
        "the advisor cannot tell when its databases stand. With pytest, run "
        "'pytest --querybudget-indexes' instead.",
        returncode=2,
    )


class AdvisingRunner(ListenedRunner, _base):  # type: ignore[misc]  # the base is a value: the project's
    """The runner of the settings, in one process: another would record for itself."""

    report: ClassVar[AdvisorReport | None] = None
    """What this process's last run has to say; None before its databases were torn down."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **{**kwargs, "parallel": 0})
        self.workload = Workload()
        self.listener = _Naming(self.workload)

    def run_suite(self, suite: object, **kwargs: object) -> Any:
        with self.workload.recording():
            return super().run_suite(suite, **kwargs)

    def teardown_databases(self, old_config: object, **kwargs: object) -> None:
        AdvisingRunner.report = advise(self.workload)
        super().teardown_databases(old_config, **kwargs)
