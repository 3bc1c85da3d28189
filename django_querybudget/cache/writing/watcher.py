"""Seeing every write: the watcher on the database hook."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from django_querybudget.cache import catalog, identity, relations, sessions, stats, tags
from django_querybudget.cache.reading.statements import PendingRead
from django_querybudget.cache.reading.threads import fill_here
from django_querybudget.cache.stores.access import is_busy
from django_querybudget.cache.transactions import TELLING, mode_of, state_of
from django_querybudget.recording import hook
from django_querybudget.sql.text import sql_text

from . import old_scopes
from .forms import form_of
from .statements import effect

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from django_querybudget.cache.transactions.pending import Pending

logger = logging.getLogger("django_querybudget")

__all__ = ["watch"]


class Writes:
    """Hears of every statement: marks before a write, renews after it, and helps a fill."""

    def before(
        self, sql: object, params: object, many: bool, connection: BaseDatabaseWrapper
    ) -> Pending | PendingRead | None:
        """Mark what the statement is about to write; take the tokens of what it reads."""
        if is_busy():
            return None
        state = state_of(connection)
        text = sql_text(sql, connection)
        form = form_of(text, connection)
        if state.lockable:
            if text is None or old_scopes.changes_what_is_lockable(text):
                state.lockable = None
            elif form is not None and form.everything:
                state.lockable = {}  # a column may be gone
        fill = fill_here()
        if form is None and fill is None and state.has_met(connection):
            return None  # most statements of most requests
        mode = mode_of(connection)
        state.settle(connection, mode)
        if form is None:
            if fill is not None and text is not None:
                return fill.reading(text, connection, None if many else params)
            return None
        if fill is not None:
            fill.spoil("the read wrote")
        database = tags.database_name(connection.alias)
        if form.everything:
            stats.count_everything(form.everything)
        try:
            write = effect(form, params, many, database)
            found = write.tags
            if write.old_scopes is not None:
                found |= old_scopes.written(write.old_scopes, connection, mode, text or "", params)
        except Exception:
            # A parameter of the host's own class may raise anything. What is written then is not
            # known, and the statement goes on.
            logger.exception("A write could not be read: everything in %r is renewed.", database)
            found = frozenset({tags.everything(database)})
        if sessions.writes_elsewhere(connection):
            found |= {tags.everything(name) for name in tags.every_database()}
        return state.writing(connection, mode, found)

    def after(
        self,
        sql: object,
        params: object,  # as the hook calls it
        many: bool,
        connection: BaseDatabaseWrapper,
        error: BaseException | None,  # a lost connection may have committed
        noted: Pending | PendingRead | None,
        cursor: Any,
    ) -> None:
        """Renew what the statement wrote, if it is committed by now."""
        if is_busy():
            return
        if isinstance(noted, PendingRead):
            noted.done(cursor, connection, error)
            noted = None
        try:
            sessions.follow(sql_text(sql, connection), None if many else params, connection, error)
        finally:
            state = state_of(connection)
            if noted is not None:
                noted.renew()
                if connection.in_atomic_block:
                    # A wrapper of the host's has begun a transaction, and not ended it.
                    state.writing(connection, mode_of(connection), noted.tags)
            if connection.vendor not in TELLING and not connection.in_atomic_block:
                state.note(sql)
            if state.is_watched:
                state.settle(connection, mode_of(connection))


_writes = Writes()


def _forget_catalog(connection: BaseDatabaseWrapper) -> None:
    """A statement has changed the schema: for this connection now, for others at the commit."""
    catalog.forget(connection)
    if connection.in_atomic_block and connection.vendor == "postgresql":
        connection.on_commit(partial(catalog.forget, connection), robust=True)


def watch() -> None:
    """Watch the writes of this process. Once is enough, twice is harmless."""
    hook.add_watcher(_writes)
    hook.when_opened(sessions.start, "django_querybudget.cache.sessions")
    identity.install()
    relations.install()
    if _forget_catalog not in sessions.on_schema_change:
        sessions.on_schema_change.append(_forget_catalog)
