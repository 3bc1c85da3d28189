"""The variables that were set in a session: :class:`Session`."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from django_querybudget.cache.transactions import Mode, mode_of

from .kinds import DEFAULT, TEMPORARY, Change, ChangeKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = ["Session", "Unknown", "session_of", "start"]

_ATTRIBUTE = "_querybudget_session"


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
        if kind is ChangeKind.LOSS:
            self.lost = change.name
        elif kind is ChangeKind.SET:
            if change.name == TEMPORARY:
                for name in [name for name in self._names() if name.startswith(TEMPORARY)]:
                    self.set(name, DEFAULT, connection, local=False)
            else:
                self.set(change.name, change.value, connection, local=change.local)
        elif kind is ChangeKind.RESET_ALL:
            for name in self._names() - {"role", "session_authorization"}:
                if not name.startswith(TEMPORARY):
                    self.set(name, DEFAULT, connection, local=False)
        elif kind is ChangeKind.DISCARD_ALL:
            self.base, self.layers, self.lost = {}, [], ""
        elif self.layers:  # else it is of before the first change, which all come after it
            self._follow(change)

    def _follow(self, change: Change) -> None:
        """Take in what becomes of the transaction in which variables were set."""
        place = self._place(change.name)
        if change.kind is ChangeKind.END:
            self.end()
        elif change.kind is ChangeKind.SAVEPOINT:
            self.layers.append(_Layer(change.name))
        elif change.kind is ChangeKind.ROLLBACK_TO:
            del self.layers[place or 0 :]
            if place is not None:
                self.layers.append(_Layer(change.name))
        elif change.kind is ChangeKind.RELEASE and place is not None:
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


# Sessions by the driver's connection: one from a pool comes back with what was set in it.
_by_driver: weakref.WeakKeyDictionary[Any, Session] = weakref.WeakKeyDictionary()


def session_of(connection: BaseDatabaseWrapper) -> Session:
    """Return what is known of the session that ``connection`` has now."""
    session: Session | None = getattr(connection, _ATTRIBUTE, None)
    if session is None:
        session = Session()
        setattr(connection, _ATTRIBUTE, session)
    return session


def start(connection: BaseDatabaseWrapper, **_: object) -> None:
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
