"""Where the documentation says more of a message: one short link at the end of each.

A page of ``docs/reference`` and an anchor in it. All links are made here, when they are told: what
they begin with is a setting, else what the package's own metadata say, else the folder ``docs/`` of
the project's repository.
"""

from __future__ import annotations

from functools import cache
from importlib import metadata

from django.conf import settings

from django_querybudget.conf import conf

__all__ = ["DISTRIBUTION", "DOCS", "check_link", "message_link", "see"]

DOCS = "docs/"
"""What every link begins with where no address is known: the documentation's folder."""

DISTRIBUTION = "django-querybudget"
"""Whose metadata may name the documentation's address: ``Project-URL: Documentation, …``."""


def message_link(kind: str) -> str:
    """Return the link of a kind of message, ``"budget-exceeded"``."""
    return _link("messages", kind)


def check_link(check: str) -> str:
    """Return the link of a system check, ``"querybudget.W010"``."""
    return _link("checks", check.lower().replace(".", "-"))


def see(link: str) -> str:
    """Return the last line of a message."""
    return f"See {link}"


def _link(page: str, anchor: str) -> str:
    # Settings that were not loaded yet are not loaded for a link.
    address = (conf.DOCS_URL if settings.configured else None) or _published()
    if address is None:
        return f"{DOCS}reference/{page}.rst#{anchor}"
    return f"{address}/reference/{page}.html#{anchor}"


@cache
def _published() -> str | None:
    """Return the address that the installed package names, without a slash at its end."""
    try:
        urls = metadata.metadata(DISTRIBUTION).get_all("Project-URL") or ()
    except metadata.PackageNotFoundError:  # A folder on the path, of no package.
        return None
    for each in urls:
        label, _, address = each.partition(",")
        if label.strip().lower() == "documentation":
            return address.strip().rstrip("/") or None
    return None
