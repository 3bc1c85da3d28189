"""An entry as bytes: a header with the tokens it was stored under, and a body.

Both are JSON. What is not, or is not of this form, is a miss: it is never interpreted in any
other way.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Corrupt", "Entry", "pack", "unpack"]

logger = logging.getLogger("django_querybudget")

_MAGIC = b"qb1\n"
_LOG_EVERY = 60.0
_logged_at = float("-inf")


class Corrupt(ValueError):
    """The bytes are no entry."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry whose header has been read; the body is read by :meth:`content`."""

    tokens: Mapping[str, str]
    aliases: Collection[str]
    body: bytes

    def content(self) -> Any:
        """Return the body. Raises :class:`Corrupt`."""
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise Corrupt("the body is no JSON") from error


def pack(tokens: Mapping[str, str], aliases: Collection[str], content: Any) -> bytes:
    """Return the bytes of an entry."""
    header = json.dumps([tokens, sorted(aliases)], separators=(",", ":"))
    body = json.dumps(content, separators=(",", ":"))
    return b"%b%b\n%b" % (_MAGIC, header.encode("ascii"), body.encode("ascii"))


def unpack(stored: bytes) -> Entry:
    """Read an entry's header. Raises :class:`Corrupt` for what :func:`pack` never made."""
    if not stored.startswith(_MAGIC):
        raise Corrupt("not of this library")
    header, separator, body = stored[len(_MAGIC) :].partition(b"\n")
    try:
        tokens, aliases = json.loads(header)
    except (ValueError, TypeError) as error:
        raise Corrupt("the header cannot be read") from error
    if (
        not separator
        or not isinstance(tokens, dict)
        or not tokens
        or not all(isinstance(token, str) for token in tokens.values())
        or not isinstance(aliases, list)
    ):
        raise Corrupt("the header is of another form")
    return Entry(tokens, aliases, body)


def log_corrupt(key: str, error: Exception) -> None:
    """Say that a value could not be read, at most once a minute."""
    global _logged_at
    if time.monotonic() - _logged_at > _LOG_EVERY:
        _logged_at = time.monotonic()
        logger.warning(
            "What the cache holds under %r is no entry (%s: %s): taken for a miss.",
            key, type(error).__name__, error,
        )  # fmt: skip
