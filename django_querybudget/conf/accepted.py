"""What settings accept: each function returns what a value stands for, or raises."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest
from django.utils.module_loading import import_string


def boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def whole_number(least: int, most: float = math.inf) -> Callable[[object], int]:
    """Return what accepts a whole number from ``least`` to ``most``, both included."""

    def accepted(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError
        return value

    return accepted


def number(least: float, most: float) -> Callable[[object], float]:
    """Return what accepts a number, whole or not, from ``least`` to ``most``, both included."""

    def accepted(value: object) -> float:
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not least <= value <= most
        ):
            raise ValueError
        return float(value)

    return accepted


fraction = number(0, 1)
seconds = number(0, math.nextafter(2**31, 0))
"""What a cache's server takes for a time: less than 2³¹."""


def word_or_none(*words: str) -> Callable[[object], str | None]:
    """Return what accepts one of ``words``, or None."""

    def accepted(value: object) -> str | None:
        if value is None or (isinstance(value, str) and value in words):
            return value
        raise ValueError

    return accepted


def address_or_none(value: object) -> str | None:
    """Accept None, or an address; return it without a slash at its end."""
    if value is None:
        return None
    if not isinstance(value, str) or not re.fullmatch(r"(?:https?|file)://[^\s#?]+", value):
        raise ValueError
    return value.rstrip("/")


def regexes(value: object) -> tuple[re.Pattern[str], ...]:
    if isinstance(value, str) or not isinstance(value, list | tuple):
        raise TypeError
    try:
        patterns = tuple(re.compile(item) for item in value)
    except re.error as error:
        raise ValueError(f"{error.pattern!r}: {error}") from error
    for pattern in patterns:
        if not isinstance(pattern.pattern, str):
            raise TypeError(f"{pattern.pattern!r} matches bytes, not text")
    return patterns


def imported_callable(value: object) -> Callable[..., Any]:
    """The callable that a dotted path names, or the callable itself."""
    found = import_string(value) if isinstance(value, str) else value
    if not callable(found):
        raise TypeError("it is not callable")
    return cast("Callable[..., Any]", found)


def sync_callable(value: object) -> Callable[..., Any]:
    """As :func:`imported_callable`, for one that is called without ``await``."""
    found = imported_callable(value)
    # B004 wants callable(), which does not say whether an object's own __call__ is async.
    if iscoroutinefunction(found) or iscoroutinefunction(getattr(found, "__call__", None)):  # noqa: B004
        raise TypeError("it is async, and it is called without await")
    return found


def mapping_of_views(value: object) -> Mapping[str, Any]:
    """The dict as it is: what its values stand for is known where they are used, and checked."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise TypeError
    return value


def headers_policy(value: object) -> bool | Callable[[HttpRequest], bool] | None:
    if value is None or isinstance(value, bool):
        return value
    # An async one's answer would be a coroutine, which is true: the headers would go to everybody.
    return sync_callable(value)


def strings(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise TypeError
    return tuple(value)


def some_seconds(value: object) -> float:
    if not (found := seconds(value)):
        raise ValueError
    return found


def seconds_or_none(value: object) -> float | None:
    return None if value is None else some_seconds(value)


def nonempty_string(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError
    return value


def release(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not 1 <= len(value) <= 100 or not value.isprintable():
        raise ValueError
    return value


def key_prefix(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[\x21-\x7e]{0,50}", value):
        raise ValueError
    return value


def string_set(value: object) -> frozenset[str]:
    if isinstance(value, str) or not isinstance(value, list | tuple | set | frozenset):
        raise TypeError
    return frozenset(nonempty_string(item) for item in value)


def dotted_names(value: object) -> frozenset[str]:
    names = string_set(value)
    for name in names:
        if not all(part.isidentifier() or part == "<locals>" for part in name.split(".")):
            raise ValueError(f"{name!r} is no dotted name")
    return names


def string_lists(value: object) -> Mapping[str, tuple[str, ...]]:
    if not isinstance(value, Mapping):
        raise TypeError
    return {nonempty_string(key): tuple(sorted(string_set(item))) for key, item in value.items()}


def lowercase_set(value: object) -> frozenset[str]:
    return frozenset(item.lower() for item in string_set(value))


def strings_by_name(value: object) -> Mapping[str, str]:
    if not isinstance(value, Mapping):
        raise TypeError
    return {nonempty_string(key): nonempty_string(item) for key, item in value.items()}


def callable_or_none(value: object) -> Callable[..., Any] | None:
    return None if value is None else sync_callable(value)


class Replica(NamedTuple):
    """A database that shows another's rows, some time later."""

    primary: str
    """The alias of that other."""
    lag: float
    """How far it may be behind, in seconds."""


def replicas(value: object) -> Mapping[str, Replica]:
    if not isinstance(value, Mapping):
        raise TypeError
    parsed: dict[str, Replica] = {}
    for alias, options in value.items():
        if not isinstance(options, Mapping) or set(options) != {"primary", "lag"}:
            raise ValueError(f"{alias!r} needs exactly the keys 'primary' and 'lag'")
        primary, lag = nonempty_string(options["primary"]), seconds(options["lag"])
        parsed[nonempty_string(alias)] = Replica(primary, lag)
    return parsed
