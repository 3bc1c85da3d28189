"""The shortest way to a Redis: commands packed by hand, on connections kept for them.

Tokens and marks are in the way of every cached read and of every write of the host's. Of the time
that redis-py takes for one command, half is packing it, parsing its answer, and borrowing a
connection from the pool and giving it back. So a process keeps connections of its own, as many as
it has threads that ask at the same time, besides those of the pool. They have their own bound on
time, too, where the host's have none. It takes connections from the pool where the host limits them
or closes them after each request, and where the pool has a mind of its own (Sentinel's follows the
primary).

What can be lost without harm is *told*: its answer is not waited for, but read before that of the
next command on its connection. So a refusal is known all the same, a moment later.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from inspect import signature
from typing import Any
from weakref import WeakKeyDictionary

from django.conf import settings
from redis.backoff import NoBackoff
from redis.connection import AbstractConnection, ConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ResponseError
from redis.retry import Retry

from .resp import bulk_strings, packed, read_answer
from .scripts import Script

__all__ = ["Wire"]

UNLIMITED = 50
"""A pool that may have as many connections as this is taken for one without a limit."""

OWN = 16
"""How many connections of its own a process keeps; who needs more takes one of the pool."""

BOUND = 1.0
"""How long connecting and each answer may take on a connection of our own, in seconds."""

MOST_UNHEARD = 50
"""How many answers may be left unread on a connection."""

_FLUSHED = 60.0  # for how long scripts are not sent unheard after the server had lost one


class Wire:
    """Sends commands to the server behind a pool, and hears what it answers.

    ``refused`` returns whom to tell what the server refuses of that which it was told.
    """

    def __init__(
        self,
        pool: ConnectionPool,
        refused: Callable[[], Callable[[ResponseError], None] | None] = lambda: None,
        opened: int = 0,
    ) -> None:
        self.pool = pool
        self._refused = refused
        self.opened = opened
        """How often a command had to open its connection: it may be to another server since."""
        self._process = os.getpid()
        self._options = _own_options(pool)
        self._idle: list[Any] = []
        self._made = 0
        self._unheard: dict[Any, int] = {}
        """How many answers are yet to be read, by connection of our own."""
        self._borrowed: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
        """The socket that each of the pool's connections had when it was borrowed last."""
        self._keeps_silent: bool | None = None
        self._known: set[bytes] = set()
        """The names of the scripts that the server has had."""
        self._flushed_at = float("-inf")

    def is_to(self, pool: ConnectionPool) -> bool:
        """Whether this is to ``pool``, and of this process."""
        return self.pool is pool and self._process == os.getpid()

    @property
    def has_own(self) -> bool:
        """Whether it may have connections besides those of the pool."""
        return self._options is not None

    def run(self, script: Script, arguments: bytes, count: int, *, silent: bool = False) -> Any:
        """Run a script with ``count`` packed arguments: the number of keys, keys, the others.

        ``silent``: its answer is not waited for, where the server can leave it out. By its text
        where the server has lost it, which cannot fail for that again.
        """
        silent = silent and self._is_known(script)  # or it is lost unheard
        try:
            answer = self.ask(_call(b"EVALSHA", script.sha, arguments, count), silent=silent)
        except NoScriptError:
            if script.sha in self._known:
                self._flushed_at = time.monotonic()
            answer = self.ask(_call(b"EVAL", script.text, arguments, count))
        self._known.add(script.sha)
        return answer

    def unheard(self, script: Script, arguments: bytes, count: int) -> bytes:
        """Return what runs a script unheard in one message with a command before it.

        Empty where its answer cannot be left out, or the server may not know it.
        """
        if not (self._is_known(script) and self._can_keep_silent()):
            return b""
        return _SKIP + _call(b"EVALSHA", script.sha, arguments, count)

    def _is_known(self, script: Script) -> bool:
        is_flushed = time.monotonic() - self._flushed_at < _FLUSHED
        return script.sha in self._known and not is_flushed

    def _can_keep_silent(self) -> bool:
        if self._keeps_silent is None:
            self._keeps_silent = self._ask_for_silence()
        return self._keeps_silent

    def ask(self, command: bytes, *, silent: bool = False) -> Any:
        """Send one packed command; return its answer, in bytes. Raises what redis-py raises."""
        silent = silent and self._can_keep_silent()
        if silent:
            command = _SKIP + command
        own = self._take()
        if own is not None:
            try:
                return self._exchange_own(own, command, silent=silent)
            finally:
                self._idle.append(own)
        return self._exchange_borrowed(command, silent=silent)

    def tell(self, command: bytes) -> None:
        """Send one packed command that may be lost; its answer is read with the next one's.

        Raises what redis-py raises where it cannot be sent, or has to be waited for and is refused.
        """
        own = self._take()
        if own is None:
            self._exchange_borrowed(command, silent=False)
            return
        try:
            if self._unheard.get(own, 0) >= MOST_UNHEARD:
                self._exchange_own(own, command, silent=False)
                return
            self._exchange_own(own, command, silent=True)
            self._unheard[own] = self._unheard.get(own, 0) + 1
        finally:
            self._idle.append(own)

    def _exchange_borrowed(self, command: bytes, *, silent: bool) -> Any:
        connection: Any = self.pool.get_connection(*_BORROWING)
        try:
            # The pool has opened it already, if need be.
            if self._borrowed.get(connection) is not connection._sock:
                self._borrowed[connection] = connection._sock
                self.opened += 1
            return _exchange(connection, command, silent=silent)
        finally:
            self.pool.release(connection)

    def _take(self) -> Any:
        """Return a connection of our own that nobody uses; None where there can be none."""
        try:
            return self._idle.pop()
        except IndexError:
            if self._options is None or self._made >= OWN:
                return None
        self._made += 1
        return self.pool.connection_class(**self._options)

    def _exchange_own(self, own: object, command: bytes, *, silent: bool) -> Any:
        was_open = _is_open(own)
        if not was_open:
            self.opened += 1
            self._unheard.pop(own, None)
        try:
            return self._exchange_by_hand(own, command, silent=silent)
        except RedisConnectionError:  # no timeout
            if not was_open:
                raise
            # The server has closed what was idle: each of our commands may be sent twice.
            self.opened += 1
            self._unheard.pop(own, None)
            return self._exchange_by_hand(own, command, silent=silent)

    def _exchange_by_hand(self, own: Any, command: bytes, *, silent: bool) -> Any:
        try:
            own.send_packed_command([command], False)
            if silent:
                return None
            if not (before := self._unheard.pop(own, 0)):
                return read_answer(own._sock)
            return read_answer(own._sock, before, self._refused())
        except ResponseError:
            raise
        except BaseException:
            own.disconnect()  # an answer may be under way, which is not the next one's
            raise

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


