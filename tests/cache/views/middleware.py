"""What stands above the cached views."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from typing import Any

from django.utils import timezone, translation


def sets_tenant(get_response: Any) -> Any:
    """Put the tenant of a header on the request, as tenants' packages do."""

    def call(request: Any) -> Any:
        request.tenant = request._tenant = request.META.get("HTTP_X_TENANT", "public")
        return get_response(request)

    return call


def sets_zone(get_response: Any) -> Any:
    """Activate the visitor's time zone."""

    def call(request: Any) -> Any:
        with timezone.override(request.META.get("HTTP_X_ZONE", "UTC")):
            return get_response(request)

    return call


def acts_as(get_response: Any) -> Any:
    """Let staff act as another user, and mark that user."""

    def call(request: Any) -> Any:
        if other := request.META.get("HTTP_X_ACT_AS"):
            from django.contrib.auth import get_user_model

            acting = request.user.username
            request.user = get_user_model().objects.get(username=other)
            request.user.acting = acting
        return get_response(request)

    return call


def marks(get_response: Any) -> Any:
    """Note on the user what the visitor was shown, logged in or not."""

    def call(request: Any) -> Any:
        if mark := request.META.get("HTTP_X_MARK"):
            request.user.mark = mark
        return get_response(request)

    return call


kept = threading.local()
"""What a middleware keeps elsewhere than on the request."""


def keeps_user(get_response: Any) -> Any:
    """Keep the visitor for the code below, as packages for the history of rows do."""

    def call(request: Any) -> Any:
        kept.user = request.user
        if request.META.get("HTTP_X_LOOK"):
            bool(request.user.is_staff)  # evaluated
        return get_response(request)

    return call


def overrides(get_response: Any) -> Any:
    """Let headers say the method, the language that is active, and a parameter."""

    def call(request: Any) -> Any:
        request.method = request.META.get("HTTP_X_METHOD", request.method)
        if page := request.META.get("HTTP_X_PAGE"):
            request.GET = request.GET.copy()
            request.GET["page"] = page
        language = request.META.get("HTTP_X_ACTIVE")
        with translation.override(language) if language else nullcontext():
            return get_response(request)

    return call


class ByThread:
    """A router that answers by what a middleware keeps for the thread."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return getattr(kept, "database", None)

    db_for_write = db_for_read


def picks_database(get_response: Any) -> Any:
    """Let a header say the database, as packages for a database for each tenant do."""

    def call(request: Any) -> Any:
        kept.database = request.META.get("HTTP_X_DATABASE")
        try:
            return get_response(request)
        finally:
            kept.database = None

    return call
