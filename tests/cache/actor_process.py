"""The inside of an actor: see :mod:`tests.cache.actors`. Imported once, by the fork server."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from threading import current_thread, main_thread
from typing import Any

import django
from django.apps import apps
from django.conf import settings

if not apps.ready:
    django.setup()

from django.core.cache import caches
from django.db import OperationalError, connections
from django.db.backends.signals import connection_created
from django.utils.module_loading import import_string
from redis.connection import AbstractConnection
from redis.exceptions import RedisError

from tests.cache import programs
from tests.cache.footprints import (
    NOTHING,
    OF_THE_CONNECTION,
    Footprint,
    commands_in,
    of_commands,
    of_statement,
)
from tests.cache.locks import would_wait

_pipe: Any = None
_stepping = False
_holding = False  # whether what is sent and not waited for is left to the test
_wrote: set[str] = set()  # the aliases whose transaction has sent a statement that writes


def step(what: str, footprint: Footprint) -> None:
    """Stop before ``what``, until the test says go."""
    # Only the program's own thread: the library may have one that waits for Redis to come back.
    if _stepping and current_thread() is main_thread():
        _pipe.send(("at", (what, footprint)))
        _pipe.recv()


def begun() -> None:
    """Say that a read begins now."""
    if _stepping:
        _pipe.send(("begun", None))


def serve(pipe: Any, setup: dict[str, Any]) -> None:
    """Be an actor: run the programs that the test asks for, until it closes the pipe."""
    global _pipe, _stepping, _holding
    _pipe = pipe
    _holding = bool(setup.get("holding"))
    configure(setup)
    if _holding:
        _leave_the_pulse_alone()
    programs.on_begun = begun
    while True:
        try:
            how, name, arguments = pipe.recv()
        except EOFError:
            return
        _stepping = how == "step"
        step("start", NOTHING)
        try:
            answer = ("done", getattr(programs, name)(setup["alias"], *arguments))
        except Exception:  # the test is told, whatever it is
            answer = ("failed", traceback.format_exc())
        _stepping = False
        pipe.send(answer)


def configure(setup: dict[str, Any], *, with_stops: bool = True) -> None:
    """Point Django at the suite's test databases and servers, with the stops put in."""
    alias = setup["alias"]
    connections.settings[alias].update(setup["database"])
    if setup["querybudget"] is not None:
        settings.QUERYBUDGET = setup["querybudget"]
    caches.settings.update(setup["caches"])
    if dotted := setup.get("cached"):
        programs.cached = import_string(dotted)
    for dotted in setup.get("defects", ()):
        import_string(dotted)()
    if with_stops:
        connection_created.connect(_put_stops, weak=False)
        _stop_at_round_trips()


def _leave_the_pulse_alone() -> None:
    """Let nobody refresh it, nor give up waiting: an order is run again step by step."""
    from django_querybudget.cache.reading import leases, through
    from django_querybudget.cache.stores import redis, wire
    from django_querybudget.cache.stores.keeper import Keeper
    from django_querybudget.cache.stores.store import Store

    Keeper.start = lambda _: None  # type: ignore[method-assign]
    Store._is_late = lambda _: False  # type: ignore[method-assign]
    # No lease ends while a machine stands still.
    wire.BOUND = leases.LEASE = leases.LONGEST = leases.WAIT = redis.DONE = 60.0
    through.EARLY = 0.0  # nor is anything made again by chance


def _put_stops(connection: Any, **_: Any) -> None:
    if any(wrapper is _stop_at_statement for wrapper in connection.execute_wrappers):
        return
    connection.execute_wrappers.append(_stop_at_statement)
    connection._commit = _stopping(connection, "COMMIT", connection._commit)
    connection._rollback = _stopping(connection, "ROLLBACK", connection._rollback)


def _stopping(connection: Any, word: str, end: Callable[[], None]) -> Callable[[], None]:
    """Return ``end``, Django's own end of a transaction, with a stop before it."""

    def stop_and_end() -> None:
        if connection.connection is not None:
            step(word, _of(word, connection))
        end()

    return stop_and_end


