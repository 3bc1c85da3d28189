"""Keys of entries: the same text for the same question, another for any other.

How a value is spelled
    By the plain type that it is or extends, never by its own ``repr()``: that may leave out what
    tells it apart (a secret, an enum's value). A text stands in quotes, so that no separator in it
    can be taken for one of ours.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import Model

from .lazy import unwrapped
from .tags import digest

__all__ = ["Unkeyable", "class_name", "entry_key", "spelled"]

VERSION = "3"
"""Part of every key: raised when the form of entries changes."""


class Unkeyable(TypeError):
    """A value that has no spelling in a key; the message names its type."""


def _zone(zone: tzinfo | None, at: datetime | time) -> str:
    if zone is None:
        return ""
    if zone is UTC:
        return "UTC"
    if type(zone) is ZoneInfo and zone.key:
        return f"zone {str.__repr__(zone.key)}"
    kind = type(zone)
    name = "offset" if kind is timezone else f"{kind.__module__}.{kind.__qualname__}"
    return f"{name} {at.utcoffset()!r} {at.tzname()!r}"


def _datetime(value: datetime) -> str:
    return f"{datetime.isoformat(value)} {value.fold} {_zone(value.tzinfo, value)}"


def _time(value: time) -> str:
    return f"{time.isoformat(value)} {value.fold} {_zone(value.tzinfo, value)}"


# How a value of each plain type is spelled. None of it calls what a subclass may have of its own.
_PLAIN: dict[type, Callable[[Any], str]] = {
    str: str.__repr__,
    bool: bool.__repr__,
    int: int.__repr__,
    float: float.__repr__,
    bytes: bytes.__repr__,
    type(None): repr,
    Decimal: Decimal.__str__,
    UUID: lambda value: f"{value.int:032x}",
    datetime: _datetime,
    date: date.isoformat,
    time: _time,
    timedelta: lambda value: f"{value.days} {value.seconds} {value.microseconds}",
    memoryview: lambda value: bytes.__repr__(value.tobytes()),
}


def spelled(value: Any) -> str:
    """Return a text that is the same for equal values, in any process, and for no others.

    Equal are values of one type: ``1``, ``True`` and ``Decimal(1)`` are not. A model instance is
    spelled by its primary key. Raises :class:`Unkeyable`.
    """
    kind = type(value)
    if write := _PLAIN.get(kind):
        return f"{kind.__name__}:{write(value)}"
    try:
        return _spelled(kind, value)
    except RecursionError:
        raise Unkeyable(f"a {kind.__name__} that holds itself, or is nested too deep") from None


def _spelled(kind: type, value: Any) -> str:  # noqa: PLR0911  # one type after another
    if kind in (tuple, list):
        return f"{kind.__name__}[{','.join(map(spelled, value))}]"
    if kind in (set, frozenset):
        return f"{kind.__name__}[{','.join(sorted(map(spelled, value)))}]"
    if isinstance(value, Mapping):
        items = sorted((spelled(key), spelled(item)) for key, item in value.items())
        content = f"[{','.join(f'{key}={item}' for key, item in items)}]"
        return f"dict{content}" if kind is dict else f"{class_name(kind)}{content}"
    if (behind := unwrapped(value)) is not value:
        return spelled(behind)
    if isinstance(value, Model):
        if value.pk is None:
            raise Unkeyable(f"an unsaved {value._meta.label}")
        return f"{value._meta.label_lower}:{spelled(value.pk)}"
    if isinstance(value, Enum):  # by its value: a deployment may change it, and keep the name
        return f"{class_name(kind)}:{spelled(value.value)}"
    # psycopg's wrapper of a JSON parameter.
    if kind.__module__.startswith("psycopg") and hasattr(value, "obj"):
        return f"{kind.__qualname__}:{spelled(value.obj)}"
    return _extended(value)


def _extended(value: object) -> str:
    """Spell an instance of a class that extends a plain one, with the state that it adds."""
    kind = type(value)
    plain = next((each for each in kind.__mro__ if each in _PLAIN), None)
    if plain is None:
        # Without a row or any state: each is equal to each.
        if (kind.__module__, kind.__qualname__) != ("django.contrib.auth.models", "AnonymousUser"):
            raise Unkeyable(f"{kind.__module__}.{kind.__qualname__}")
        text = ""
    else:
        text = f"{plain.__name__}:{_PLAIN[plain](value)}"
    state = getattr(value, "__dict__", None)
    own = spelled(dict(state)) if state else ""
    return f"{class_name(kind)}:{text}{own}"


def class_name(kind: type) -> str:
    """Return the name of a class. Raises :class:`Unkeyable` where others may have the same one."""
    found: Any = sys.modules.get(kind.__module__)
    for name in kind.__qualname__.split("."):
        found = getattr(found, name, None)
    if found is not kind:
        raise Unkeyable(f"{kind.__module__}.{kind.__qualname__}, which no module has")
    return f"{kind.__module__}.{kind.__qualname__}"


def entry_key(*parts: str) -> str:
    """Return the cache key for ``parts``."""
    # In quotes: a part of the host's own may hold the character that separates them.
    return f"qb:e:{digest(','.join(map(str.__repr__, (VERSION, *parts))))}"
