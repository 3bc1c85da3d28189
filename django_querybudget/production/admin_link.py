"""A link to the page in the index of Django's admin: :func:`add_to_admin`.

Added to the sites that are there when the page's URLs are included, and shown where those URLs can
be reversed. No model stands behind it: that would be a row in the host's content types, and a
migration.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.urls import NoReverseMatch, reverse

if TYPE_CHECKING:
    from django.http import HttpRequest

__all__ = ["add_to_admin"]

LABEL = "querybudget"
AppList = list[dict[str, Any]]


def add_to_admin() -> None:
    """Add the link to each site of the admin, once."""
    if not apps.is_installed("django.contrib.admin"):
        return
    from django.contrib.admin.sites import all_sites  # only where it is installed

    for site in all_sites:
        if not isinstance(site.__dict__.get("get_app_list"), _WithLink):
            vars(site)["get_app_list"] = _WithLink(_app_list, site.get_app_list)


class _WithLink(partial[AppList]):
    """A site's ``get_app_list()``, which a host may have written itself, and the link."""


def _app_list(
    own: Callable[..., AppList], request: HttpRequest, app_label: str | None = None
) -> AppList:
    """Return what the admin lists; it asks for nobody who may not enter it."""
    found = own(request) if app_label is None else own(request, app_label)
    if app_label is None:
        try:
            url = reverse("querybudget:overview")
        except NoReverseMatch:
            return found
        found = [*found, _entry(url)]
    return found


def _entry(url: str) -> dict[str, Any]:
    """Return an app as the admin's templates know them."""
    page = {
        "model": None,
        "name": "What each view costs the database",
        "object_name": "Production",
        "perms": {"add": False, "change": False, "delete": False, "view": True},
        "admin_url": url,
        "add_url": None,
        "view_only": True,
    }
    return {
        "name": "Query budgets",
        "app_label": LABEL,
        "app_url": url,
        "has_module_perms": True,
        "models": [page],
    }
