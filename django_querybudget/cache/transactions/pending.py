"""What one writer has written and not yet renewed: bounded, whatever a transaction writes.

Why there is a bound
    A transaction may write any number of rows. Their tags are kept, marked every few seconds and
    renewed at the commit, so that there must be few. Past :data:`MANY_ROWS` rows of one table the
    table's bulk tag and that of any value stand for the others: every entry of a row depends on one
    of them.
    Past :data:`MANY_TAGS` tags it does so for every table. What is in the set already stays there.
"""

from __future__ import annotations

import time
import weakref
from typing import TYPE_CHECKING, Any

from django_querybudget.cache import tags
from django_querybudget.cache.stores.chosen import store_for
from django_querybudget.cache.tokens import new_writer
from django_querybudget.conf import conf

from .renewal import tell

if TYPE_CHECKING:
    from collections.abc import Collection

    from django_querybudget.cache.stores.store import Store

__all__ = ["MANY_ROWS", "MANY_TAGS", "Pending"]

MANY_ROWS = 200
"""As many rows of one table, or values of its scopes, are told apart in one transaction."""

MANY_TAGS = 1000
"""From this many tags on, no transaction tells any more rows, scopes or tags apart."""


class Pending:
    """The tags that one writer has written and not yet renewed.

    ``alias`` is that of the connection that writes.
    """

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self.writer = new_writer()
        self.tags: set[str] = set()
        self.marked_at = 0.0
        self.timeout = 0.0  # of the marks, seconds
        self.done = False
        self.callback: weakref.ref[Any] | None = None
        """What waits for the commit in the connection's ``run_on_commit``."""
        self._numbers: dict[frozenset[str], int] = {}  # of tags, by those that stand for many
        self._store: Store | None = None  # where the marks are

    @property
    def is_waited_for(self) -> bool:
        """Whether a callback is there that renews at the commit."""
        return self.callback is not None and self.callback() is not None

    def add(self, tags: Collection[str], *, always_mark: bool = False) -> None:
        """Note that ``tags`` are about to be written, and mark those that are not marked yet."""
        settings = conf.CACHE
        new = self._taken(tags)
        if not (settings.IN_FLIGHT_MARKS or always_mark):
            return
        now = time.monotonic()
        timeout = self.timeout = settings.MARK_TIMEOUT
        renewing = not self.marked_at or now - self.marked_at > timeout / 3
        if wanted := (frozenset(self.tags) if renewing else new):
            store = self._store = store_for(settings.ALIAS)
            done = store.mark(wanted, self.writer, timeout)
            if not done:
                self.marked_at = 0.0  # the next statement marks all of them again
            elif renewing:
                self.marked_at = now

    def _taken(self, found: Collection[str]) -> frozenset[str]:
        """Take the tags that are not there yet, or those that stand for them; return what came."""
        new = set()
        for tag in found:
            if tag in self.tags:
                continue
            many = tags.stand_ins(tag)
            if not many:
                new.add(tag)
            elif not self.tags.issuperset(many):
                number = self._numbers.get(many, 0)
                if number < MANY_ROWS and len(self.tags) < MANY_TAGS:
                    self._numbers[many] = number + 1
                    new.add(tag)
                else:
                    new |= many
        self.tags |= new
        return frozenset(new)

    def renew(self) -> None:
        """What was written is committed, or may be: no entry from before is true any more."""
        if not self.done:
            self.done = True
            if self.tags:
                age = time.monotonic() - self.marked_at
                (self._store or store_for(conf.CACHE.ALIAS)).renew(
                    frozenset(self.tags),
                    self.writer,
                    marked=bool(self.marked_at) and age < self.timeout / 2,
                )
                tell(self.alias, self.tags)

    def renew_so_far(self) -> None:
        """What was written may be committed, or may be to be: renew, and leave the marks."""
        if self.tags and not self.done:
            (self._store or store_for(conf.CACHE.ALIAS)).renew(frozenset(self.tags))
