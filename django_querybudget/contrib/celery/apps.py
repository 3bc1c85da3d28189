"""The app: it listens to Celery's signals."""

from __future__ import annotations

from django.apps import AppConfig

__all__ = ["CeleryConfig"]


class CeleryConfig(AppConfig):
    """``"django_querybudget.contrib.celery"`` in ``INSTALLED_APPS``."""

    name = "django_querybudget.contrib.celery"
    label = "querybudget_celery"
    verbose_name = "Query budgets of Celery tasks"

    def ready(self) -> None:
        """Listen. Opens no connection, and makes no app of Celery's."""
        from .receivers import connect

        connect()
