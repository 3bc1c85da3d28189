"""Where a connection stands: its transaction, and what it has written in it.

Nothing here is pushed or popped. What a transaction has written hangs on a callback in the
connection's own ``run_on_commit`` list: Django runs it at the commit and drops it at a rollback
(of the transaction, or of the savepoint that the writes began in), whatever way that comes about.
So a state cannot be left behind by a transaction whose beginning or end went wrong. Run or
dropped, the tags are renewed; a transaction that is open though its callback is gone (somebody
emptied ``run_on_commit``) gets another one.
"""

from __future__ import annotations

import time
import weakref
from enum import Enum
from typing import TYPE_CHECKING, Any

from django_querybudget.cache.tokens import token_time
from django_querybudget.conf import conf
from django_querybudget.sql.fingerprints import StatementKind, first_words, statement_kind

from .on_commit import OnCommit, dropped, settle_dropped
from .pending import Pending

if TYPE_CHECKING:
    from collections.abc import Collection

    from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = ["Mode", "State", "mode_of", "state_of"]

_ATTRIBUTE = "_querybudget_cache_state"


class Mode(Enum):
    """Who decides when what the connection writes is committed."""

    AUTOCOMMIT = "each statement is committed by itself"
    ATOMIC = "Django's atomic()"
    TEST = "a TestCase: nothing is ever committed"
    MANUAL = "the host's code, out of Django's sight"


def mode_of(connection: BaseDatabaseWrapper) -> Mode:
    """Return the connection's mode. Opens no connection and sends nothing."""
    if connection.in_atomic_block:
        if not connection.commit_on_exit:
            return Mode.MANUAL
        if any(getattr(block, "_from_testcase", False) for block in connection.atomic_blocks):
            return Mode.TEST
        return Mode.ATOMIC
    if connection.connection is None:
        return Mode.AUTOCOMMIT if connection.settings_dict["AUTOCOMMIT"] else Mode.MANUAL
    if not connection.autocommit or _in_own_transaction(connection):
        return Mode.MANUAL
    return Mode.AUTOCOMMIT


