"""Which database an alias is: the same name in every process that can write to it.

Settings do not tell. A pooler, a socket and ``localhost`` are three spellings of one server, and
two servers may both have a database ``app``. So the server is asked, when a connection has just
been opened: outside of any transaction, on the driver's own cursor, once in a while.

===========  ====================================================================================
PostgreSQL   the cluster's system identifier and the database's oid
MySQL        the cluster's identifier (Galera, Group Replication), else the server's, and NAME
SQLite       the file: its device and inode, and the running system that has them
any other    what its settings say: engine, host, port and name
===========  ====================================================================================

``QUERYBUDGET["CACHE"]["IDENTITY"]`` names what a server cannot tell, or tells wrong: a copy of a
cluster has the identifier of the original.
"""

from __future__ import annotations

import logging
import os
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from django.conf import settings
from django.core.signals import setting_changed
from django.db import connections
from django.db.backends.signals import connection_created

from django_querybudget.conf import conf

from .asking import ask

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = [
    "database_name",
    "every_database",
    "identified",
    "install",
    "is_identified",
    "is_told_by_server",
    "lag_of",
    "name_if_known",
    "primary_of",
]

logger = logging.getLogger("django_querybudget")

AGAIN = 5.0
"""A new connection asks again if the last answer is older, in seconds: a server may be replaced."""

_TELLING = frozenset({"postgresql", "mysql", "sqlite"})
_POSTGRESQL = (
    "SELECT system_identifier::text, (SELECT oid::text FROM pg_catalog.pg_database"
    " WHERE datname = pg_catalog.current_database()) FROM pg_catalog.pg_control_system()"
)
_MYSQL = (
    "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('wsrep_on', 'group_replication_group_name',"
    " 'server_uuid', 'server_uid', 'hostname', 'port', 'datadir', 'server_id')"
)
_GALERA = "SHOW GLOBAL STATUS LIKE 'wsrep_cluster_state_uuid'"
# Answers that say that the server cannot tell: no such function, no right to call it.
_CANNOT_TELL = frozenset({"42883", "42501", "42P01", "42703", "0A000"})
_PROCESS = uuid4().hex
_NO_OPTIONS: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of one alias."""

    options: Mapping[str, Any]  # its settings
    database: object  # their NAME at that time: a test run renames databases
    name: str
    told: bool
    """Whether the server itself told, or the setting."""

    final: bool
    """Whether every process comes to this name; else the server has to be asked again."""

    at: float  # of time.monotonic()


_known: dict[str, _Known] = {}


def primary_of(alias: str) -> str:
    """Return the alias whose rows ``alias`` shows: of a replica its primary, else itself."""
    replica = conf.CACHE.REPLICAS.get(alias)
    return alias if replica is None else replica.primary


def lag_of(alias: str) -> float:
    """Return how far ``alias`` may be behind its primary, in seconds."""
    replica = conf.CACHE.REPLICAS.get(alias)
    return 0.0 if replica is None else replica.lag


def database_name(alias: str) -> str:
    """Return the name under which all aliases of one database have their tags.

    A replica has its primary's. The server is asked where that was not done yet, for which a
    connection may be opened, and closed again.
    """
    return _of(primary_of(alias)).name


def name_if_known(alias: str) -> str | None:
    """Return :func:`database_name` where the server was asked already, else None."""
    known = _known.get(primary_of(alias))
    return known.name if known is not None and known.final else None


def is_identified(alias: str) -> bool:
    """Whether :func:`database_name` is the name that every other process gives the database."""
    return _of(primary_of(alias)).final


def identified(alias: str) -> str | None:
    """Return :func:`database_name` where it :func:`is_identified`, else None."""
    known = _of(primary_of(alias))
    return known.name if known.final else None


def is_told_by_server(alias: str) -> bool:
    """Whether the server or the setting said which database it is, and not its address."""
    return _of(primary_of(alias)).told


def every_database() -> frozenset[str]:
    """Return the names of all databases in the settings."""
    return frozenset(database_name(alias) for alias in settings.DATABASES)


def _of(alias: str) -> _Known:
    options = settings.DATABASES.get(alias, _NO_OPTIONS)
    known = _known.get(alias)
    if (
        known is not None
        and known.options is options
        and known.database == options.get("NAME")
        and (known.final or time.monotonic() - known.at < AGAIN)
    ):
        return known
    return _find_out(alias, options)


def _find_out(alias: str, options: Mapping[str, Any]) -> _Known:
    if (declared := conf.CACHE.IDENTITY.get(alias)) is not None:
        return _note(alias, options, f"named {declared} {_test_name(options)}", told=True)
    if alias not in settings.DATABASES:
        return _note(alias, options, f"alias {alias}", told=False)
    connection = connections[alias]
    if connection.vendor not in _TELLING:
        return _note(alias, options, _address(options), told=False)
    opened = connection.connection is not None
    try:
        if not opened:
            connection.ensure_connection()  # and _ask is its receiver
        _ask(connection)
    except Exception as error:  # a driver or a test may raise anything
        return _not_told(alias, options, error)
    finally:
        if not opened and connection.connection is not None and not connection.in_atomic_block:
            connection.close()
    return _known[alias]


def _not_told(alias: str, options: Mapping[str, Any], error: Exception) -> _Known:
    cause = error.__cause__ or error
    if str(getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", "")) in _CANNOT_TELL:
        return _note(alias, options, _address(options), told=False)
    logger.warning(
        "The server of %r cannot be asked which database it is: %s: %s. "
        "Until it can, nothing of it is read from the cache.",
        alias, type(error).__name__, error,
    )  # fmt: skip
    return _note(alias, options, _address(options), told=False, final=False)


def _note(
    alias: str, options: Mapping[str, Any], identity: str, *, told: bool, final: bool = True
) -> _Known:
    name = blake2b(identity.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    known = _Known(options, options.get("NAME"), name, told, final, time.monotonic())
    _known[alias] = known
    return known


def _address(options: Mapping[str, Any]) -> str:
    parts = (str(options.get(key) or "") for key in ("ENGINE", "HOST", "PORT", "NAME"))
    return f"address {' '.join(parts)}"


def _test_name(options: Mapping[str, Any]) -> str:
    """Return the name of a test's database, which is another one under the same alias."""
    name = str(options.get("NAME") or "")
    given = str((options.get("TEST") or _NO_OPTIONS).get("NAME") or "")
    return name if name.startswith("test_") or (given and name == given) else ""


