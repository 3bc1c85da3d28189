"""The inside of an actor: see :mod:`tests.cache.actors`. Imported once, by the fork server."""

from __future__ import annotations

import traceback
from typing import Any

import django
from django.apps import apps
from django.conf import settings

if not apps.ready:
    django.setup()

from django.core.cache import caches
from django.db import connections
from django.db.backends.signals import connection_created
from django.utils.module_loading import import_string
from redis.connection import AbstractConnection

from tests.cache import programs

_pipe: Any = None
_stepping = False


def step(what: str) -> None:
    """Stop before ``what``, until the test says go."""
    if _stepping:
        _pipe.send(("at", what))
        _pipe.recv()


def begun() -> None:
    """Say that a read begins now."""
    if _stepping:
        _pipe.send(("begun", None))


def serve(pipe: Any, setup: dict[str, Any]) -> None:
    """Be an actor: run the programs that the test asks for, until it closes the pipe."""
    global _pipe, _stepping
    _pipe = pipe
    configure(setup)
    programs.on_begun = begun
    while True:
        try:
            how, name, arguments = pipe.recv()
        except EOFError:
            return
        _stepping = how == "step"
        step("start")
        try:
            answer = ("done", getattr(programs, name)(setup["alias"], *arguments))
        except Exception:  # noqa: BLE001  # the test is told, whatever it is
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
    if with_stops:
        connection_created.connect(_put_stops, weak=False)
        _stop_at_round_trips()


def _put_stops(connection: Any, **_: Any) -> None:
    if any(wrapper is _stop_at_statement for wrapper in connection.execute_wrappers):
        return
    connection.execute_wrappers.append(_stop_at_statement)
    commit = connection._commit

    def stop_and_commit() -> None:
        step("COMMIT")
        commit()

    connection._commit = stop_and_commit


def _stop_at_statement(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
    step(str(sql).split(None, 1)[0])
    return execute(sql, params, many, context)


def _stop_at_round_trips() -> None:
    """Stop before each round trip to Redis, whoever makes it."""
    send = AbstractConnection.send_packed_command

    def stop_and_send(self: Any, command: Any, check_health: bool = True) -> None:
        packed = command if isinstance(command, bytes) else b"".join(command)
        step(f"redis {packed.split(maxsplit=3)[2].decode()}")
        send(self, command, check_health)

    AbstractConnection.send_packed_command = stop_and_send
