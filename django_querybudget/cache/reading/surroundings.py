"""What a decorated function's answer depends on besides its arguments, and can be told.

The active language and time zone; the database that the routers choose for its model (for all else
that it reads: :mod:`.routes`). What else a function looks at cannot be seen from outside: it has to
be an argument.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import tzinfo
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from django.db import router
from django.utils import timezone, translation

__all__ = ["Surroundings", "surroundings"]


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
