"""What can be warmed: the decorated functions of this process, and views that say with what."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias
from weakref import WeakValueDictionary

__all__ = ["Warm", "checked_warm", "functions", "note_function", "note_view", "views"]

Warm: TypeAlias = Iterable[Any] | Callable[[], Iterable[Any]]

_MOST = 4096
_functions: WeakValueDictionary[str, Any] = WeakValueDictionary()
_of_functions: dict[str, Warm] = {}
_views: dict[int, tuple[str, Warm]] = {}
"""By the identity of what they give: ``method_decorator()`` decorates anew for each request."""


def checked_warm(warm: object) -> None:
    """Raise :class:`TypeError` for what says not with what to warm."""
    if warm is None or callable(warm) or isinstance(warm, list | tuple | set | frozenset):
        return
    raise TypeError(f"warm must be a list, or a callable that returns one, not {warm!r}.")


def note_function(name: str, function: Any, warm: Warm | None) -> None:
    """Note a decorated function, and the arguments to call it with, if it says."""
    _functions[name] = function
    if warm is not None and len(_of_functions) < _MOST:
        _of_functions[name] = warm


def note_view(name: str, warm: Warm | None) -> None:
    """Note the paths that a view is to be asked for with, if it says."""
    if warm is not None and len(_views) < _MOST:
        _views.setdefault(id(warm), (name, warm))


def functions() -> list[tuple[str, Any, Warm | None]]:
    """Return each decorated function, its name before it and its arguments after it."""
    return [(name, made, _of_functions.get(name)) for name, made in sorted(_functions.items())]


def views() -> list[tuple[str, Warm]]:
    """Return each view that says with what, by its name."""
    return sorted(_views.values(), key=lambda item: item[0])
