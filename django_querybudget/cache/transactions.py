"""Where a connection stands: its transaction, and what it has written in it.

Nothing here is pushed or popped. What a transaction has written hangs on a callback in the
connection's own ``run_on_commit`` list: Django runs it at the commit and drops it at a rollback
(of the transaction, or of the savepoint that the writes began in), whatever way that comes about.
So a state cannot be left behind by a transaction whose beginning or end went wrong. Run or
dropped, the tags are renewed: only a transaction that is still open has nothing to tell.
"""

from __future__ import annotations

import time
import weakref
from collections import deque
from enum import Enum
from typing import TYPE_CHECKING, Any

from django_querybudget.cache.stores.store import store_for
from django_querybudget.conf import conf
from django_querybudget.sql.fingerprints import StatementKind, first_words, statement_kind

from .tokens import new_writer, token_time

if TYPE_CHECKING:
    from collections.abc import Collection

    from django.db.backends.base.base import BaseDatabaseWrapper

    from django_querybudget.cache.stores.store import Store

__all__ = ["Mode", "Pending", "State", "mode_of", "settle_dropped", "state_of"]

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


class Pending:
    """The tags that one writer has written and not yet renewed."""

    def __init__(self) -> None:
        self.writer = new_writer()
        self.tags: frozenset[str] = frozenset()
        self.marked_at = 0.0
        self.timeout = 0.0  # of the marks, seconds
        self._store: Store | None = None  # where they are
        self.done = False

    def add(self, tags: Collection[str], *, always_mark: bool = False) -> None:
        """Note that ``tags`` are about to be written, and mark those that are not marked yet."""
        settings = conf.CACHE
        before = self.tags
        self.tags = before.union(tags) if before else frozenset(tags)
        if not (settings.IN_FLIGHT_MARKS or always_mark):
            return
        now = time.monotonic()
        timeout = self.timeout = settings.MARK_TIMEOUT
        renewing = not self.marked_at or now - self.marked_at > timeout / 3
        if wanted := (self.tags if renewing else self.tags - before):
            store = self._store = store_for(settings.ALIAS)
            done = store.mark(wanted, self.writer, timeout)
            if not done:
                self.marked_at = 0.0  # the next statement marks all of them again
            elif renewing:
                self.marked_at = now

    def renew(self) -> None:
        """What was written is committed, or may be: no entry from before is true any more."""
        if not self.done:
            self.done = True
            if self.tags:
                age = time.monotonic() - self.marked_at
                (self._store or store_for(conf.CACHE.ALIAS)).renew(
                    self.tags,
                    self.writer,
                    marked=bool(self.marked_at) and age < self.timeout / 2,
                )


class OnCommit:
    """The callback whose presence in ``run_on_commit`` says that the transaction still runs."""

    def __init__(self, connection: BaseDatabaseWrapper, pending: Pending) -> None:
        self.connection = connection
        self.pending = pending
        weakref.finalize(self, _note_dropped, pending).atexit = False

    def __call__(self) -> None:
        # captureOnCommitCallbacks(execute=True) runs callbacks of what is not committed.
        if not self.connection.in_atomic_block:
            self.pending.renew()


_dropped: deque[Pending] = deque()


def _note_dropped(pending: Pending) -> None:
    # Called when the callback is gone, perhaps by the garbage collector at any point of any code:
    # nothing but a note is safe here.
    if not pending.done:
        _dropped.append(pending)


def settle_dropped() -> None:
    """Renew what transactions of any thread wrote whose callback was dropped without being run.

    Mostly they were rolled back. But a callback goes after a COMMIT, too: when one before it
    raised, when the answer to the COMMIT was lost, when a statement committed implicitly. To tell
    them apart is impossible, to take one for the other would be stale.
    """
    while _dropped:
        try:
            pending = _dropped.popleft()
        except IndexError:
            return
        pending.renew()


class State:
    """What is known of one connection."""

    def __init__(self) -> None:
        self.statement: Pending | None = None
        self.began = False  # a raw BEGIN was seen (MySQL's drivers do not tell)
        self._pending: Pending | None = None
        self._callback: weakref.ref[OnCommit] | None = None
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
            or _dropped
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

    def note(self, sql: Any) -> None:
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
        if _dropped:
            settle_dropped()
        pending = self._pending
        if pending is not None:
            if pending.done:
                self._pending = None
            elif not self._is_waiting(connection):
                # Not waiting and not run: dropped, or the commit's callbacks are running.
                self._pending = None
                pending.renew()
        if self._manual is not None:
            if mode is Mode.AUTOCOMMIT:
                manual, self._manual = self._manual, None
                manual.renew()
            elif time.monotonic() - self._manual.marked_at > conf.CACHE.MARK_TIMEOUT / 3:
                self._manual.add((), always_mark=True)
        if self._test_block is not None and self._test_block not in connection.atomic_blocks:
            self._test_block = None
        if mode is Mode.AUTOCOMMIT:
            self._outermost = None
        else:
            outermost = connection.atomic_blocks[0] if connection.atomic_blocks else None
            if outermost is not self._outermost or outermost is None:
                self._outermost, self._started = outermost, time.time()

    def _is_waiting(self, connection: BaseDatabaseWrapper) -> bool:
        callback = self._callback() if self._callback is not None else None
        return callback is not None and any(
            waiting[1] is callback for waiting in connection.run_on_commit
        )

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

    def writing(self, connection: BaseDatabaseWrapper, mode: Mode, tags: Collection[str]) -> None:
        """A statement that writes ``tags`` is about to be sent."""
        if mode is Mode.TEST:
            # Seen by nobody else, ever: this connection alone stops reading from the cache.
            self._test_block = next(
                block
                for block in reversed(connection.atomic_blocks)
                if getattr(block, "_from_testcase", False)
            )
        elif mode is Mode.ATOMIC:
            if self._pending is None:
                self._pending = Pending()
                callback = OnCommit(connection, self._pending)
                self._callback = weakref.ref(callback)
                connection.on_commit(callback, robust=True)
            self._pending.add(tags)
        elif mode is Mode.MANUAL:
            if self._manual is None:
                self._manual = Pending()
            self._manual.add(tags, always_mark=True)
        else:
            self.statement = Pending()
            self.statement.add(tags)

    def written(self) -> None:
        """The statement is done; outside of a transaction it is committed, too."""
        statement, self.statement = self.statement, None
        if statement is not None:
            statement.renew()


def state_of(connection: BaseDatabaseWrapper) -> State:
    """Return the state of ``connection``, which lives as long as the connection does."""
    state: State | None = getattr(connection, _ATTRIBUTE, None)
    if state is None:
        state = State()
        setattr(connection, _ATTRIBUTE, state)
    return state
