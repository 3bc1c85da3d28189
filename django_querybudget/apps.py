"""The app: puts the database hook on every connection and registers the system checks."""

from __future__ import annotations

from django.apps import AppConfig

from . import hook
from .conf import conf


class QueryBudgetConfig(AppConfig):
    """``"django_querybudget"`` in ``INSTALLED_APPS``."""

    name = "django_querybudget"
    verbose_name = "Query budgets"

    def ready(self) -> None:
        """Install the hook; register the checks by importing them. Opens no connection."""
        from . import checks  # noqa: F401, PLC0415

        hook.install_everywhere()
        if conf.CACHE.written() is not None:
            # Whoever only writes must invalidate, too.
            from . import cache  # noqa: F401, PLC0415
