"""What a connection's session decides about an answer: the same SQL is not the same question.

A search path, a role, a session variable, MySQL's ``USE``: each changes what a query reads and
stands in no SQL of it. So the session's state, spelled as text, is part of each entry's key. It is
known from three sides:

- the connection's settings: its user and its options;
- what multi-tenant backends write on the connection object (``schema_name``), and what the
  project's own callable tells (``QUERYBUDGET["CACHE"]["SESSION"]``);
- the statements that the hook sees (:mod:`.session_changes`).

Where it cannot be known for certain, nothing is read through the cache: :func:`text_of` raises
:class:`Unknown`, whose message is the reason in the statistics.

Tags are without it. A table that several tenants share is reached through each one's search path,
so a write in one session may be read in another: too much is renewed, never too little.
"""

from __future__ import annotations

import logging
import re
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from django.db import Error, connections

from django_querybudget.conf import conf
from django_querybudget.sql.memory import Memo

from .session_changes import DEFAULT, TEMPORARY, Change, Kind, changes_of
from .tables import tables
from .tags import digest
from .transactions import Mode, mode_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = ["Unknown", "everywhere", "follow", "is_default", "start", "text_of", "variables_of"]

logger = logging.getLogger("django_querybudget")

_ATTRIBUTE = "_querybudget_session"
# Options of a connection that change no answer.
_OTHER_OPTIONS = ("pool", "connect_timeout", "timeout", "ssl", "keepalives", "application_name")


class Unknown(Exception):
    """What the session decides cannot be known for certain; the message is the reason."""


class _Layer:
    """What was set since one savepoint: for the session, and for the transaction alone."""

    def __init__(self, savepoint: str | None) -> None:
        self.savepoint = savepoint
        self.lasting: dict[str, str | None] = {}
        self.local: dict[str, str | None] = {}

    def set(self, name: str, value: str | None, *, local: bool) -> None:
        if local:
            self.local[name] = value
        else:
            self.local.pop(name, None)
            self.lasting[name] = value

    def take(self, upper: _Layer) -> None:
        """Release the savepoint above: what was set since then was set here."""
        for name, value in upper.lasting.items():
            self.set(name, value, local=False)
        self.local |= upper.local


