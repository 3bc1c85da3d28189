"""A request's dicts and headers, in a form that notes what is read of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any

from django.http.request import HttpHeaders

__all__ = ["NotedDict", "NotedHeaders", "reader"]


def reader(depth: int) -> FrameType:
    """Return the frame of who reads: ``depth`` calls above the function that asks for it.

    The depth is known, since a read comes in by a method that Python or the reader itself calls: of
    :mod:`.observing` (1: it asks), or of the classes below (2: what they tell asks). Where one of
    those calls another (``NotedHeaders.get``) it is a frame of ours, whose module is none of those
    whose reads are left out: then the read is noted, which is never wrong.
    """
    return sys._getframe(depth + 1)


class NotedDict(dict):  # type: ignore[type-arg]  # of anything, as the host's
    """A dict of the request's, with what is read of it noted; what is written goes to both."""

    def __init__(self, raw: Any, note: Callable[[Any], None], note_all: Callable[[], None]) -> None:
        super().__init__(raw)
        self._raw = raw
        self._note = note
        self._note_all = note_all

    def __getitem__(self, key: Any) -> Any:
        self._note(key)
        return super().__getitem__(key)

    def __contains__(self, key: Any) -> bool:
        self._note(key)
        return super().__contains__(key)

    def get(self, key: Any, default: Any = None) -> Any:
        self._note(key)
        return super().get(key, default)

    def __iter__(self) -> Any:
        self._note_all()
        return super().__iter__()

    def __len__(self) -> int:
        self._note_all()
        return super().__len__()

    def __eq__(self, other: object) -> bool:
        self._note_all()
        return super().__eq__(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None

    def __repr__(self) -> str:
        self._note_all()
        return super().__repr__()

    def keys(self) -> Any:
        self._note_all()
        return super().keys()

    def values(self) -> Any:
        self._note_all()
        return super().values()

    def items(self) -> Any:
        self._note_all()
        return super().items()

    def copy(self) -> Any:
        self._note_all()
        return super().copy()

    def __or__(self, other: Any) -> Any:
        return dict(self) | other

    def __ror__(self, other: Any) -> Any:
        return other | dict(self)

    def __ior__(self, other: Any) -> Any:
        self.update(other)
        return self

    def __reversed__(self) -> Any:
        self._note_all()
        return super().__reversed__()

    def popitem(self) -> Any:
        self._note_all()
        key, value = super().popitem()
        self._raw.pop(key, None)
        return key, value

    def clear(self) -> None:
        self._raw.clear()
        super().clear()

    def __setitem__(self, key: Any, value: Any) -> None:
        self._raw[key] = value
        super().__setitem__(key, value)

    def __delitem__(self, key: Any) -> None:
        del self._raw[key]
        super().__delitem__(key)

    def setdefault(self, key: Any, default: Any = None) -> Any:
        if key not in self:
            self[key] = default
        return self[key]

    def pop(self, key: Any, *default: Any) -> Any:
        self._note(key)
        self._raw.pop(key, None)
        return super().pop(key, *default)

    def update(self, *args: Any, **kwargs: Any) -> None:
        for key, value in dict(*args, **kwargs).items():
            self[key] = value


class NotedHeaders(HttpHeaders):
    """A request's headers, with what is read of them noted."""

    def __init__(
        self, meta: Mapping[str, Any], note: Callable[[str], None], note_all: Callable[[], None]
    ) -> None:
        super().__init__(meta)
        self._note = note
        self._note_all = note_all

    def __getitem__(self, key: str) -> str:
        self._note(_meta_key(key))
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self._note(_meta_key(str(key)))
        return super().__contains__(key)

    def get(self, key: str, default: Any = None) -> Any:
        try:
            return self[key]
        except KeyError:
            return default

    def __iter__(self) -> Iterator[str]:
        self._note_all()
        return super().__iter__()

    def __len__(self) -> int:
        self._note_all()
        return super().__len__()

    def __repr__(self) -> str:
        self._note_all()
        return super().__repr__()


def _meta_key(header: str) -> str:
    name = header.upper().replace("-", "_")
    return name if name in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{name}"
