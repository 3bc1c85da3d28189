"""``using``: which databases are meant. Reads ``DATABASES``, opens no connection."""

from __future__ import annotations

from collections.abc import Collection

from django.db import connections

__all__ = ["checked_aliases", "named_aliases"]


def named_aliases(using: str | Collection[str] | None) -> frozenset[str] | None:
    """Return the aliases that ``using`` names; None for all databases.

    Raises ``TypeError`` for what is no alias, ``ValueError`` for a collection of none.
    """
    if using is None:
        return None
    aliases = [using] if isinstance(using, str) or not isinstance(using, Collection) else using
    for alias in aliases:
        if not isinstance(alias, str):
            raise TypeError(f"using names databases by alias, a string; got {alias!r}.")
    if not aliases:
        raise ValueError(f"using={using!r} names no database; leave it out to listen to all.")
    return frozenset(aliases)


def checked_aliases(using: str | Collection[str] | None) -> frozenset[str] | None:
    """Return what :func:`named_aliases` does; raises ``ValueError`` if ``DATABASES`` lacks one."""
    aliases = named_aliases(using)
    for alias in sorted(aliases or ()):
        if alias not in connections.settings:
            known = ", ".join(sorted(connections.settings))
            raise ValueError(f"using={alias!r} is not in DATABASES; the aliases are: {known}.")
    return aliases
