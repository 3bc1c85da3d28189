"""Seeing every write: the watcher on the database hook, and ``invalidate()`` for what it cannot."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.db import connections, models, router

from django_querybudget.cache import tags
from django_querybudget.cache.lazy import unwrapped
from django_querybudget.cache.reading.fills import current_fill
from django_querybudget.cache.stores.store import is_busy, store_for
from django_querybudget.cache.tables import Table, tables
from django_querybudget.cache.transactions import TELLING, Mode, mode_of, settle_dropped, state_of
from django_querybudget.conf import conf
from django_querybudget.recording import hook

from . import old_scopes as scopes
from .statements import effect, form_of, sql_text

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

logger = logging.getLogger("django_querybudget")

__all__ = ["grouped_invalidation", "install", "invalidate", "invalidate_all"]


class Writes:
    """Hears of every statement: marks before a write, renews after it, and helps a fill."""

    def before(self, sql: Any, params: Any, many: bool, connection: BaseDatabaseWrapper) -> None:
        """Mark what the statement is about to write; take the tokens of what it reads."""
        if is_busy():
            return
        state = state_of(connection)
        text = sql_text(sql, connection)
        form = form_of(text)
        fill = current_fill()
        if form is None and fill is None and state.has_met(connection):
            return  # most statements of most requests
        mode = mode_of(connection)
        state.settle(connection, mode)
        if form is None:
            if fill is not None and text is not None:
                fill.reading(text, connection)
            return
        if fill is not None:
            fill.spoil("the read wrote")
        database = tags.database_name(connection.alias)
        try:
            write = effect(form, params, many, database)
            found = write.tags
            if write.old_scopes is not None:
                found |= scopes.written(write.old_scopes, connection, mode, text or "", params)
        except Exception:
            # A parameter of the host's own class may raise anything. What is written then is not
            # known, and the statement goes on.
            logger.exception("A write could not be read: everything in %r is renewed.", database)
            found = frozenset({tags.everything(database)})
        state.writing(connection, mode, found)

    def after(
        self,
        sql: Any,
        params: Any,  # as the hook calls it
        many: bool,
        connection: BaseDatabaseWrapper,
        error: BaseException | None,  # a lost connection may have committed
    ) -> None:
        """Renew what the statement wrote, if it is committed by now."""
        if is_busy():
            return
        state = state_of(connection)
        state.written()
        if connection.vendor not in TELLING and not connection.in_atomic_block:
            state.note(sql)
        if state.is_watched:
            state.settle(connection, mode_of(connection))


_writes = Writes()
_groups: ContextVar[dict[str | None, set[str]] | None] = ContextVar(
    "querybudget_cache_groups", default=None
)


def install() -> None:
    """Watch the writes of this process. Once is enough, twice is harmless."""
    hook.add_watcher(_writes)


def invalidate(*what: Any, using: str | None = None) -> None:
    """Let nothing be read from the cache that depends on ``what``, for writes Django cannot see.

    ``what``: models and their labels (``"payment.Payment"``), instances, querysets, names of
    tables, and tags given to ``cached_queryset(tags=…)``. ``using`` is the alias of the database
    that was written; without it, an instance's and a queryset's own alias, and for the rest every
    database. Inside ``atomic()`` it happens at the commit, like the invalidation of the writes
    there.

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
            _renew(alias, found)


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
        _renew(alias, {tags.everything(tags.database_name(alias))})


@contextmanager
def grouped_invalidation() -> Iterator[None]:
    """Send the ``invalidate()`` calls of a block at its end, in one round trip per database.

    They are sent when the block raised, too: what it wrote before is written.
    """
    if _groups.get() is not None:
        yield
        return
    groups: dict[str | None, set[str]] = {}
    token = _groups.set(groups)
    try:
        yield
    finally:
        _groups.reset(token)
        for alias, found in groups.items():
            _renew(alias, found)


def _renew(alias: str | None, found: Collection[str]) -> None:
    groups = _groups.get()
    if groups is not None:
        groups.setdefault(alias, set()).update(found)
        return
    settle_dropped()
    if alias is not None:
        connection = connections[alias]
        mode = mode_of(connection)
        state = state_of(connection)
        state.settle(connection, mode)
        if mode is not Mode.AUTOCOMMIT:
            state.writing(connection, mode, found)
            if mode is not Mode.MANUAL:
                return
    store_for(conf.CACHE.ALIAS).renew(tuple(found))


def _tags_of(one: Any, using: str | None) -> Iterator[tuple[str | None, set[str]]]:
    """Return the tags that ``one`` means, with the alias whose transaction they wait for."""
    known = tables()
    if isinstance(one, type) and issubclass(one, models.Model):
        names = {model._meta.db_table for model in _with_parents(one)}
        yield from _whole_tables(names, using)
    elif isinstance(one, models.Model):
        alias = using or one._state.db
        for each in [alias] if alias is not None else list(connections):
            yield each, _row_tags(one, tags.database_name(each))
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
        found |= {each._meta.db_table for each in _with_parents(apps.get_model(name))}
    return found


def _with_parents(model: type[models.Model]) -> list[type[models.Model]]:
    concrete = model._meta.concrete_model or model
    return [concrete, *concrete._meta.get_parent_list()]


def _whole_tables(names: set[str], using: str | None) -> Iterator[tuple[str, set[str]]]:
    known = tables()
    for alias in [using] if using is not None else list(connections):
        database = tags.database_name(alias)
        found: set[str] = set()
        for name in names:
            found |= whole_table(database, known.tables.get(name))
        yield alias, found


def whole_table(database: str, table: Table | None) -> set[str]:
    """Return the tags of a write of unknown extent to ``table``."""
    if table is None:
        return {tags.unmodelled(database)}
    found = {tags.table_tag(database, table.name), tags.bulk_tag(database, table.name)}
    if table.scopes:
        found.add(tags.any_scope_tag(database, table.name))
    return found


def _row_tags(instance: models.Model, database: str) -> set[str]:
    known = tables()
    found: set[str] = set()
    for model in _with_parents(type(instance)):
        table = known.tables.get(model._meta.db_table)
        text = _key_text(instance, model, table)
        if table is None or text is None:
            found |= whole_table(database, table)
            continue
        found |= {tags.table_tag(database, table.name), tags.row_tag(database, table.name, text)}
        if table.scopes:
            found.add(tags.any_scope_tag(database, table.name))
    return found


def row_dependencies(instance: models.Model) -> set[str]:
    """Return the tags that are renewed whenever the instance's rows change."""
    database = tags.database_name(instance._state.db or router.db_for_read(type(instance)))
    known = tables()
    found: set[str] = set()
    for model in _with_parents(type(instance)):
        table = known.tables.get(model._meta.db_table)
        text = _key_text(instance, model, table)
        if table is None or text is None:
            found |= whole_table(database, table)
        else:
            found |= {
                tags.bulk_tag(database, table.name),
                tags.row_tag(database, table.name, text),
            }
    return found


def _key_text(instance: models.Model, model: type[models.Model], table: Table | None) -> str | None:
    if table is None or table.key is None or model._meta.pk is None:
        return None
    return table.key.text(getattr(instance, model._meta.pk.attname))
