"""``invalidate()``: for what the watcher on the database hook cannot see."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django.apps import apps
from django.db import connections, models

from django_querybudget.cache import tags
from django_querybudget.cache.lazy import unwrapped
from django_querybudget.cache.stores.chosen import store_for
from django_querybudget.cache.tables import tables, whole_table
from django_querybudget.cache.transactions import Mode, mode_of, state_of
from django_querybudget.cache.transactions.on_commit import settle_dropped
from django_querybudget.cache.transactions.renewal import tell
from django_querybudget.conf import conf

from .instances import row_tags, with_parents

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = ["grouped_invalidation", "invalidate", "invalidate_all", "renew"]


@dataclass(slots=True)
class GroupedCalls:
    """The calls of one block, by alias, and where the connections stood when it began."""

    began_in: dict[str, tuple[Mode, object]]
    found: dict[str | None, set[str]] = field(default_factory=dict)

    def takes(self, connection: BaseDatabaseWrapper) -> bool:
        """Whether no transaction that began inside of the block may end before it does."""
        before = self.began_in.get(connection.alias, (Mode.AUTOCOMMIT, None))
        return _standing(connection) == before


_group: ContextVar[GroupedCalls | None] = ContextVar("querybudget_cache_group", default=None)


def invalidate(*what: object, using: str | None = None) -> None:
    """Let nothing be read from the cache that depends on ``what``, for writes Django cannot see.

    ``what``: models and their labels (``"payment.Payment"``), instances, querysets, names of
    tables, and tags given to ``cached_queryset(tags=…)``. ``using`` is the alias of the database
    that was written; without it, an instance's and a queryset's own alias, and for the rest every
    database. Inside ``atomic()`` it happens at the commit, like the invalidation of the writes
    there; for a tag, at the commit of each transaction that is open in this thread.

    Raises :class:`TypeError` for anything else, and where nothing is named:
    :func:`invalidate_all` is there for everything. :class:`ValueError` for an empty text.
    """
    if not what:
        raise TypeError(
            "invalidate() needs a model, an instance, a queryset, a table or a tag; "
            "invalidate_all() invalidates everything."
        )
    for one in map(unwrapped, what):
        for alias, found in _tags_of(one, using):
            renew(alias, found)


def invalidate_all(using: str | None = None) -> None:
    """Let nothing be read from the cache that depends on the database ``using``, or on any.

    Raises :class:`TypeError` where ``using`` is no alias.
    """
    if using is not None and not isinstance(using, str):
        raise TypeError(
            f"invalidate_all() takes the alias of a database, not {using!r}; "
            f"invalidate() takes models, instances, querysets, tables and tags."
        )
    for alias in [using] if using is not None else list(connections):
        renew(alias, {tags.everything(tags.database_name(alias))})


@contextmanager
def grouped_invalidation() -> Iterator[None]:
    """Send the ``invalidate()`` calls of a block at its end, in one round trip per database.

    Those of a transaction that began inside of the block are sent at its commit.

    They are sent when the block raised, too: what it wrote before is written.
    """
    if _group.get() is not None:
        yield
        return
    group = GroupedCalls({each.alias: _standing(each) for each in _opened()})
    token = _group.set(group)
    try:
        yield
    finally:
        _group.reset(token)
        for alias, found in group.found.items():
            renew(alias, found)


def renew(alias: str | None, found: Collection[str]) -> None:
    """Renew the tags ``found``: at the commit where there is one to come, else at once.

    ``alias`` is that of the database that the tags are of. A tag of the project's own is of none
    (None): whatever transaction is open on this thread's connections may be what it was announced
    for, and each of them renews it. In a ``TestCase`` it is renewed at once, since there is no
    commit.
    """
    if not found:
        return
    used = [connections[alias]] if alias is not None else _opened()
    group = _group.get()
    if group is not None and all(map(group.takes, used)):
        group.found.setdefault(alias, set()).update(found)
        return
    settle_dropped()
    is_waiting = is_told = False
    for connection in used:
        mode = mode_of(connection)
        state = state_of(connection)
        state.settle(connection, mode)
        if mode is Mode.AUTOCOMMIT:
            continue
        if mode is Mode.TEST and alias is None:
            is_told = True
            continue
        state.writing(connection, mode, found)
        if mode is Mode.MANUAL:
            is_told = True
        else:
            is_waiting = True
    if is_told or not is_waiting:
        store_for(conf.CACHE.ALIAS).renew(tuple(found))
        tell(alias, found)


def _opened() -> list[BaseDatabaseWrapper]:
    """Return this thread's connections that may be in a transaction."""
    return [
        connection
        for connection in connections.all(initialized_only=True)
        if connection.connection is not None or connection.in_atomic_block
    ]


def _standing(connection: BaseDatabaseWrapper) -> tuple[Mode, object]:
    blocks = connection.atomic_blocks
    return mode_of(connection), blocks[0] if blocks else None


def _tags_of(one: object, using: str | None) -> Iterator[tuple[str | None, set[str]]]:
    """Return the tags that ``one`` means, with the alias whose transaction they wait for."""
    known = tables()
    if isinstance(one, type) and issubclass(one, models.Model):
        names = {model._meta.db_table for model in with_parents(one)}
        yield from _whole_tables(names, using)
    elif isinstance(one, models.Model):
        alias = using or one._state.db
        for each in [alias] if alias is not None else list(connections):
            yield each, row_tags(one, each)
    elif isinstance(one, models.QuerySet):
        alias = using or one.db
        sql = str(one.query) if not one.query.is_empty() else ""
        names = set(known.named_in(sql)) | {one.model._meta.db_table}
        yield from _whole_tables(names, alias)
    elif isinstance(one, str):
        if not one:
            raise ValueError("invalidate() was given an empty text, which names nothing.")
        yield using, {tags.user_tag(one)}
        yield from _whole_tables(_tables_called(one), using)
    else:
        own = " Its own invalidate() takes its arguments." if hasattr(one, "invalidate") else ""
        raise TypeError(
            f"invalidate() takes models, instances, querysets, names of tables and tags, "
            f"not {one!r} of type {type(one).__name__}.{own}"
        )


def _tables_called(name: str) -> set[str]:
    """Return the tables that a text names: by their own name, or by the model's label."""
    found = {known} if (known := tables().by_lower_name.get(name.lower())) else set()
    with suppress(LookupError, ValueError):  # a tag, which may hold a point too
        found |= {each._meta.db_table for each in with_parents(apps.get_model(name))}
    return found


def _whole_tables(names: set[str], using: str | None) -> Iterator[tuple[str, set[str]]]:
    known = tables()
    for alias in [using] if using is not None else list(connections):
        database = tags.database_name(alias)
        found: set[str] = set()
        for name in names:
            found |= whole_table(database, known.tables.get(name))
        yield alias, found
