"""What the statements that the hook sees change of a session: :func:`follow`."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from django.db import Error

from django_querybudget.cache.tables import tables
from django_querybudget.conf import conf
from django_querybudget.sql.memory import Memo

from .changes import changes_of
from .kinds import TEMPORARY, Change, ChangeKind
from .session import session_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = ["follow", "on_schema_change", "watch_functions"]


def follow(
    sql: str | None,
    params: object,
    connection: BaseDatabaseWrapper,
    error: BaseException | None,
) -> None:
    """Take in what a statement that was sent has changed, or may have.

    ``sql`` is None where the statement cannot be read, ``params`` where they are of many.
    """
    if sql is None:
        session_of(connection).lost = "a statement that cannot be read"
        return
    changes = changes_of(sql, params, connection.vendor)
    if _functions and connection.vendor == "postgresql" and (name := _calls[sql]):
        session_of(connection).lost = f"function {name}"
    if not changes or (error is not None and _is_undone(error, connection)):
        return
    session = session_of(connection)
    for change in changes:
        if change.kind is ChangeKind.SCHEMA:
            for listener in on_schema_change:
                listener(connection)
        elif not _is_elsewhere(change, connection):
            if error is not None and change.kind is ChangeKind.SET:
                session.apply(replace(change, value=None, local=None), connection)
            else:
                session.apply(change, connection)


def _is_undone(error: BaseException, connection: BaseDatabaseWrapper) -> bool:
    """Whether a statement that failed has changed nothing for certain."""
    return isinstance(error, Error) and connection.vendor in ("postgresql", "sqlite")


def _is_elsewhere(change: Change, connection: BaseDatabaseWrapper) -> bool:
    """Whether a variable is told by something else, or tells nothing."""
    name = change.name
    if change.kind is not ChangeKind.SET:
        return False
    if name.startswith(TEMPORARY) and name != TEMPORARY:
        # It hides a table of a model, or nothing.
        return name.removeprefix(TEMPORARY) not in tables().by_lower_name
    if name == "search_path" and (schema := getattr(connection, "schema_name", None)):
        # A backend of tenants sets what its attribute says; anybody else's is not known.
        first = (change.value or "").split(",", 1)[0].strip().strip("\"'").lower()
        if first == str(schema).lower():
            session_of(connection).base.pop(name, None)
            for layer in session_of(connection).layers:
                layer.lasting.pop(name, None)
                layer.local.pop(name, None)
            return True
        session_of(connection).base[name] = None
        return True
    return name in conf.CACHE.IGNORED_VARIABLES


_functions: frozenset[str] = frozenset()


def watch_functions(names: frozenset[str]) -> None:
    """Let calls of these functions of PostgreSQL, by lower name, make the session unknown.

    They are added to those of before: which database a text is for, nobody asks.
    """
    global _functions
    if not names <= _functions:
        _functions |= names
        _calls.forget()


def _called(sql: str) -> str:
    declared = {name.lower() for name in conf.CACHE.FUNCTIONS}
    for match in _CALL.finditer(sql):
        if (name := match[1].lower()) in _functions and name not in declared:
            return name
    return ""


_CALL = re.compile(r'(\w+)"?\s*\(')

_calls = Memo(_called)

on_schema_change: list[Callable[[BaseDatabaseWrapper], None]] = []
"""Called with the connection after a statement that may have changed the schema."""
