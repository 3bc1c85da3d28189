"""What a database adds to a query by itself: what its views read, and row-level security; and
which rows it sees to.

The database is asked, once a process and again when a schema changes: when a connection is opened,
or when the first query has to know. Until it has answered, nothing is read through the cache.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from django.db.backends.signals import connection_created

from django_querybudget.conf import conf
from django_querybudget.sql.fingerprints import identifiers
from django_querybudget.sql.memory import Memo

from . import sessions
from .asking import ask
from .identity import database_name, name_if_known
from .references import certain_references
from .sql_functions import unknown_functions
from .tables import Tables, tables
from .transactions import Mode, mode_of, state_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = ["as_known", "behind", "forget", "install", "refers", "refused_relation"]

T = TypeVar("T")

logger = logging.getLogger("django_querybudget")

AGAIN = 60.0
"""A new connection asks again if the last answer is older, in seconds: others change schemas."""

_ASKED = {
    "postgresql": (
        "SELECT c.relname::text, c.relrowsecurity,"
        " CASE WHEN c.relkind = 'v' THEN pg_catalog.pg_get_viewdef(c.oid) END"
        " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " WHERE (c.relkind = 'v' OR c.relrowsecurity)"
        " AND n.nspname NOT IN ('pg_catalog', 'information_schema')"
    ),
    "mysql": (
        "SELECT TABLE_NAME, 0, VIEW_DEFINITION FROM information_schema.VIEWS"
        " WHERE TABLE_SCHEMA = DATABASE()"
    ),
    "sqlite": "SELECT name, 0, sql FROM sqlite_master WHERE type = 'view'",
}
# Functions in which a project's own code runs, which may set a variable of the session.
_FUNCTIONS = (
    "SELECT DISTINCT p.proname::text FROM pg_catalog.pg_proc p"
    " JOIN pg_catalog.pg_language l ON l.oid = p.prolang"
    " JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace"
    " WHERE p.provolatile = 'v' AND p.prokind <> 'p'"
    " AND p.prorettype <> 'pg_catalog.trigger'::pg_catalog.regtype"
    " AND (l.lanname NOT IN ('c', 'internal') OR p.proname = 'set_limit')"
    " AND n.nspname NOT IN ('pg_catalog', 'information_schema')"
)


@dataclass(frozen=True, slots=True)
class _View:
    """What the query behind a view names: its words in small letters, and what it calls."""

    words: frozenset[str]
    functions: tuple[str, ...]


@dataclass(frozen=True, eq=False, slots=True)
class _Relations:
    """The views and the tables with row-level security of one database, by their lower name."""

    views: Mapping[str, _View]
    secured: frozenset[str]
    stamp: object = field(default_factory=object)
    """What stands for them in a memo's key."""

    references: dict[str, frozenset[tuple[str, str]]] = field(default_factory=dict)
    """Of each table that was asked about, what :func:`certain_references` says."""

    def __bool__(self) -> bool:
        return bool(self.views or self.secured)


_known: dict[str, tuple[_Relations, float]] = {}


def forget() -> None:
    """A schema has changed: ask again."""
    _known.clear()


def _relations_of(connection: BaseDatabaseWrapper) -> _Relations | None:
    """Return what the database has, None while that is not known."""
    name = database_name(connection.alias)
    known = _known.get(name)
    if known is not None:
        return known[0]

    def asked() -> _Relations:
        known = _known.get(name)
        return _ask(connection) if known is None else known[0]

    return _over(connection, asked, "views")


def _over(connection: BaseDatabaseWrapper, asked: Callable[[], T], what: str) -> T | None:
    """Return what ``asked()`` finds out over the open connection; None where it cannot be asked."""
    mode = mode_of(connection)
    state = state_of(connection)
    state.settle(connection, mode)
    if mode is Mode.MANUAL or state.has_written():
        return None  # it may have changed the schema, and nothing is cached there anyway
    opened = connection.connection is not None
    try:
        connection.ensure_connection()  # whose receiver may ask for views
        return asked()
    except Exception as error:  # a driver or a test may raise anything
        logger.warning("The %s of %r cannot be asked for: %s", what, connection.alias, error)
        return None
    finally:
        if not opened and connection.connection is not None and not connection.in_atomic_block:
            connection.close()


def refers(connection: BaseDatabaseWrapper, table: str, column: str, target: str) -> bool:
    """Whether the database sees to it that a row of ``target`` is there for each of ``table``."""
    relations = _relations_of(connection)
    if relations is None:
        return False
    found = relations.references.get(table)
    if found is None:
        found = _over(connection, partial(certain_references, connection, table), "foreign keys")
        if found is None:
            return False
        relations.references[table] = found
    return (column.lower(), target.lower()) in found


