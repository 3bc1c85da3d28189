"""What happens when a budget is exceeded: raise, warn or log."""

from __future__ import annotations

import logging
import sys
import warnings

from django.conf import settings

from .conf import conf
from .exceptions import QueryBudgetExceeded, QueryBudgetWarning
from .reports import QueryReport

__all__ = ["enforce", "in_tests", "policy"]

logger = logging.getLogger("django_querybudget")


def in_tests() -> bool:
    """Whether this process runs tests: Django's test environment is set up."""
    return hasattr(sys.modules.get("django.core.mail"), "outbox")


def policy(on_exceed: str | None) -> str:
    """Return ``on_exceed``, or the setting, or what the place suggests.

    A developer and a test suite are told at once, by an exception; a visitor is not to suffer.
    """
    return on_exceed or conf.ON_EXCEED or ("raise" if settings.DEBUG or in_tests() else "log")


def enforce(
    report: QueryReport,
    on_exceed: str | None = None,
    *,
    in_flight: bool = False,
    logged: bool = False,
) -> None:
    """Raise, warn or log, if ``report`` exceeds its budget.

    ``in_flight`` is whether an exception is on its way already, or a response was sent in part:
    then nothing is raised, but logged. ``logged`` is whether that was done already. Raises
    :class:`~django_querybudget.exceptions.QueryBudgetExceeded`.
    """
    __tracebackhide__ = True
    if not report.violations:
        return
    what = "log" if in_flight else policy(on_exceed)
    if what == "raise":
        raise QueryBudgetExceeded(str(report), report=report) from None
    if what == "warn":
        warnings.warn(str(report), QueryBudgetWarning, stacklevel=2)
    elif not logged:
        logger.warning("%s", report, extra={"report": report})
