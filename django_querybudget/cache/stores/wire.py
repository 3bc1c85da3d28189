"""The shortest way to a Redis: commands packed by hand, on a connection kept for them.

Marks and renewals are in the way of every write of the host's. Of the time that redis-py takes for
one, half is packing the command, and borrowing a connection from the pool and giving it back. So a
process keeps one connection for them, besides those of the pool. It takes them from the pool where
that one is in use, where the host limits its connections or closes them after each request, and
where the pool has a mind of its own (Sentinel's follows the primary).
"""

from __future__ import annotations

import os
import threading
from inspect import signature
from typing import Any

from django.conf import settings
from redis.connection import ConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ResponseError

__all__ = ["Wire", "bulk_strings", "packed"]

UNLIMITED = 50
"""A pool that may have as many connections as this is taken for one without a limit."""


class Wire:
    """Sends commands to the server behind a pool, and hears that they are done."""

    def __init__(self, pool: ConnectionPool) -> None:
        self.pool = pool
        self._process = os.getpid()
        self._own = _own_connection(pool)
        self._using_own = threading.Lock()
        self._keeps_silent: bool | None = None

    def is_to(self, pool: ConnectionPool) -> bool:
        """Whether this is to ``pool``, and of this process."""
        return self.pool is pool and self._process == os.getpid()

    def send(self, command: bytes, *, silent: bool = False) -> None:
        """Send one packed command. ``silent``: where the server can be, let it not answer.

        Raises what redis-py raises.
        """
        if silent:
            if self._keeps_silent is None:
                self._keeps_silent = self._ask_for_silence()
            if silent := self._keeps_silent:
                command = _SKIP + command
        if self._own is not None and self._using_own.acquire(blocking=False):
            try:
                _exchange(self._own, command, silent=silent)
            except RedisConnectionError:
                pass  # the server closed what was idle, or is gone: the pool finds that out
            else:
                return
            finally:
                self._using_own.release()
        connection = self.pool.get_connection(*_BORROWING)
        try:
            _exchange(connection, command, silent=silent)
        finally:
            self.pool.release(connection)

    def _ask_for_silence(self) -> bool:
        """Ask the server whether ``CLIENT REPLY SKIP`` takes an answer away.

        A proxy, or a user without the right to it, may refuse: the refusal would be read as the
        next command's answer.
        """
        connection: Any = self.pool.get_connection(*_BORROWING)
        try:
            echoes = packed(b"ECHO", b"skipped") + packed(b"ECHO", b"said")
            connection.send_packed_command([_SKIP + echoes])
            return connection.read_response() in (b"said", "said")
        except ResponseError:
            return False
        finally:
            # Whatever else it has to say is not for the next who takes the connection.
            connection.disconnect()
            self.pool.release(connection)


def _own_connection(pool: Any) -> Any:
    """Return a connection like those of the pool, not opened yet; None where there must be none."""
    closing = getattr(settings, "DJANGO_REDIS_CLOSE_CONNECTION", False)
    if type(pool) is not ConnectionPool or pool.max_connections < UNLIMITED or closing:
        return None
    return pool.connection_class(**pool.connection_kwargs)


def _exchange(connection: Any, command: bytes, *, silent: bool) -> None:
    try:
        connection.send_packed_command([command])
        if not silent:
            connection.read_response()
    except NoScriptError:
        raise
    except BaseException:
        connection.disconnect()  # an answer may be under way, which is not the next one's
        raise


def packed(*arguments: bytes) -> bytes:
    """Return a command as Redis reads it (RESP, an array of bulk strings).

    ``Connection.pack_command()`` takes ten times as long, which is half of a round trip.
    """
    return b"*%d\r\n%b" % (len(arguments), bulk_strings(*arguments))


def bulk_strings(*arguments: bytes) -> bytes:
    """Return each argument as a bulk string of RESP."""
    return b"".join([b"$%d\r\n%b\r\n" % (len(argument), argument) for argument in arguments])


_SKIP = packed(b"CLIENT", b"REPLY", b"SKIP")
# What redis-py before 5.3 wants to know of who borrows a connection.
_COMMAND = signature(ConnectionPool.get_connection).parameters.get("command_name")
_BORROWING = ("EVALSHA",) if _COMMAND is not None and _COMMAND.default is _COMMAND.empty else ()
