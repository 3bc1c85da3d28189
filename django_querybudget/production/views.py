"""The page's views: for staff alone, with a policy that lets nothing but our stylesheet in."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import resolve_url
from django.urls import NoReverseMatch, reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from .pages import render_overview, render_series, stylesheet
from .reading import parse_duration, read_picture
from .record import SeriesKey

__all__ = ["overview", "series", "style"]

CSP = (
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
DEFAULT = "1h"

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
        response = view(request)
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


@_for_staff
def overview(request: HttpRequest) -> HttpResponse:
    """All series, by total database time."""
    since = request.GET.get("since", DEFAULT)
    try:
        picture = read_picture(parse_duration(since))
    except ValueError:
        return HttpResponseBadRequest("since is no time: write 30m, 6h or 2d.", "text/plain")
    return HttpResponse(render_overview(picture, since, style=reverse("querybudget:style")))


@_for_staff
def series(request: HttpRequest) -> HttpResponse:
    """One series."""
    since = request.GET.get("since", DEFAULT)
    try:
        picture = read_picture(parse_duration(since))
    except ValueError:
        return HttpResponseBadRequest("since is no time: write 30m, 6h or 2d.", "text/plain")
    key = SeriesKey(*(request.GET.get(name, "") for name in SeriesKey._fields))
    page = render_series(
        picture,
        key,
        since,
        style=reverse("querybudget:style"),
        home=reverse("querybudget:overview"),
    )
    return HttpResponse(page)


@_for_staff
def style(request: HttpRequest) -> HttpResponse:
    """The stylesheet."""
    return HttpResponse(stylesheet(), "text/css; charset=utf-8")
