"""An entry as bytes: a header with the tokens it was stored under, and a body.

The header says besides what the answer cost to make, since when it is true, and until when it is
kept: with that, one process can make it again before its end (see
:mod:`~django_querybudget.cache.reading.leases`).

Both are JSON. What is not, or is not of this form, is a miss: it is never interpreted in any
other way.

What a process has decoded it keeps for a while, and takes again for the same bytes. That is no
second cache: whether an entry is there and still true is what the cache says, each time.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from typing import Any

from django_querybudget.conf import conf

__all__ = ["Corrupt", "Entry", "decoded", "log_corrupt", "pack", "unpack"]

logger = logging.getLogger("django_querybudget")

_MAGIC = b"qb4\n"  # 1 was without the pulse, 2 without the cost, 3 without the routes
_LOG_EVERY = 60.0
_NOT_YET: Any = object()
_NUMBERS = (int, float)
_logged_at = float("-inf")


class Corrupt(ValueError):
    """The bytes are no entry."""


class Entry:
    """An entry whose header has been read; the body is read by :meth:`prepared`."""

    __slots__ = (
        "_prepared",
        "aliases",
        "body",
        "cost",
        "held_at",
        "routes",
        "since",
        "size",
        "tokens",
        "until",
    )

    def __init__(
        self,
        tokens: Mapping[str, str],
        aliases: Collection[str],
        body: bytes,
        times: tuple[float, float, float | None] = (0.0, 0.0, None),
        size: int = 0,
        routes: Mapping[str, str] | None = None,
    ) -> None:
        self.tokens = tokens
        self.aliases = aliases
        self.body = body
        self.cost, self.since, self.until = times
        self.routes = routes
        """The databases that routers chose for what was read, by model; None: there were none."""
        self.size = size or len(body)
        self.held_at = self.since
        """When it was last seen to be true, in seconds since 1970."""
        self._prepared: Any = _NOT_YET

    def prepared(self, prepare: Callable[[Any], Any]) -> Any:
        """Return what ``prepare`` makes of the body, made once. Raises :class:`Corrupt`."""
        if self._prepared is _NOT_YET:
            try:
                content = json.loads(self.body)
            except ValueError as error:
                raise Corrupt("the body is no JSON") from error
            self._prepared = prepare(content)
        return self._prepared


def pack(
    tokens: Mapping[str, str],
    aliases: Collection[str],
    content: object,
    *,
    cost: float = 0.0,
    since: float = 0.0,
    until: float | None = None,
    routes: Mapping[str, str] | None = None,
) -> bytes:
    """Return the bytes of an entry.

    ``cost`` is what the answer took to make, in seconds; it is true ``since``, and kept ``until``,
    in seconds since 1970. ``routes`` are the databases that routers chose, by the model's label.
    """
    times = round(cost, 6), round(since, 3), None if until is None else round(until, 3)
    header = json.dumps([tokens, sorted(aliases), times, routes], separators=(",", ":"))
    body = json.dumps(content, separators=(",", ":"))
    return b"%b%b\n%b" % (_MAGIC, header.encode("ascii"), body.encode("ascii"))


def unpack(stored: bytes) -> Entry:
    """Read an entry's header. Raises :class:`Corrupt` for what :func:`pack` never made."""
    if not stored.startswith(_MAGIC):
        raise Corrupt("not of this library")
    header, separator, body = stored[len(_MAGIC) :].partition(b"\n")
    try:
        tokens, aliases, (cost, since, until), routes = json.loads(header)
    except (ValueError, TypeError) as error:
        raise Corrupt("the header cannot be read") from error
    if (
        not separator
        or not isinstance(tokens, dict)
        or not tokens
        or not all(isinstance(token, str) for token in tokens.values())
        or not isinstance(aliases, list)
        or not (routes is None or isinstance(routes, dict))
        or not all(type(each) in _NUMBERS for each in (cost, since, until or 0))
    ):
        raise Corrupt("the header is of another form")
    return Entry(tokens, aliases, body, (cost, since, until), len(stored), routes)


class _Decoded:
    """The entries decoded last, up to so many bytes of them; one for each key."""

    def __init__(self) -> None:
        self._entries: OrderedDict[str, tuple[bytes, Entry]] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def take(self, key: str, stored: bytes) -> Entry | None:
        with self._lock:
            held = self._entries.get(key)
            if held is None or held[0] != stored:
                return None
            self._entries.move_to_end(key)
            return held[1]

    def keep(self, key: str, stored: bytes, entry: Entry, most: int) -> None:
        with self._lock:
            if (before := self._entries.pop(key, None)) is not None:
                self._size -= len(before[0])
            if len(stored) <= most:
                self._entries[key] = (stored, entry)
                self._size += len(stored)
            while self._size > most:
                _, (dropped, _) = self._entries.popitem(last=False)
                self._size -= len(dropped)


_decoded = _Decoded()


def decoded(key: str, stored: object) -> Entry:
    """Return the entry that ``stored`` is, decoded now or before. Raises :class:`Corrupt`."""
    if not isinstance(stored, bytes):
        raise Corrupt(f"of type {type(stored).__name__}")
    entry = _decoded.take(key, stored)
    if entry is None:
        entry = unpack(stored)
        _decoded.keep(key, stored, entry, conf.CACHE.DECODED_BYTES)
    return entry


def log_corrupt(key: str, error: Exception) -> None:
    """Say that a value could not be read, at most once a minute."""
    global _logged_at
    if time.monotonic() - _logged_at > _LOG_EVERY:
        _logged_at = time.monotonic()
        logger.warning(
            "What the cache holds under %r is no entry (%s: %s): taken for a miss.",
            key, type(error).__name__, error,
        )  # fmt: skip
