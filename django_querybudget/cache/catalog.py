"""What PostgreSQL's catalog tells of names that no model has: functions, partitions, views.

It is read when a statement first needs it, on a connection of the driver's own that is closed
again: the host's may be in a transaction, even in one that has failed, and another session's rows
are not ours to wait for. Once a process and database, and again when a name came up that was not
there, when this process changed the schema, and after :data:`EXPIRES`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = ["Catalog", "catalog_of", "forget"]

logger = logging.getLogger("django_querybudget")

EXPIRES = 300.0
"""How long it is believed that nobody else changed the schema, in seconds."""

PAUSE = 60.0
"""How often a name that is not there, or a failure, makes us look again, in seconds."""

_CONNECT_TIMEOUT = 3  # seconds
_STATEMENT_TIMEOUT = "SET LOCAL statement_timeout = 5000"  # milliseconds

# An aggregate is said to be immutable whatever the functions do that it is made of.
_FUNCTIONS = """
    SELECT p.proname, n.nspname,
           bool_or('v' IN (p.provolatile, step.provolatile, final.provolatile))
    FROM pg_catalog.pg_proc p
    JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
    LEFT JOIN pg_catalog.pg_aggregate a ON a.aggfnoid = p.oid
    LEFT JOIN pg_catalog.pg_proc step ON step.oid = a.aggtransfn
    LEFT JOIN pg_catalog.pg_proc final ON final.oid = a.aggfinalfn
    GROUP BY 1, 2
"""
_RELATIONS = """
    SELECT DISTINCT relname FROM pg_catalog.pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'f')
"""
# A row of a partition or of an inheriting table is one of its parent, too. A view that can be
# written to writes the table below it.
_ABOVE = """
    SELECT child.relname, parent.relname
    FROM pg_catalog.pg_inherits i
    JOIN pg_catalog.pg_class child ON child.oid = i.inhrelid
    JOIN pg_catalog.pg_class parent ON parent.oid = i.inhparent
    WHERE child.relkind IN ('r', 'p', 'f')
    UNION
    SELECT v.relname, t.relname
    FROM pg_catalog.pg_rewrite r
    JOIN pg_catalog.pg_depend d
      ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = r.oid
     AND d.refclassid = 'pg_catalog.pg_class'::regclass
    JOIN pg_catalog.pg_class v ON v.oid = r.ev_class AND v.relkind = 'v'
    JOIN pg_catalog.pg_namespace n ON n.oid = v.relnamespace
     AND n.nspname NOT IN ('pg_catalog', 'information_schema')
    JOIN pg_catalog.pg_class t ON t.oid = d.refobjid AND t.oid <> v.oid
"""


@dataclass(frozen=True, slots=True)
class Catalog:
    """What is in one database, all names in small letters."""

    reading: frozenset[str]
    """Functions that cannot write, by name and by schema and name: no variant is volatile."""
    writing: frozenset[str]
    """Functions that may."""
    relations: frozenset[str]
    """Tables and views."""
    above: Mapping[str, frozenset[str]]
    """By partition, inheriting table or view: what a write to it writes besides."""

    def knows(self, calls: Iterable[str], targets: Iterable[str]) -> bool:
        """Whether all of the names are in it."""
        return all(name in self.reading or name in self.writing for name in calls) and all(
            name in self.relations for name in targets
        )


_Key = tuple[Any, ...]
_known: dict[_Key, tuple[float, Catalog | None]] = {}
_lock = threading.Lock()


def catalog_of(
    connection: BaseDatabaseWrapper, calls: Iterable[str] = (), targets: Iterable[str] = ()
) -> Catalog | None:
    """Return the catalog of the connection's database, None where it cannot be read now.

    It is read again if it is old, or if one of the names is not in it.
    """
    key = _key(connection)
    known = _known.get(key)
    if known is not None:
        read_at, found = known
        knows_all = found is not None and found.knows(calls, targets)
        if time.monotonic() - read_at < (EXPIRES if knows_all else PAUSE):
            return found
    # Of several threads one reads, and the others go on with what is known: everything is renewed.
    if not _lock.acquire(blocking=False):
        return None if known is None else found
    try:
        found = _read(connection)
        _known[key] = time.monotonic(), found
    finally:
        _lock.release()
    return found


def forget(connection: BaseDatabaseWrapper) -> None:
    """The schema has changed: read the catalog again when it is needed next."""
    _known.pop(_key(connection), None)


def _key(connection: BaseDatabaseWrapper) -> _Key:
    options = connection.settings_dict
    return tuple(str(options.get(name) or "") for name in ("HOST", "PORT", "NAME"))


def _read(connection: BaseDatabaseWrapper) -> Catalog | None:
    database: Any = connection
    try:
        params = {**database.get_connection_params(), "connect_timeout": _CONNECT_TIMEOUT}
        with closing(database.Database.connect(**params)) as own, own.cursor() as cursor:
            cursor.execute(_STATEMENT_TIMEOUT)
            cursor.execute(_FUNCTIONS)
            functions = cursor.fetchall()
            cursor.execute(_RELATIONS)
            relations = frozenset(name.lower() for (name,) in cursor.fetchall())
            cursor.execute(_ABOVE)
            edges = cursor.fetchall()
    except Exception as error:  # whatever the driver raises: the statement goes on
        logger.warning(
            "The catalog of %r cannot be read (%s). Until it can, what calls a function that is "
            "not known renews everything in the cache; %s declares functions.",
            connection.alias, error, 'QUERYBUDGET["CACHE"]["FUNCTIONS"]',
        )  # fmt: skip
        return None
    reading: set[str] = set()
    writing: set[str] = set()
    for name, schema, volatile in functions:
        (writing if volatile else reading).update((name.lower(), f"{schema}.{name}".lower()))
    above: dict[str, set[str]] = defaultdict(set)
    for child, parent in edges:
        above[child.lower()].add(parent.lower())
    return Catalog(
        frozenset(reading - writing),
        frozenset(writing),
        relations,
        {name: frozenset(_reached(name, above)) for name in above},
    )


def _reached(start: str, edges: Mapping[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        for name in edges.get(waiting.pop(), ()):
            if name not in seen:
                seen.add(name)
                waiting.append(name)
    return seen
