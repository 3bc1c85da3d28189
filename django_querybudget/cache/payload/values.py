"""Values as JSON and back: columns of them, each with a code that says how to read it.

Reading executes nothing: a code stands for one of the functions below, whatever was stored. A
value of any other type raises :class:`Unfreezable`; nothing is stored then.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

__all__ = [
    "FrozenColumn",
    "Unfreezable",
    "copied",
    "freeze_column",
    "freeze_value",
    "is_of_plain_values",
    "thaw_column",
    "thaw_value",
]

_RAW = frozenset({str, int, float, bool, type(None)})


class Unfreezable(TypeError):
    """A value that the cache does not store; the message names its type."""


def _is_plain_json(value: Any) -> bool:
    kind = type(value)
    if kind in _RAW:
        return True
    if kind is list:
        return all(map(_is_plain_json, value))
    if kind is dict:
        return all(type(key) is str for key in value) and all(map(_is_plain_json, value.values()))
    return False


def _freeze_datetime(value: datetime) -> str:
    if value.tzinfo not in (None, UTC) or value.fold:
        raise Unfreezable
    return value.isoformat()


def _thaw_timedelta(parts: Sequence[int]) -> timedelta:
    return timedelta(*parts)


# Types with a code of their own: how to write one, how to read one.
_CODES: dict[type, tuple[str, Callable[[Any], Any], Callable[[Any], Any]]] = {
    Decimal: ("D", str, Decimal),
    datetime: ("t", _freeze_datetime, datetime.fromisoformat),
    date: ("d", date.isoformat, date.fromisoformat),
    uuid.UUID: ("u", str, uuid.UUID),
    timedelta: (
        "i",
        lambda value: [value.days, value.seconds, value.microseconds],
        _thaw_timedelta,
    ),
    bytes: ("b", lambda value: base64.b64encode(value).decode("ascii"), base64.b64decode),
    memoryview: (
        "m",
        lambda value: base64.b64encode(value.tobytes()).decode("ascii"),
        lambda text: memoryview(base64.b64decode(text)),
    ),
}
_READERS = {code: read for code, _, read in _CODES.values()}


_PLAIN = _RAW | _CODES.keys()


def is_of_plain_values(values: Sequence[Any]) -> bool:
    """Whether a column holds values that are what they are: no containers, no objects."""
    return _PLAIN.issuperset(map(type, values))


def freeze_column(values: Sequence[Any]) -> list[Any]:
    """Return ``[code, values]`` for JSON. Raises :class:`Unfreezable`."""
    kinds = set(map(type, values))
    if kinds <= _RAW:
        return ["", list(values)]
    own = kinds - {type(None)}
    if len(own) == 1 and (entry := _CODES.get(next(iter(own)))):
        code, write, _ = entry
        try:
            return [code, [None if value is None else write(value) for value in values]]
        except Unfreezable:
            pass
    elif all(map(_is_plain_json, values)):
        return ["", list(values)]
    return ["x", [freeze_value(value) for value in values]]


class FrozenColumn:
    """A frozen column that is read over and over.

    Values that cannot change are read once, and are the same objects each time.
    """

    __slots__ = ("_frozen", "_values", "is_shared")

    def __init__(self, frozen: Sequence[Any]) -> None:
        code, raw = frozen
        self.is_shared = code not in ("x", "m") and (code != "" or _RAW.issuperset(map(type, raw)))
        self._frozen = frozen
        self._values = thaw_column(frozen) if self.is_shared else None

    def values(self) -> list[Any]:
        """Return the values; the list is not the caller's to change."""
        return thaw_column(self._frozen) if self._values is None else self._values


def thaw_column(column: Sequence[Any]) -> list[Any]:
    """Return the values that :func:`freeze_column` was given; what is mutable in new objects."""
    code, values = column
    if code == "":
        return [value if type(value) in _RAW else copied(value) for value in values]
    if code == "x":
        return [thaw_value(value) for value in values]
    read = _READERS[code]
    return [None if value is None else read(value) for value in values]


def copied(value: object) -> Any:
    """Return a copy of what is mutable in JSON; anything else as it is."""
    if isinstance(value, list):
        return [copied(item) for item in value]
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    return value


def freeze_value(value: Any) -> Any:  # noqa: PLR0911  # one type after another
    """Return one value for JSON: as it is, or as a list of a code and its content."""
    kind = type(value)
    if kind in _RAW:
        return value
    if kind in (list, tuple):
        return ["L" if kind is list else "T", *map(freeze_value, value)]
    if kind is dict:
        if all(type(key) is str for key in value):
            return ["O", {key: freeze_value(item) for key, item in value.items()}]
        return ["P", *([freeze_value(key), freeze_value(item)] for key, item in value.items())]
    if kind is datetime and isinstance(value.tzinfo, ZoneInfo) and value.tzinfo.key:
        naive = value.replace(tzinfo=None, fold=0)
        return ["z", naive.isoformat(), value.tzinfo.key, value.fold]
    if kind is datetime and value.tzinfo is None:
        return ["n", value.replace(fold=0).isoformat(), value.fold]
    if kind is time and value.tzinfo is None:
        return ["c", value.isoformat()]
    if entry := _CODES.get(kind):
        try:
            return [entry[0], entry[1](value)]
        except Unfreezable:
            pass
    raise Unfreezable(f"{kind.__module__}.{kind.__qualname__}")


def thaw_value(frozen: object) -> Any:
    """Return the value that :func:`freeze_value` was given. Raises for what it never wrote."""
    if type(frozen) is not list:
        if isinstance(frozen, dict):
            raise ValueError("an object without its code")  # not a caller's type
        return frozen
    code, *content = frozen
    if code in _READERS:
        return _READERS[code](content[0])
    return _NESTED[code](content)


def _thaw_all(content: Iterable[Any]) -> list[Any]:
    return [thaw_value(item) for item in content]


_NESTED: dict[str, Callable[[list[Any]], Any]] = {
    "L": _thaw_all,
    "T": lambda content: tuple(_thaw_all(content)),
    "O": lambda content: {key: thaw_value(item) for key, item in content[0].items()},
    "P": lambda content: {thaw_value(key): thaw_value(item) for key, item in content},
    "z": lambda content: datetime.fromisoformat(content[0]).replace(
        tzinfo=ZoneInfo(content[1]), fold=content[2]
    ),
    "n": lambda content: datetime.fromisoformat(content[0]).replace(fold=content[1]),
    "c": lambda content: time.fromisoformat(content[0]),
}
