"""System checks: what is wrong with the settings, said at ``manage.py check``.

===================  ============================================================
``querybudget.E001``  A key of ``QUERYBUDGET`` is unknown, or its value is not accepted.
``querybudget.W001``  Middleware that may query stands above ``QueryBudgetMiddleware``.
===================  ============================================================

:mod:`.budget_checks` adds ``querybudget.E010``, ``E011`` and ``W010``.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from .conf import conf

MIDDLEWARE = "django_querybudget.middleware.QueryBudgetMiddleware"

# Django's own middleware that sends no query, and may stand above ours.
_QUERYLESS = (
    "django.middleware.common.CommonMiddleware",
    "django.middleware.gzip.GZipMiddleware",
    "django.middleware.http.ConditionalGetMiddleware",
    "django.middleware.security.SecurityMiddleware",
)


@register("querybudget")
def check_settings(**_: Any) -> list[CheckMessage]:
    """Report every key and value of ``QUERYBUDGET`` that no setting accepts."""
    return [
        Error(f"{error.name} {error.problem}.", hint=error.hint, id="querybudget.E001")
        for error in conf.errors()
    ]


@register("querybudget")
def check_middleware_order(**_: Any) -> list[CheckMessage]:
    """Report middleware above ours, whose queries are not in any count."""
    middleware = list(settings.MIDDLEWARE)
    if MIDDLEWARE not in middleware:
        return []
    above = [name for name in middleware[: middleware.index(MIDDLEWARE)] if name not in _QUERYLESS]
    if not above:
        return []
    return [
        Warning(
            f"Queries of {', '.join(above)} are not counted: it stands above {MIDDLEWARE}.",
            hint=f"Put {MIDDLEWARE!r} first in MIDDLEWARE.",
            id="querybudget.W001",
        )
    ]
