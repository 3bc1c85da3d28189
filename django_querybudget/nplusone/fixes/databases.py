"""Whether two models can be asked in one query: :func:`can_be_joined`. A router may part them.

What two databases hold can be prefetched, each asked by itself, and never joined.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.db import connections, router
from django.db.models import Model

__all__ = ["can_be_joined"]


def can_be_joined(asked: str, answered: str, models: Iterable[type[Model] | None]) -> bool:
    """Whether a query of the alias ``asked`` can join what the alias ``answered`` was asked for.

    ``models`` are those on the way: the routers say whether their tables stand in the first.
    """
    if not _is_one_database(asked, answered):
        return False
    try:
        return all(each is None or router.allow_migrate_model(asked, each) for each in models)
    except Exception:  # the project's router: where it does not say yes, nothing is joined
        return False


def _is_one_database(first: str, second: str) -> bool:
    """Whether two aliases name one database: a mirror in tests, or a second connection."""
    if first == second:
        return True
    one, other = (connections.settings.get(each) for each in (first, second))
    if one is None or other is None:
        return False
    if second == one["TEST"]["MIRROR"] or first == other["TEST"]["MIRROR"]:
        return True
    return all(one[key] == other[key] for key in ("ENGINE", "NAME", "HOST", "PORT"))