def _call(command: bytes, what: bytes, arguments: bytes, count: int) -> bytes:
    return b"*%d\r\n%b%b" % (count + 2, bulk_strings(command, what), arguments)


def _is_open(connection: object) -> bool:
    return getattr(connection, "_sock", None) is not None


def _own_options(pool: object) -> dict[str, Any] | None:
    """Return how to make connections like those of the pool; None where there must be none."""
    closing = getattr(settings, "DJANGO_REDIS_CLOSE_CONNECTION", False)
    if type(pool) is not ConnectionPool or pool.max_connections < UNLIMITED or closing:
        return None
    options = {
        # What moves connections at a server's maintenance is the pool's, and speaks RESP 3.
        name: value
        for name, value in pool.connection_kwargs.items()
        if not name.startswith(("maint_", "orig_"))
    }
    for name in ("socket_timeout", "socket_connect_timeout"):
        options[name] = min(options.get(name) or BOUND, BOUND)
    options["retry"] = Retry(NoBackoff(), 0)  # who tries again is decided by who asks
    options["health_check_interval"] = 0
    if _HAS_PROTOCOL:
        options["protocol"] = 2  # as read_answer() reads it
    return options


def _exchange(connection: Any, command: bytes, *, silent: bool) -> Any:
    try:
        connection.send_packed_command([command])
        return None if silent else connection.read_response(disable_decoding=True)
    except ResponseError:
        raise
    except BaseException:
        connection.disconnect()  # an answer may be under way, which is not the next one's
        raise


_SKIP = packed(b"CLIENT", b"REPLY", b"SKIP")
# What redis-py before 5.3 wants to know of who borrows a connection.
_COMMAND = signature(ConnectionPool.get_connection).parameters.get("command_name")
_BORROWING = ("EVALSHA",) if _COMMAND is not None and _COMMAND.default is _COMMAND.empty else ()
_HAS_PROTOCOL = "protocol" in signature(AbstractConnection.__init__).parameters