class Session:
    """The variables of one session of a server: those that are not as they were at its start.

    A value of None is one that is not known. In a transaction of PostgreSQL, values are undone by
    a rollback, so they are kept apart by savepoint until its end. Whether it was committed is not
    told, so what it set for longer is not known from then on, until it is set again.
    """

    def __init__(self) -> None:
        self.base: dict[str, str | None] = {}
        self.layers: list[_Layer] = []
        self.lost = ""  # what made everything unknown
        self._block: Any = None  # the transaction that the layers are of
        self._is_test = False

    def variables(self, connection: BaseDatabaseWrapper) -> Mapping[str, str | None]:
        """Return the variables and their values now."""
        if not self.layers:
            return self.base
        self._meet(connection)
        found = dict(self.base)
        for layer in self.layers:
            found |= layer.lasting
            found |= layer.local
        return {name: value for name, value in found.items() if value != DEFAULT}

    def _meet(self, connection: BaseDatabaseWrapper) -> None:
        """End the transaction of the layers, if it is over."""
        blocks = connection.atomic_blocks
        if self.layers and (not connection.in_atomic_block or blocks[0] is not self._block):
            self.end()

    def end(self) -> None:
        """The transaction of the layers is over; committed or not."""
        layers, self.layers, self._block = self.layers, [], None
        if self._is_test:
            return  # rolled back for certain
        for layer in layers:
            for name, value in layer.lasting.items():
                if self.base.get(name, DEFAULT) != value:
                    self.base[name] = None

    def apply(self, change: Change, connection: BaseDatabaseWrapper) -> None:
        """Take in one change that a statement has made."""
        kind = change.kind
        if self.layers:
            self._meet(connection)
        if kind is Kind.LOSS:
            self.lost = change.name
        elif kind is Kind.SET:
            if change.name == TEMPORARY:
                for name in [name for name in self._names() if name.startswith(TEMPORARY)]:
                    self.set(name, DEFAULT, connection, local=False)
            else:
                self.set(change.name, change.value, connection, local=change.local)
        elif kind is Kind.RESET_ALL:
            for name in self._names() - {"role", "session_authorization"}:
                if not name.startswith(TEMPORARY):
                    self.set(name, DEFAULT, connection, local=False)
        elif kind is Kind.DISCARD_ALL:
            self.base, self.layers, self.lost = {}, [], ""
        elif self.layers:  # else it is of before the first change, which all come after it
            self._follow(change)

    def _follow(self, change: Change) -> None:
        """Take in what becomes of the transaction in which variables were set."""
        place = self._place(change.name)
        if change.kind is Kind.END:
            self.end()
        elif change.kind is Kind.SAVEPOINT:
            self.layers.append(_Layer(change.name))
        elif change.kind is Kind.ROLLBACK_TO:
            del self.layers[place or 0 :]
            if place is not None:
                self.layers.append(_Layer(change.name))
        elif change.kind is Kind.RELEASE and place is not None:
            while len(self.layers) > place:
                upper = self.layers.pop()
                self.layers[-1].take(upper)

    def _place(self, savepoint: str) -> int | None:
        for place in range(len(self.layers) - 1, 0, -1):
            if self.layers[place].savepoint == savepoint:
                return place
        return None

    def _names(self) -> set[str]:
        return set(self.base).union(
            *(layer.lasting for layer in self.layers), *(layer.local for layer in self.layers)
        )

    def set(
        self,
        name: str,
        value: str | None,
        connection: BaseDatabaseWrapper,
        *,
        local: bool | None,
    ) -> None:
        """Give a variable a value, as the current transaction lets it last."""
        if name == "database":
            # Its tags would be those of the connection's own database.
            own = str(connection.settings_dict["NAME"]).lower()
            value = DEFAULT if value is not None and value.lower() == own else None
        if name == "session_authorization" and "role" in self._names():
            self.set("role", None, connection, local=local)
        if connection.vendor != "postgresql":
            self._set_base(name, value)
            return
        mode = mode_of(connection)
        if mode is Mode.AUTOCOMMIT:
            if not local:  # else it was over with its statement
                self._set_base(name, None if local is None else value)
        elif mode is Mode.MANUAL:
            # Nothing is cached now, and a local value is gone when something is.
            if not local:
                self._set_base(name, None)
        else:
            if not self.layers:
                self.layers = [_Layer(None)]
                self._block = connection.atomic_blocks[0]
                self._is_test = mode is Mode.TEST
            known = None if local is None else value
            self.layers[-1].set(name, known, local=bool(local))

    def _set_base(self, name: str, value: str | None) -> None:
        if value == DEFAULT:
            self.base.pop(name, None)
        else:
            self.base[name] = value


