"""Telling the project what was renewed: ``cache_renewed`` and ``dependencies_renewed``."""

from __future__ import annotations

from collections.abc import Collection

from django_querybudget.cache import tags
from django_querybudget.cache.surrogates import name_of
from django_querybudget.signals import cache_renewed, dependencies_renewed

__all__ = ["tell"]


def tell(alias: str | None, renewed: Collection[str]) -> None:
    """Send the signals for the tags ``renewed``, if anybody listens."""
    if cache_renewed.receivers:
        _tell_tables(alias, renewed)
    if dependencies_renewed.receivers:
        named = (tag for tag in renewed if not tags.is_of_lists(tag))
        names = frozenset(map(name_of, named))
        dependencies_renewed.send_robust(sender=None, alias=alias, names=names)


def _tell_tables(alias: str | None, renewed: Collection[str]) -> None:
    tables: set[str] = set()
    rows: dict[str, set[str]] = {}
    unknown: set[str] = set()
    names: set[str] = set()
    everything = False
    for tag in renewed:
        part = tags.parsed(tag)
        if part.kind == "u":
            names.add(part.name)
        elif part.kind == "*":
            everything = True
        elif part.kind != "?":
            tables.add(part.name)
            rows.setdefault(part.name, set())
            if part.kind == "r":
                rows[part.name].add(part.value)
            elif part.kind == "b":
                unknown.add(part.name)
    cache_renewed.send_robust(
        sender=None,
        alias=alias,
        tables=frozenset(tables),
        rows={name: frozenset(keys) for name, keys in rows.items() if name not in unknown},
        tags=frozenset(names),
        everything=everything,
    )