def _ask(connection: BaseDatabaseWrapper) -> _Relations:
    views: dict[str, _View] = {}
    secured: set[str] = set()
    sql = _ASKED.get(connection.vendor)
    for name, is_secured, definition in ask(connection, sql) if sql else ():
        lower = str(name).lower()
        if is_secured:
            secured.add(lower)
            continue
        text = str(definition or "")
        view = _View(
            frozenset(word.lower() for word in identifiers(text)),
            (
                unknown_functions(_query_in(text), connection.vendor, conf.CACHE.FUNCTIONS)
                if text
                else ("unknown",)
            ),
        )
        if (other := views.get(lower)) is not None:  # of the same name in another schema
            view = _View(other.words | view.words, (*other.functions, *view.functions))
        views[lower] = view
    if connection.vendor == "postgresql":
        sessions.watch_functions(
            frozenset(str(name).lower() for (name,) in ask(connection, _FUNCTIONS))
        )
    found = _Relations(views, frozenset(secured))
    _known[database_name(connection.alias)] = (found, time.monotonic())
    return found


def _query_in(definition: str) -> str:
    """Return a view's query: SQLite tells the whole CREATE VIEW."""
    head, _, query = definition.partition(" AS ")
    return query if head.lstrip().upper().startswith("CREATE") else definition


def as_known(connection: BaseDatabaseWrapper, database: str) -> object | None:
    """Return what stands for the views of a connection's ``database`` as they are known now.

    As long as it is the same object, :func:`refused_relation` and :func:`behind` say the same of a
    text. None where they may not: the views are not known, or a table has row-level security, of
    which the session decides.
    """
    known = _known.get(database)
    relations = _relations_of(connection) if known is None else known[0]
    return None if relations is None or relations.secured else relations.stamp


def refused_relation(sql: str, connection: BaseDatabaseWrapper) -> str | None:
    """Return why what ``sql`` reads decides more than rows that can be watched, or None."""
    relations = _relations_of(connection)
    if relations is None:
        return "the database's views are not known"
    if not relations:
        return None
    views, secured = _all_met[sql, relations]
    for name in views:
        if functions := relations.views[name].functions:
            return f"view {name}: function {functions[0]}"
    for name in secured:
        if reason := _not_covered(name, connection):
            return reason
    return None


def _not_covered(table: str, connection: BaseDatabaseWrapper) -> str | None:
    """Return why the row-level security of a table is not decided by what is in the key."""
    labels = {label.lower(): names for label, names in conf.CACHE.ROW_SECURITY.items()}
    names = next((labels[label] for label in tables().labels(table) if label in labels), None)
    if names is None:
        return f"row-level security of {table}"
    try:
        variables = sessions.variables_of(connection)
    except sessions.Unknown as reason:
        return str(reason)
    for name in names:
        if name.lower() not in variables and name.lower() not in ("role", "session_authorization"):
            return f"{name} is not set by a statement that Django sent"
    return None


def behind(sql: str, connection: BaseDatabaseWrapper) -> tuple[frozenset[str], frozenset[str]]:
    """Return the views that ``sql`` names, and the models' tables that these read."""
    relations = _relations_of(connection)
    if not relations:
        return _NONE
    return _all_behind[sql, relations, tables()]


_NONE: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())


def _met(key: tuple[str, _Relations]) -> tuple[frozenset[str], frozenset[str]]:
    """Return the views and the secured tables that a query reads, at whatever depth."""
    sql, relations = key
    waiting = {name.lower() for name in identifiers(sql)}
    views: set[str] = set()
    secured: set[str] = set()
    while waiting:
        word = waiting.pop()
        if word in relations.secured:
            secured.add(word)
        if word in relations.views and word not in views:
            views.add(word)
            waiting |= relations.views[word].words
    return frozenset(views), frozenset(secured)


def _behind(
    key: tuple[str, _Relations, Tables],
) -> tuple[frozenset[str], frozenset[str]]:
    sql, relations, known = key
    views, _ = _all_met[sql, relations]
    words = frozenset().union(*(relations.views[name].words for name in views))
    return views, frozenset(
        known.by_lower_name[word] for word in words if word in known.by_lower_name
    )


_all_met = Memo(_met)
_all_behind = Memo(_behind)


def _opened(connection: BaseDatabaseWrapper, **_: object) -> None:
    """Ask over a connection that has just been opened: no transaction is begun yet."""
    try:
        name = name_if_known(connection.alias)
        known = _known.get(name) if name is not None else None
        if name is not None and (known is None or time.monotonic() - known[1] > AGAIN):
            _ask(connection)
    except Exception as error:  # the host's connection is open all the same
        logger.debug("The views of %r cannot be asked for: %s", connection.alias, error)


def note_schema_change(connection: BaseDatabaseWrapper) -> None:
    """A statement has changed the schema: ask again, now and when it is committed."""
    forget()
    if connection.in_atomic_block and not any(
        waiting[1] is forget for waiting in connection.run_on_commit
    ):
        connection.on_commit(forget, robust=True)


def install() -> None:
    """Ask over connections that are opened from now on. Twice is harmless."""
    if note_schema_change not in sessions.on_schema_change:
        sessions.on_schema_change.append(note_schema_change)
    connection_created.connect(
        _opened, dispatch_uid="django_querybudget.cache.relations", weak=False
    )
