"""The page's views: for staff alone, with a policy that lets nothing but our stylesheet in."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import cache, wraps
from typing import TYPE_CHECKING

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import resolve_url
from django.urls import NoReverseMatch, reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from django_querybudget.conf import conf
from django_querybudget.exceptions import LockFileError
from django_querybudget.sql.fingerprints import identifiers

from . import pages
from .decoding import Wanted
from .reading import Picture, Unreadable, parse_duration, picture_of
from .record import SeriesKey

if TYPE_CHECKING:
    from django_querybudget.cache.stats import CacheStats
    from django_querybudget.indexes.audit.findings import IndexFinding

__all__ = ["cache_page", "database", "overview", "series", "style", "tests"]

CSP = (
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
DEFAULT = "1h"
DEFAULT_OF_DATABASES = "24h"
"""Their statistics are of weeks: a shape that ran an hour ago is to be known again."""

View = Callable[[HttpRequest], HttpResponse]


def _for_staff(view: View) -> View:
    """Let in who may enter the admin; send others to its login, as it does."""

    @wraps(view)
    def asked(request: HttpRequest) -> HttpResponse:
        user = getattr(request, "user", None)
        if user is None:
            raise PermissionDenied("AuthenticationMiddleware is not in MIDDLEWARE.")
        if not (user.is_active and user.is_staff):
            return redirect_to_login(request.get_full_path(), _login())
        try:
            response = view(request)
        except _BadSince:
            told = "since is no time: write 30m, 6h or 2d."
            response = HttpResponseBadRequest(told, "text/plain")
        except Unreadable as error:
            told = pages.render_problem(str(error), _frame(DEFAULT))
            response = HttpResponse(told, status=503)
        response.headers["Content-Security-Policy"] = CSP
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "same-origin"
        return response

    return never_cache(require_safe(asked))


def _login() -> str:
    try:
        return reverse("admin:login")
    except NoReverseMatch:
        return resolve_url(settings.LOGIN_URL)


class _BadSince(ValueError):
    """What was asked for is no time."""


def _asked(
    request: HttpRequest, wanted: Wanted, default: str = DEFAULT
) -> tuple[Picture, pages.Frame]:
    since = request.GET.get("since", default)
    try:
        seconds = parse_duration(since)
    except ValueError as error:
        raise _BadSince from error
    return picture_of(seconds, wanted), _frame(since)


def _frame(since: str) -> pages.Frame:
    return pages.Frame(reverse("querybudget:overview"), since)


@_for_staff
def overview(request: HttpRequest) -> HttpResponse:
    """All series, by total database time."""
    picture, frame = _asked(request, False)
    return HttpResponse(pages.render_overview(picture, frame, every="all" in request.GET))


@_for_staff
def series(request: HttpRequest) -> HttpResponse:
    """One series."""
    key = SeriesKey(*(request.GET.get(name, "") for name in SeriesKey._fields))
    picture, frame = _asked(request, key)
    found = picture.whole.series.get(key)
    tables = identifiers(" ".join(shape.sql for shape in found.shapes)) if found else frozenset()
    findings = [each for each in _index_findings() if each.table in tables]
    return HttpResponse(pages.render_series(picture, key, frame, findings))


@_for_staff
def database(request: HttpRequest) -> HttpResponse:
    """What the databases themselves say, and what the indexes lack."""
    from .explained import explained  # what follows is for this page alone
    from .statements import postgresql_aliases, read_statements

    picture, frame = _asked(request, True, DEFAULT_OF_DATABASES)
    found = [explained(read_statements(each), picture.whole) for each in postgresql_aliases()]
    return HttpResponse(pages.render_databases(found, _index_findings(), frame))


@_for_staff
def cache_page(_request: HttpRequest) -> HttpResponse:
    """What the cache does, and what its audit saw."""
    return HttpResponse(pages.render_cache(_cache_stats(), _frame(DEFAULT)))


@_for_staff
def tests(request: HttpRequest) -> HttpResponse:
    """What the tests do not see."""
    from django_querybudget.ratchet import lockfile  # as above

    from .tested import lock_file, tested

    picture, frame = _asked(request, False)
    path = lock_file()
    problem, found = "", None
    try:
        if path.exists():
            found = tested(picture.whole, lockfile.read(path).lines)
    except LockFileError as error:
        problem = str(error)
    return HttpResponse(pages.render_tests(found, problem, frame))


@_for_staff
def style(request: HttpRequest) -> HttpResponse:
    """The stylesheet."""
    return HttpResponse(pages.stylesheet(), "text/css; charset=utf-8")


def _cache_stats() -> CacheStats | None:
    # Not imported where nothing is cached: to import the cache is to watch writes.
    if conf.CACHE.written() is None and "django_querybudget.cache" not in sys.modules:
        return None
    from django_querybudget.cache import cache_stats

    return cache_stats(all_processes=True)


@cache
def _index_findings() -> Sequence[IndexFinding]:
    """Return what the models' indexes lack, as far as no database is asked."""
    from django_querybudget.indexes.audit.models import audit_models, audited_models

    ignored = conf.INDEXES.IGNORE
    installed = audited_models(third_party=conf.INDEXES.THIRD_PARTY)
    found = [each for each in audit_models(installed) if not each.is_ignored(ignored)]
    return tuple(sorted(found, key=lambda each: (-each.severity.value, each.key)))
