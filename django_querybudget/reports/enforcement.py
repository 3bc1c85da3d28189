"""What happens when a budget is exceeded: raise, warn or log."""

from __future__ import annotations

import logging
import sys
import warnings

from django.conf import settings

from django_querybudget.conf import conf
from django_querybudget.exceptions import (
    NPlusOneError,
    NPlusOneWarning,
    QueryBudgetExceeded,
    QueryBudgetWarning,
)
from django_querybudget.messages.links import message_link, see

from .repeats import is_news
from .report import QueryReport

__all__ = ["enforce", "enforce_nplusone", "in_tests", "nplusone_policy", "policy"]

logger = logging.getLogger("django_querybudget")


def in_tests() -> bool:
    """Whether this process runs tests: Django's test environment is set up."""
    return hasattr(sys.modules.get("django.core.mail"), "outbox")


def policy(on_exceed: str | None) -> str:
    """Return ``on_exceed``, or the setting, or what the place suggests.

    A developer and a test suite are told at once, by an exception; a visitor is not to suffer.
    """
    return on_exceed or conf.ON_EXCEED or ("raise" if settings.DEBUG or in_tests() else "log")


def nplusone_policy() -> str:
    """Return the setting for N+1 queries, or what the place suggests.

    To look for causes costs a few hundredths of each request: visitors do not pay for it unasked.
    """
    return conf.NPLUSONE or ("log" if settings.DEBUG or in_tests() else "off")


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
        if report.unjudged:
            _tell_unjudged(report, on_exceed, in_flight=in_flight, logged=logged)
        if report.budget is not None and report.budget.nplusone is not None:
            enforce_nplusone(report, policy(on_exceed), in_flight=in_flight, logged=logged)
        return
    what = "log" if in_flight else policy(on_exceed)
    if what == "raise":
        raise QueryBudgetExceeded(str(report), report=report) from None
    if what == "warn":
        warnings.warn(str(report), QueryBudgetWarning, stacklevel=2)
    elif not logged:
        text = report if is_news(report) else report.brief
        logger.warning("%s", text, extra={"report": report})


_JUDGED_WHERE = (
    "Next: the driver does not tell how many rows it fetches (SQLite's, a server-side cursor's). "
    "Run this on PostgreSQL or MySQL, without iterator() in it; or leave rows out of the budget."
)


def _tell_unjudged(
    report: QueryReport, on_exceed: str | None, *, in_flight: bool, logged: bool
) -> None:
    """Raise where an error was asked for (an assertion asks for one), else log it once."""
    __tracebackhide__ = True
    next_step = f"{_JUDGED_WHERE} {see(message_link('rows-unknown'))}"
    if on_exceed == "raise" and not in_flight:
        limit = report.budget.rows if report.budget is not None else 0
        text = f"{report.name}: {report.unjudged}, budget is {limit} rows"
        raise QueryBudgetExceeded(f"{text}\n\n{next_step}", report=report) from None
    if not logged and is_news(report):
        logger.warning("%s. %s", report.headline, next_step, extra={"report": report})


def enforce_nplusone(
    report: QueryReport, what: str, *, in_flight: bool = False, logged: bool = False
) -> None:
    """Raise, warn or log (``what``), if ``report`` has N+1 queries.

    The rest is as in :func:`enforce`. Raises
    :class:`~django_querybudget.exceptions.NPlusOneError`.
    """
    __tracebackhide__ = True
    if what == "off" or not report.findings:
        return
    if what == "raise" and not in_flight:
        raise NPlusOneError(report.nplusone_text, report=report) from None
    if what == "warn" and not in_flight:
        warnings.warn(report.nplusone_text, NPlusOneWarning, stacklevel=2)
    elif not logged:
        text = report.nplusone_text if is_news(report) else report.brief
        logger.warning("%s", text, extra={"report": report})
