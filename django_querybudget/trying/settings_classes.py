"""The two classes of Django that hold settings, each with our app and middleware in them."""

from __future__ import annotations

import os
from typing import Any

import django.conf
from django.conf import global_settings

from .launching import ROWS_VARIABLE

__all__ = ["is_added", "project_test_runner", "replace_settings_classes"]

APP = "django_querybudget"
MIDDLEWARE = "django_querybudget.middleware.QueryBudgetMiddleware"
GROWING = "django_querybudget.trying.growing.GrowingMiddleware"
RUNNER = "django_querybudget.trying.runner.TryingRunner"

_added = False
_test_runner: str = global_settings.TEST_RUNNER


def is_added() -> bool:
    """Whether the project's own settings do not have the app."""
    return _added


def project_test_runner() -> str:
    """Return the dotted path that the project has as ``TEST_RUNNER``."""
    return _test_runner


def replace_settings_classes() -> None:
    """Have every setting that Django is given from now on extended. To be called once a process."""
    # To mypy a class has one value; here another is what this function is for.
    django.conf.Settings = _Settings  # type: ignore[misc]
    django.conf.UserSettingsHolder = _UserSettingsHolder  # type: ignore[misc]


def _extended(name: str, value: Any) -> Any:
    """Return what is to be held for a setting: the project's own value where we have no part."""
    global _added, _test_runner
    if name == "TEST_RUNNER" and isinstance(value, str) and value != RUNNER:
        _test_runner = value
        return RUNNER
    if not isinstance(value, list | tuple):
        return value  # Django says what is wrong with it.
    if name == "INSTALLED_APPS":
        if any(each == APP or each.startswith(f"{APP}.apps.") for each in value):
            return value
        _added = True
        return type(value)([*value, APP])
    if name == "MIDDLEWARE":
        wanted = [GROWING] if ROWS_VARIABLE in os.environ else []
        missing = [each for each in (*wanted, MIDDLEWARE) if each not in value]
        return type(value)([*missing, *value]) if missing else value
    return value


class _Extended:
    """Extends what a settings module, ``configure()`` or ``override_settings()`` assigns."""

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, _extended(name, value))


class _Settings(_Extended, django.conf.Settings):
    pass


class _UserSettingsHolder(_Extended, django.conf.UserSettingsHolder):
    def __init__(self, default_settings: Any) -> None:
        super().__init__(default_settings)
        # Of configure(): what the project does not name is read from the defaults.
        for name in ("INSTALLED_APPS", "MIDDLEWARE", "TEST_RUNNER"):
            value = getattr(default_settings, name, None)
            if _extended(name, value) is not value:
                setattr(self, name, value)


_Settings.__name__ = _Settings.__qualname__ = "Settings"
_UserSettingsHolder.__name__ = _UserSettingsHolder.__qualname__ = "UserSettingsHolder"