def _of(word: str, connection: Any) -> Footprint:
    in_transaction = _in_transaction(connection)
    footprint = of_statement(
        word, in_transaction=in_transaction, has_written=connection.alias in _wrote
    )
    if word in {"COMMIT", "ROLLBACK"}:
        _wrote.discard(connection.alias)
    elif in_transaction and "locks" in footprint.changes:
        _wrote.add(connection.alias)
    return footprint


def _in_transaction(connection: Any) -> bool:
    """Whether what is sent now stays unseen until a COMMIT, as the driver itself knows."""
    if connection.in_atomic_block or not connection.get_autocommit():
        return True
    driver = connection.connection
    if connection.vendor == "sqlite":
        return bool(driver.in_transaction)
    if connection.vendor == "postgresql":
        return int(driver.info.transaction_status) != 0
    return bool(driver.server_status & 1)


def _stop_at_statement(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
    connection = context["connection"]
    word = str(sql).split(None, 1)[0].upper()
    if word == "ROLLBACK" and "SAVEPOINT" in str(sql).upper():
        step("ROLLBACK TO", of_statement(word, in_transaction=True, has_written=True))
    else:
        step(word, _of(word, connection))
    while True:
        try:
            return execute(sql, params, many, context)
        except OperationalError as error:
            if not (_stepping and would_wait(error)):
                raise
            _pipe.send(("waits", None))
            _pipe.recv()


def _stop_at_round_trips() -> None:
    """Stop before each round trip to Redis, whoever makes it."""
    send = AbstractConnection.send_packed_command

    def stop_and_send(self: Any, command: Any, check_health: bool = True) -> None:
        packed = command if isinstance(command, bytes) else b"".join(command)
        commands = commands_in(packed)
        if all(words[0] in OF_THE_CONNECTION for words in commands):
            # A handshake, which comes once in a process: no step, or an order run again has less.
            send(self, command, check_health)
            return
        names = "+".join(words[0].decode() for words in commands)
        if _is_entry(commands):
            if _stepping and _holding:
                step(f"redis {names}", NOTHING)
                _pipe.send(("sends", (packed, of_commands(commands))))
            else:
                step(f"redis {names}", of_commands(commands))
                send(self, command, check_health)
                _arrived(self, send)
            # Its answer is read with that of the next command; this one's looks the same.
            send(self, [_PING], check_health)
            return
        if not _is_unanswered(commands):
            step(f"redis {names}", of_commands(commands))
            send(self, command, check_health)
            return
        # It arrives whenever the test says; or at once, and then it has to be known to have.
        if _stepping and _holding:
            step(f"redis {names}", NOTHING)
            _pipe.send(("sends", (packed, of_commands(commands))))
            return
        step(f"redis {names}", of_commands(commands))
        send(self, command, check_health)
        try:
            _arrived(self, send)
        except (OSError, RedisError):
            self.disconnect()  # lost on its way, which the program is not told

    AbstractConnection.send_packed_command = stop_and_send


def _arrived(connection: Any, send: Callable[..., None]) -> None:
    """Wait until the server has all that was sent; answers that are yet to be read stay so."""
    send(connection, [b"*2\r\n$4\r\nECHO\r\n$7\r\narrived\r\n"], False)
    unread, heard = 0, b""
    while not heard.endswith(b"$7\r\narrived\r\n"):
        # By hand, as the library does, and no byte more.
        heard += connection._sock.recv(1) or _lost()
        if heard == b"+PONG\r\n":
            unread, heard = unread + 1, b""
    for _ in range(unread):
        send(connection, [_PING], False)


def _lost() -> bytes:
    raise ConnectionResetError


_PING = b"*1\r\n$4\r\nPING\r\n"


def _is_entry(commands: list[list[bytes]]) -> bool:
    """Whether it is an entry that is stored, which nobody waits for. (A lease says NX.)"""
    return len(commands) == 1 and commands[0][0] == b"SET" and commands[0][3:4] in ([], [b"PX"])


def _is_unanswered(commands: list[list[bytes]]) -> bool:
    return len(commands) == 2 and commands[0] == [b"CLIENT", b"REPLY", b"SKIP"]