def follow(
    sql: str | None,
    params: Any,
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
        if change.kind is Kind.SCHEMA:
            for listener in on_schema_change:
                listener(connection)
        elif not _is_elsewhere(change, connection):
            if error is not None and change.kind is Kind.SET:
                session.apply(replace(change, value=None, local=None), connection)
            else:
                session.apply(change, connection)


def _is_undone(error: BaseException, connection: BaseDatabaseWrapper) -> bool:
    """Whether a statement that failed has changed nothing for certain."""
    return isinstance(error, Error) and connection.vendor in ("postgresql", "sqlite")


def _is_elsewhere(change: Change, connection: BaseDatabaseWrapper) -> bool:
    """Whether a variable is told by something else, or tells nothing."""
    name = change.name
    if change.kind is not Kind.SET:
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

# Sessions by the driver's connection: one from a pool comes back with what was set in it.
_by_driver: weakref.WeakKeyDictionary[Any, Session] = weakref.WeakKeyDictionary()


def session_of(connection: BaseDatabaseWrapper) -> Session:
    """Return what is known of the session that ``connection`` has now."""
    session: Session | None = getattr(connection, _ATTRIBUTE, None)
    if session is None:
        session = Session()
        setattr(connection, _ATTRIBUTE, session)
    return session


def start(connection: BaseDatabaseWrapper, **_: Any) -> None:
    """A connection was opened, or taken from a pool: receives ``connection_created``.

    It has to be the first of its receivers: others may set what the session decides.
    """
    session = Session()
    try:
        before = _by_driver.get(connection.connection)
        _by_driver[connection.connection] = session
    except TypeError:  # sqlite3's cannot be referred to weakly, and has no pool
        before = None
    if before is not None:
        # A pool may reset what it takes back, or not.
        session.base = dict.fromkeys(before.base)
        session.lost = before.lost
    setattr(connection, _ATTRIBUTE, session)


def variables_of(connection: BaseDatabaseWrapper) -> Mapping[str, str | None]:
    """Return the variables that were set in the session, by name; None where not known.

    Raises :class:`Unknown` where nothing is known.
    """
    session = session_of(connection)
    if connection.connection is None:
        return {}
    if session.lost:
        raise Unknown(f"session state unknown: {session.lost}")
    return session.variables(connection)


def text_of(connection: BaseDatabaseWrapper) -> str:
    """Return what the session decides, as text for a key. Raises :class:`Unknown`."""
    variables = variables_of(connection)
    text = _login(connection)
    if variables:
        for name, value in sorted(variables.items()):
            if value is None:
                raise Unknown(f"session state unknown: {name}")
            text += f";{name}={value!r}"
    return text + _told(connection)


def is_default(connection: BaseDatabaseWrapper) -> bool:
    """Whether the session is as its settings alone make it."""
    try:
        return not variables_of(connection) and not _told(connection)
    except Unknown:
        return False


def everywhere() -> dict[str, str]:
    """Return the sessions of this thread's connections, by alias. Raises :class:`Unknown`."""
    return {
        connection.alias: text_of(connection)
        for connection in connections.all(initialized_only=True)
    }


def writes_elsewhere(connection: BaseDatabaseWrapper) -> bool:
    """Whether a statement may write another database than the connection's settings name."""
    base = session_of(connection).base
    return bool(base) and any(name.startswith(("database", "attached ")) for name in base)


def _told(connection: BaseDatabaseWrapper) -> str:
    """Return what the connection object and the project's callable say."""
    told = ""
    if (schema := getattr(connection, "schema_name", None)) is not None:
        public = getattr(connection, "include_public_schema", None)
        told = f";schema={schema!r},{public!r}"
    if (tell := conf.CACHE.SESSION) is not None:
        try:
            own = tell(connection)
        except Exception as error:
            name = conf.CACHE.path("SESSION")
            logger.exception("%s raised; nothing is cached for it.", name)
            raise Unknown(f"SESSION raised {type(error).__name__}") from None
        if own is not None and not isinstance(own, str):
            raise Unknown(f"SESSION returned {type(own).__name__}, not text")
        told += f";own={own!r}" if own else ""
    return told


def _login(connection: BaseDatabaseWrapper) -> str:
    """Return what the connection's settings decide: whose rights, and with which options."""
    options = connection.settings_dict
    known: tuple[Any, str] | None = getattr(connection, "_querybudget_login", None)
    if known is None or known[0] is not options:
        own = {
            name: _spelled_option(value)
            for name, value in (options.get("OPTIONS") or {}).items()
            if not str(name).startswith(_OTHER_OPTIONS)
        }
        text = digest(repr((options.get("USER"), options.get("TIME_ZONE"), sorted(own.items()))))
        known = (options, text[:8])
        connection._querybudget_login = known  # type: ignore[attr-defined]
    return known[1]


def _spelled_option(value: Any) -> str:
    """Return an option as text that is the same in all processes."""
    if isinstance(value, str | int | float | None):
        return repr(value)
    if isinstance(value, dict):
        return repr(sorted((str(key), _spelled_option(item)) for key, item in value.items()))
    return type(value).__name__