def _ask(connection: BaseDatabaseWrapper) -> None:
    """Ask the server of an open connection which database it is, unless that was done just now."""
    alias = connection.alias
    options = settings.DATABASES.get(alias, _NO_OPTIONS)
    if not options or alias in conf.CACHE.IDENTITY or connection.vendor not in _TELLING:
        return
    known = _known.get(alias)
    if (
        known is not None
        and known.final
        and known.options is options
        and known.database == options.get("NAME")
        and time.monotonic() - known.at < AGAIN
        and connection.vendor != "sqlite"
    ):
        return
    if connection.settings_dict.get("NAME") != options.get("NAME"):
        return  # a connection to another database, for its creation, say
    found = _ASKING[connection.vendor](connection)
    _note(alias, options, f"{connection.vendor} {found}", told=True)


def _of_postgresql(connection: BaseDatabaseWrapper) -> str:
    return " ".join(map(str, ask(connection, _POSTGRESQL)[0]))


def _of_mysql(connection: BaseDatabaseWrapper) -> str:
    told = {str(name): str(value) for name, value in ask(connection, _MYSQL)}
    cluster = told.get("group_replication_group_name", "")
    if told.get("wsrep_on") == "ON" and (status := ask(connection, _GALERA)):
        cluster = str(status[0][1])
    own = told.get("server_uuid") or told.get("server_uid")
    own = own or " ".join(told.get(key, "") for key in ("hostname", "port", "datadir", "server_id"))
    return f"{cluster or own} {connection.settings_dict['NAME']}"


def _of_sqlite(connection: BaseDatabaseWrapper) -> str:
    name = str(connection.settings_dict["NAME"] or "")
    if name in ("", ":memory:") or "mode=memory" in name or name.startswith("file::memory:"):
        # Seen by this process alone.
        return f"memory {_PROCESS} {os.getpid()} {connection.alias} {name}"
    path = name.removeprefix("file:").partition("?")[0] if name.startswith("file:") else name
    found = Path(path).stat()
    return f"file {_system()} {found.st_dev} {found.st_ino}"


def _system() -> str:
    """Return what tells this running system from others: devices and inodes are its own."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return platform.node()


_ASKING = {"postgresql": _of_postgresql, "mysql": _of_mysql, "sqlite": _of_sqlite}


def _opened(connection: BaseDatabaseWrapper, **_: object) -> None:
    """Ask over a connection that has just been opened: no transaction is begun yet."""
    try:
        _ask(connection)
    except Exception as error:  # asked again when the name is needed
        logger.debug("Which database %r is was not told: %s", connection.alias, error)


def _changed(setting: str, **_: object) -> None:
    if setting in ("DATABASES", "QUERYBUDGET"):
        _known.clear()


def install() -> None:
    """Ask over each connection that is opened from now on. Twice is harmless."""
    connection_created.connect(
        _opened, dispatch_uid="django_querybudget.cache.identity", weak=False
    )


setting_changed.connect(_changed, dispatch_uid="django_querybudget.cache.identity", weak=False)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_known.clear)