def _in_own_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Whether a raw BEGIN has opened a transaction that Django knows nothing of."""
    driver: Any = connection.connection
    if connection.vendor == "sqlite":
        return bool(driver.in_transaction)
    if connection.vendor == "postgresql":
        # psycopg 3 makes a new object for each ``info``, psycopg2 has no ``pgconn``.
        told = getattr(driver, "pgconn", None) or getattr(driver, "info", None)
        # 0: idle; 4: unknown, of a connection that is lost
        return told is not None and int(told.transaction_status) not in (0, 4)
    # MySQL's drivers tell at least of a raw SET autocommit = 0.
    is_automatic = getattr(driver, "get_autocommit", None)
    return state_of(connection).began or (is_automatic is not None and not is_automatic())


TELLING = frozenset({"sqlite", "postgresql"})
"""Vendors whose drivers tell whether a transaction is open."""


class State:
    """What is known of one connection."""

    def __init__(self) -> None:
        self.began = False  # a raw BEGIN was seen (MySQL's drivers do not tell)
        self.lockable: dict[Any, bool] | None = {}
        """By table, whether its rows may be locked to be read; None: the session is not known."""
        self._pending: Pending | None = None
        self._block: object = None  # the outermost one of the transaction that _pending is of
        self._place = 0  # of the callback in run_on_commit
        self._manual: Pending | None = None
        self._test_block: object = None
        self._outermost: object = None
        self._started = 0.0

    @property
    def is_watched(self) -> bool:
        """Whether there is anything to :meth:`settle`, besides when a transaction began."""
        return bool(
            self._pending is not None
            or self._manual is not None
            or self._test_block is not None
            or dropped
        )

    def has_met(self, connection: BaseDatabaseWrapper) -> bool:
        """Whether :meth:`settle` has nothing to do for a statement that only reads.

        The first statement of a transaction may take its snapshot, so its time must be noted.
        """
        if self.is_watched:
            return False
        if connection.in_atomic_block:
            blocks = connection.atomic_blocks
            return bool(blocks) and blocks[0] is self._outermost
        self._outermost = None
        return True

    def note(self, sql: object) -> None:
        """A statement outside of ``atomic()`` is done, on a driver that tells of no transaction."""
        if not isinstance(sql, str) or statement_kind(sql) is not StatementKind.TRANSACTION:
            return
        first, second = first_words(sql)
        self.began = (
            first in ("BEGIN", "START")
            or (self.began and first in ("SAVEPOINT", "RELEASE", "SET"))
            or (first == "ROLLBACK" and second == "TO")
        )

    def settle(self, connection: BaseDatabaseWrapper, mode: Mode) -> None:
        """Bring the state up to what the connection is at now."""
        if dropped:
            settle_dropped()
        pending = self._pending
        if pending is not None and (pending.done or not self._is_waiting(connection, pending)):
            self._settle_pending(connection, pending)
        if self._manual is not None:
            if mode is Mode.AUTOCOMMIT:
                manual, self._manual = self._manual, None
                manual.renew()
            else:
                self._manual.add((), always_mark=True)  # its marks again, if they are old
        if self._test_block is not None and self._test_block not in connection.atomic_blocks:
            self._test_block = None
        if mode is Mode.AUTOCOMMIT:
            self._outermost = None
        else:
            outermost = connection.atomic_blocks[0] if connection.atomic_blocks else None
            if outermost is not self._outermost or outermost is None:
                self._outermost, self._started = outermost, time.time()

    def _settle_pending(self, connection: BaseDatabaseWrapper, pending: Pending) -> None:
        """The callback has run, or is gone: by the transaction's end, or in the middle of it."""
        blocks = connection.atomic_blocks
        if not pending.done and blocks and blocks[0] is self._block:
            # A savepoint was rolled back, or somebody emptied run_on_commit. Or a COMMIT took the
            # callback along, and the same Atomic object (a decorator's) began the next
            # transaction: what is committed by now must be renewed now.
            pending.renew_so_far()
            self._wait(connection, pending)
        else:
            # By the transaction's end, or the commit's callbacks are running.
            self._pending = self._block = None
            pending.renew()

    def _wait(self, connection: BaseDatabaseWrapper, pending: Pending) -> None:
        """Let the connection renew at its commit."""
        callback = OnCommit(connection, pending)
        pending.callback = weakref.ref(callback)
        self._block = connection.atomic_blocks[0] if connection.atomic_blocks else None
        self._place = len(connection.run_on_commit)
        connection.on_commit(callback, robust=True)

    def _is_waiting(self, connection: BaseDatabaseWrapper, pending: Pending) -> bool:
        callback = pending.callback() if pending.callback is not None else None
        if callback is None:
            return False
        waiting = connection.run_on_commit
        if self._place < len(waiting) and waiting[self._place][1] is callback:
            return True
        # A rolled back savepoint takes those away that were before it.
        for place, (_, other, *_) in enumerate(waiting):
            if other is callback:
                self._place = place
                return True
        return False

    def is_to_renew(self, tag: str) -> bool:
        """Whether the open transaction has written ``tag``, which its commit will renew."""
        return self._pending is not None and tag in self._pending.tags

    def has_written(self) -> bool:
        """Whether the current transaction has written, as of the last :meth:`settle`."""
        return self._pending is not None or self._test_block is not None

    def may_store(self, tokens: Collection[str], mode: Mode, began: float, lag: float) -> bool:
        """Whether what was read is as new as the tokens that were read before it.

        A transaction may read from a snapshot as old as its start, whatever its isolation level
        is, and a replica is behind: what it read may be from before the newest token. ``began``
        is when the first of the reads was sent, in seconds since the epoch.
        """
        if mode is Mode.AUTOCOMMIT:
            if not lag:
                return True
        else:
            began = min(began, self._started)
        before = began - lag - conf.CACHE.CLOCK_SKEW
        return all(token_time(token) < before for token in tokens)

    def writing(
        self, connection: BaseDatabaseWrapper, mode: Mode, tags: Collection[str]
    ) -> Pending | None:
        """``tags`` are about to be written.

        Outside of a transaction: returns what is to be renewed when the statement is done.
        """
        if mode is Mode.TEST:
            # Seen by nobody else, ever: this connection alone stops reading from the cache.
            self._test_block = next(
                block
                for block in reversed(connection.atomic_blocks)
                if getattr(block, "_from_testcase", False)
            )
        elif mode is Mode.ATOMIC:
            if self._pending is None:
                self._pending = Pending(connection.alias)
                self._wait(connection, self._pending)
            self._pending.add(tags)
        elif mode is Mode.MANUAL:
            if self._manual is None:
                self._manual = Pending(connection.alias)
            self._manual.add(tags, always_mark=True)
        else:
            statement = Pending(connection.alias)
            statement.add(tags)
            return statement
        return None


def state_of(connection: BaseDatabaseWrapper) -> State:
    """Return the state of ``connection``, which lives as long as the connection does."""
    state: State | None = getattr(connection, _ATTRIBUTE, None)
    if state is None:
        state = State()
        setattr(connection, _ATTRIBUTE, state)
    return state
