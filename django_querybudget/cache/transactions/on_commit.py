"""The callback that renews at the commit, and what is done where it vanished."""

from __future__ import annotations

import weakref
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from .pending import Pending

__all__ = ["OnCommit", "dropped", "settle_dropped"]


class OnCommit:
    """The callback whose presence in ``run_on_commit`` says that the transaction still runs."""

    def __init__(self, connection: BaseDatabaseWrapper, pending: Pending) -> None:
        self.connection = connection
        self.pending = pending
        # The note must not keep the connection, whose own list keeps this callback.
        note = Dropped(pending, weakref.ref(connection))
        weakref.finalize(self, _note_dropped, note).atexit = False

    def __call__(self) -> None:
        # captureOnCommitCallbacks(execute=True) runs callbacks of what is not committed.
        if not self.connection.in_atomic_block:
            self.pending.renew()


@dataclass(frozen=True, slots=True)
class Dropped:
    """Says that a transaction's callback is gone, whatever became of the transaction."""

    pending: Pending
    connection: weakref.ref[BaseDatabaseWrapper]

    @property
    def is_over(self) -> bool:
        """Whether the transaction has ended for certain, asked in any thread.

        Django puts a connection back into autocommit after the COMMIT or ROLLBACK, but leaves its
        atomic block before. What a transaction did on a connection that has begun another one is
        that connection's own to settle.
        """
        connection = self.connection()
        return connection is None or (
            not connection.in_atomic_block
            and (connection.autocommit or connection.connection is None)
        )


dropped: deque[Dropped] = deque()


def _note_dropped(note: Dropped) -> None:
    # Called when the callback is gone, perhaps by the garbage collector at any point of any code:
    # nothing but a note is safe here.
    if not note.pending.done:
        dropped.append(note)


def settle_dropped() -> None:
    """Renew what transactions of any thread wrote that are over, and whose callback never ran.

    Mostly they were rolled back. But a callback goes after a COMMIT, too: when one before it
    raised, when the answer to the COMMIT was lost, when a statement committed implicitly. To tell
    them apart is impossible, to take one for the other would be stale. A callback may also be gone
    from a transaction that is open: then it is for :meth:`State.settle` to go on.
    """
    for _ in range(len(dropped)):
        try:
            note = dropped.popleft()
        except IndexError:
            return
        if note.is_over:
            note.pending.renew()
        elif not note.pending.done and not note.pending.is_waited_for:
            dropped.append(note)
