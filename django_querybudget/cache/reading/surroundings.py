"""What a decorated function's answer depends on besides its arguments, and can be told.

The active language and time zone; the database that the routers choose. What else a function
looks at cannot be seen from outside: it has to be an argument.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import tzinfo
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from django.apps import apps
from django.db import router
from django.utils import timezone, translation

from django_querybudget.cache import tags

__all__ = ["Surroundings", "routes", "surroundings"]


class Surroundings(NamedTuple):
    """What a call of a function found around it."""

    language: str | None
    zone: tzinfo | None
    alias: str
    """The alias that a read of the function's model would use; empty where no router is asked."""

    def spelled(self) -> str:
        """Return them as part of a key."""
        zone = self.zone
        name = zone.key if type(zone) is ZoneInfo else f"{type(zone).__qualname__} {zone}"
        return f"{self.language}|{name}|{self.alias}"

    @contextmanager
    def again(self) -> Iterator[None]:
        """Let the language and the time zone of the call be active in a block."""
        with translation.override(self.language), timezone.override(self.zone):
            yield


def surroundings(model: type[Any], alias: str | None) -> Surroundings:
    """Return what is around now. ``alias`` is that of a queryset that names one itself."""
    return Surroundings(
        translation.get_language(),
        timezone.get_current_timezone(),
        (alias or router.db_for_read(model)) if router.routers else "",
    )


def routes(found: Iterable[str]) -> dict[str, str]:
    """Return the databases that the routers choose now for the models of the tables in tags.

    Without routers, none.
    """
    if not router.routers:
        return {}
    tables = {tag.split(":", 3)[2] for tag in found if tag.count(":") > 1}
    return {
        model._meta.label_lower: tags.database_name(router.db_for_read(model))
        for model in apps.get_models(include_auto_created=True)
        if model._meta.db_table in tables
    }


def same_routes(before: dict[str, str]) -> bool:
    """Whether the routers would choose the same databases now."""
    try:
        return all(
            tags.database_name(router.db_for_read(apps.get_model(label))) == database
            for label, database in before.items()
        )
    except LookupError:  # a model that is gone by now
        return False
