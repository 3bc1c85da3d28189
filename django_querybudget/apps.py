"""The app: puts the database hook on every connection and registers the system checks."""

from __future__ import annotations

import os

from django.apps import AppConfig

from .conf import conf
from .recording import hook


class QueryBudgetConfig(AppConfig):
    """``"django_querybudget"`` in ``INSTALLED_APPS``."""

    name = "django_querybudget"
    verbose_name = "Query budgets"
    watches_writes = False
    """Whether this process invalidates because the settings say so, not because of an import."""

    def ready(self) -> None:
        """Install the hook; register the checks by importing them. Opens no connection."""
        # Here, not above: checks name models and views, which exist once the apps are ready.
        from . import checks  # noqa: F401 - registers them

        hook.install_everywhere()
        if conf.CACHE.written() is not None:
            # Whoever only writes must invalidate, too.
            from . import cache  # noqa: F401 - hooks the writes

            self.watches_writes = True
        if conf.PRODUCTION.written() is not None:
            from . import production

            production.start()
        if "QUERYBUDGET_SPOOL" in os.environ:
            # A worker of a test run that is under the ratchet, started anew (not forked).
            # Imported there alone: no host's process needs a test run's code.
            from django_querybudget.ratchet.collecting import start_from_environment

            start_from_environment()
        if "QUERYBUDGET_TRY" in os.environ:
            # A process of `python -m django_querybudget try`.
            from django_querybudget.trying.collecting import start

            start()
        if "QUERYBUDGET_REHEARSAL" in os.environ:
            # A test run of `manage.py querybudget fix`, on its copy of the project.
            from .patches import journal

            journal.start()
