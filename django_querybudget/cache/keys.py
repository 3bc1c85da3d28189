"""Keys of entries: the same text for the same question, another for any other."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Model

from .tags import digest

__all__ = ["Unkeyable", "entry_key", "spelled"]

VERSION = "1"
"""Part of every key: raised when the form of entries changes."""

_BY_REPR = frozenset(
    {str, int, float, bool, bytes, type(None), Decimal, UUID, date, datetime, time, timedelta}
)


class Unkeyable(TypeError):
    """A value that has no spelling in a key; the message names its type."""


def spelled(value: Any) -> str:  # noqa: PLR0911  # one type after another
    """Return a text that is the same for equal values, in any process, and for no others.

    Raises :class:`Unkeyable`.
    """
    kind = type(value)
    if kind in _BY_REPR:
        return f"{kind.__name__}:{value!r}"
    if kind in (tuple, list):
        return f"{kind.__name__}[{','.join(map(spelled, value))}]"
    if kind in (set, frozenset):
        return f"{kind.__name__}[{','.join(sorted(map(spelled, value)))}]"
    if isinstance(value, Mapping):
        items = sorted((spelled(key), spelled(item)) for key, item in value.items())
        return f"dict[{','.join(f'{key}={item}' for key, item in items)}]"
    if kind is memoryview:
        return f"memoryview:{value.tobytes()!r}"
    if isinstance(value, str | int):  # choices, lazy strings that were made to text
        return f"{kind.__module__}.{kind.__qualname__}:{kind.__mro__[-2].__name__}:{value!r}"
    if isinstance(value, Model):
        if value.pk is None:
            raise Unkeyable(f"an unsaved {value._meta.label}")
        return f"{value._meta.label_lower}:{value._state.db}:{spelled(value.pk)}"
    # psycopg's wrapper of a JSON parameter.
    if kind.__module__.startswith("psycopg") and hasattr(value, "obj"):
        return f"{kind.__qualname__}:{spelled(value.obj)}"
    raise Unkeyable(f"{kind.__module__}.{kind.__qualname__}")


def entry_key(*parts: str) -> str:
    """Return the cache key for ``parts``."""
    return f"qb:e:{digest(chr(0).join((VERSION, *parts)))}"
