"""Settings: one dict, ``QUERYBUDGET``; one typed property per setting, read live.

Each setting is declared once, with its default and what it accepts. The declaration serves two
readers: :mod:`django_querybudget.checks` reports every bad value at ``manage.py check``, and code
that meets a bad value in a request logs it once and goes on with the default.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from django.conf import settings as django_settings
from django.http import HttpRequest
from django.utils.functional import empty

from .accepted import (
    address_or_none,
    boolean,
    fraction,
    headers_policy,
    mapping_of_views,
    regexes,
    release,
    whole_number,
    word_or_none,
)
from .declaration import NO_VALUES, InvalidSetting, Section, Setting
from .sections import (
    CacheSettings,
    IgnoreQueriesSettings,
    IndexesSettings,
    ProductionSettings,
)
from .until import Accepted, accepted_patterns

__all__ = ["InvalidSetting", "QueryBudgetSettings", "Section", "Setting", "conf"]


_django: dict[str, Any] = object.__getattribute__(django_settings, "__dict__")


class QueryBudgetSettings(Section):
    """The keys of ``QUERYBUDGET``."""

    def __init__(self) -> None:
        super().__init__()
        self.overrides: dict[str, Any] = {}
        """What wins over the settings file, for a test runner's options. Not for hosts."""

    def values(self) -> Mapping[str, Any]:
        """The keys and values written, and the overrides."""
        # As written(), without a call: this is read several times in every cached read.
        wrapped = _django.get("_wrapped", empty)
        values = getattr(django_settings if wrapped is empty else wrapped, self.name, None)
        # A dict first: asking the abstract class costs as much as all the rest.
        if not isinstance(values, dict) and not isinstance(values, Mapping):
            values = NO_VALUES
        return {**values, **self.overrides} if self.overrides else values

    BUDGETS = Setting[Mapping[str, Any]](
        default={},
        parse=mapping_of_views,
        accepts=(
            'a dict of views ("jobs:list", "jobs:*", "/route/", "*", each with or without a '
            'method before it: "POST jobs:list") and their budgets (a number, a dict of '
            "dimensions, or None for no budget)"
        ),
    )
    """The budgets of views; the most specific name wins, a decorator's budget before all."""

    CACHE = CacheSettings()

    DOCS_URL = Setting[str | None](
        default=None,
        parse=address_or_none,
        accepts="an address that begins with https://, http:// or file://, or None",
    )
    """Where the built documentation is served; None: what the installed package's metadata say."""

    ENABLED = Setting(
        default=True,
        parse=boolean,
        accepts="True or False",
    )
    """Whether the middleware measures at all."""

    HEADERS = Setting[bool | Callable[[HttpRequest], bool] | None](
        default=None,
        parse=headers_policy,
        accepts=(
            "True, False, None (with DEBUG only), or the dotted path of a callable "
            "that takes the request and returns whether to send the headers"
        ),
    )
    """Who is sent the headers. Timing leaks, so strangers are not, unless this says so."""

    IGNORE_QUERIES = IgnoreQueriesSettings()
    """Statements that are left out of every count."""

    MAX_RECORDS = Setting[int](
        default=10_000,
        parse=whole_number(1),
        accepts="a whole number of 1 or more",
    )
    """How many statements one scope keeps; those after them are counted, and let go."""

    IGNORE_PATHS = Setting[tuple[re.Pattern[str], ...]](
        default=(),
        parse=regexes,
        accepts="a list of regular expressions, searched for in request.path",
    )
    """Requests that are not measured: health checks, static files."""

    NPLUSONE = Setting[str | None](
        default=None,
        parse=word_or_none("raise", "warn", "log", "off"),
        accepts='"raise", "warn", "log", "off", or None (log in tests and with DEBUG, else off)',
    )
    """What becomes of an N+1 that a measured view or a test has; "off" reads no stack for it."""

    NPLUSONE_ALLOW = Setting[tuple[Accepted, ...]](
        default=(),
        parse=accepted_patterns,
        accepts=(
            'a list of relations ("jobs.Job.client", "Job.*") and of globs of files '
            '("*/legacy/*.py"), each alone or as a dict of pattern, until ("2027-03-01") and issue '
            "(a link)"
        ),
    )
    """N+1 queries that are known and accepted."""

    NPLUSONE_THRESHOLD = Setting[int](
        default=3,
        parse=whole_number(2),
        accepts="a whole number of 2 or more",
    )
    """How often one line must run one shape before it is called a loop."""

    ON_EXCEED = Setting[str | None](
        default=None,
        parse=word_or_none("raise", "warn", "log"),
        accepts='"raise", "warn", "log", or None (raise in tests and with DEBUG, else log)',
    )
    """What happens when a budget is exceeded that does not say so itself."""

    ORIGINS = Setting(
        default=True,
        parse=boolean,
        accepts="True or False",
    )
    """Whether the middleware notes the line of code that each query comes from."""

    PRODUCTION = ProductionSettings()
    """The record of production; nothing is kept where the section is not there."""

    RELEASE = Setting[str | None](
        default=None,
        parse=release,
        accepts="a string of 1 to 100 printable characters, or None",
    )
    """Which release of the project this process runs, to compare it with the one before."""

    SAMPLE_RATE = Setting[float](
        default=1.0,
        parse=fraction,
        accepts="a number from 0 (no request is measured) to 1 (every request is)",
    )
    """The share of requests that are measured, drawn at random for each."""

    SHOW_PARAMETERS = Setting(
        default=False,
        parse=boolean,
        accepts="True or False",
    )
    """Whether reports show the queries' parameters, which may be secrets."""

    VERBOSITY = Setting(
        default=0,
        parse=whole_number(0, 2),
        accepts="0, 1 (all shapes and lines) or 2 (their whole SQL)",
    )
    """How much a report shows."""

    INDEXES = IndexesSettings()
    """Of the index checks, the audit and the advisor."""


conf = QueryBudgetSettings()
conf.name = "QUERYBUDGET"
