"""The project's own test runner, which has the planner asked before its databases are removed.

Its base is the class that the project's settings name when this module is imported: by Django, to
which the settings of a run give this path.
"""

from __future__ import annotations

import os
from typing import Any

from django.utils.module_loading import import_string

from django_querybudget.conf.runners import is_discover_runner

from .launching import ROWS_VARIABLE
from .settings_classes import project_test_runner

__all__ = ["TryingRunner"]

_base: Any = import_string(project_test_runner())
if not is_discover_runner(_base) or ROWS_VARIABLE in os.environ:
    TryingRunner = _base  # A runner of another kind runs as it is.
else:
    from .indexes import ViewWorkload, note_advice

    class TryingRunner(_base):  # type: ignore[no-redef, misc]  # the base is a value: the project's runner
        """The runner of the settings; what its worker processes ask is not looked at."""

        def run_suite(self, suite: object, **kwargs: object) -> Any:
            self.querybudget_workload = ViewWorkload()
            with self.querybudget_workload.recording():
                return super().run_suite(suite, **kwargs)

        def teardown_databases(self, old_config: object, **kwargs: object) -> None:
            workload = getattr(self, "querybudget_workload", None)
            if workload is not None:
                note_advice(workload)
            super().teardown_databases(old_config, **kwargs)
