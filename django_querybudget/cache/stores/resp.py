"""RESP, the protocol of Redis, in its second version: commands packed, and answers read, by hand.

A client's own ``pack_command()`` takes ten times as long, which is half of a round trip.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

__all__ = ["bulk_strings", "packed", "read_answer"]


def packed(*arguments: bytes) -> bytes:
    """Return a command as Redis reads it: an array of bulk strings."""
    return b"*%d\r\n%b" % (len(arguments), bulk_strings(*arguments))


def bulk_strings(*arguments: bytes) -> bytes:
    """Return each argument as a bulk string."""
    return b"".join([b"$%d\r\n%b\r\n" % (len(argument), argument) for argument in arguments])


def read_answer(
    socket: object, before: int = 0, refused: Callable[[ResponseError], None] | None = None
) -> Any:
    """Read one answer: bytes, an int, None, or a list of those.

    ``before`` it come so many to what was sent earlier; ``refused`` is told which are refusals.
    Raises redis-py's errors: ``ResponseError`` for a refusal, ``TimeoutError``, and
    ``ConnectionError`` for what is not one answer.
    """
    try:
        answer = _Answer(socket)
        for _ in range(before):
            earlier = answer.read()
            if refused is not None and isinstance(earlier, ResponseError):
                refused(earlier)
        value = answer.read()
    except TimeoutError as error:
        raise RedisTimeoutError("The server does not answer in time.") from error
    except OSError as error:
        raise RedisConnectionError(str(error)) from error
    except ValueError as error:
        raise RedisConnectionError(f"What the server says is not RESP: {error}") from error
    if answer.at != len(answer.data):
        raise RedisConnectionError("The server has said more than one answer.")
    if isinstance(value, ResponseError):
        raise value
    return value


class _Answer:
    """The bytes that have come, and how many of them are read."""

    __slots__ = ("at", "data", "socket")

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self.data: bytes = socket.recv(65536)
        self.at = 0

    def _more(self, least: int) -> None:
        """Read so many bytes more, at least; none if ``least`` is not positive."""
        parts, size = [self.data], 0
        while size < least:
            part = self.socket.recv(min(max(least - size, 65536), 1 << 20))
            if not part:
                raise RedisConnectionError("The server has closed the connection.")
            parts.append(part)
            size += len(part)
        self.data = b"".join(parts)

    def read(self) -> Any:
        while (end := self.data.find(b"\r\n", self.at)) < 0:
            self._more(1)
        kind, line = self.data[self.at], self.data[self.at + 1 : end]
        self.at = end + 2
        if kind == 0x24:  # $
            return self._bulk_string(int(line))
        if kind == 0x2A:  # *
            return self._array(int(line))
        if kind in {0x3A, 0x2B}:  # :, +
            return int(line) if kind == 0x3A else line
        if kind == 0x2D:  # -
            text = line.decode("utf-8", "replace")
            return (NoScriptError if text.startswith("NOSCRIPT") else ResponseError)(text)
        raise ValueError(f"{self.data[:40]!r}")

    def _array(self, size: int) -> list[Any]:
        values: list[Any] = []
        while len(values) < size:
            # Of MGET, which every hit waits for: a short bulk string that has come whole.
            data, at = self.data, self.at
            end = data.find(b"\r\n", at)
            if end > 0 and data[at] == 0x24 and data[at + 1] != 0x2D:
                last = end + 2 + int(data[at + 1 : end])
                if last + 2 <= len(data):
                    values.append(data[end + 2 : last])
                    self.at = last + 2
                    continue
            values.append(self.read())
        return values

    def _bulk_string(self, size: int) -> bytes | None:
        if size < 0:
            return None
        start = self.at
        self._more(start + size + 2 - len(self.data))
        self.at = start + size + 2
        return self.data[start : start + size]
