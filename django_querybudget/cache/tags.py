"""Tags: what an entry depends on and what a write renews, as names.

===========================  =====================================================================
``<database>:*``             everything in the database; every entry has it
``<database>:?``             tables that no model has
``<database>:t:<table>``     the table; renewed by every write to it
``<database>:b:<table>``     writes of unknown extent
``<database>:r:<table>:…``   one row, by primary key
``<database>:s:<table>:…``   the rows with one value in a declared scope
``<database>:S:<table>``     writes of known rows whose scope values are unknown
``u:<name>``                 a tag that the host's code made up
===========================  =====================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

from django.conf import settings

from django_querybudget.conf import conf

__all__ = ["database_name", "digest", "every_database", "lag_of", "user_tag"]

MANY = 100
"""More rows than this in one statement are a write of unknown extent."""


def digest(text: str) -> str:
    """Return 32 hexadecimal digits that stand for ``text``."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


@lru_cache(maxsize=64)
def _name(alias: str, database: str) -> str:
    return f"{alias}.{digest(database)[:8]}"


def primary_of(alias: str) -> str:
    """Return the alias whose rows ``alias`` shows: of a replica its primary, else itself."""
    primary, _ = conf.CACHE.REPLICAS.get(alias, (alias, 0.0))
    return primary


def lag_of(alias: str) -> float:
    """Return how far ``alias`` may be behind its primary, in seconds."""
    return conf.CACHE.REPLICAS.get(alias, (alias, 0.0))[1]


def database_name(alias: str) -> str:
    """Return the name under which all aliases of one database have their tags.

    Aliases with the same engine, host, port and name are one database, and so is a replica and
    its primary. The name holds that of the database, so that a test run beside a running site
    does not meet its entries.
    """
    alias = primary_of(alias)
    databases = settings.DATABASES
    # A test run renames databases.
    state = (id(databases), *[options.get("NAME") for options in databases.values()])
    known = _names.get(alias)
    if known is None or known[0] != state:
        own = databases.get(alias, {}).get("NAME")
        found = _name(_first_alias(alias, databases), str(own or ""))
        known = _names[alias] = (state, found)
    return known[1]


# By alias: what the settings said when its name was found out, and the name.
_names: dict[str, tuple[tuple[object, ...], str]] = {}


def _first_alias(alias: str, databases: Mapping[str, dict[str, object]]) -> str:
    if alias not in databases:
        return alias
    identity = _identity(databases[alias])
    return next(other for other in databases if _identity(databases[other]) == identity)


def _identity(options: dict[str, object]) -> tuple[str, ...]:
    name = str(options.get("NAME") or "")
    if name.startswith("/"):
        name = str(Path(name))
    own = str(id(options)) if name in ("", ":memory:") else ""
    return (*(str(options.get(key) or "") for key in ("ENGINE", "HOST", "PORT")), name, own)


def every_database() -> frozenset[str]:
    """Return the names of all databases in the settings."""
    return frozenset(database_name(alias) for alias in settings.DATABASES)


def everything(database: str) -> str:
    return f"{database}:*"


def unmodelled(database: str) -> str:
    return f"{database}:?"


def table_tag(database: str, table: str) -> str:
    return f"{database}:t:{table}"


def bulk_tag(database: str, table: str) -> str:
    return f"{database}:b:{table}"


def row_tag(database: str, table: str, key: str) -> str:
    return f"{database}:r:{table}:{key}"


def scope_tag(database: str, table: str, column: str, value: str) -> str:
    return f"{database}:s:{table}:{column}:{value}"


def any_scope_tag(database: str, table: str) -> str:
    return f"{database}:S:{table}"


def user_tag(name: str) -> str:
    return f"u:{name}"


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a tag says: the kind's letter, the table or the host's own tag, the row's key."""

    kind: str
    name: str = ""
    value: str = ""


def parsed(tag: str) -> Parsed:
    """Take a tag apart. A table's name may hold a colon; a column of a scope, a key may not."""
    if tag.startswith("u:"):
        return Parsed("u", tag[2:])
    _, kind, *rest = tag.split(":", 2)
    name = rest[0] if rest else ""
    if kind == "r":
        name, _, value = name.rpartition(":")
        return Parsed(kind, name, value)
    if kind == "s":
        return Parsed(kind, name.rsplit(":", 2)[0])
    return Parsed(kind, name)


def stand_ins(tag: str) -> frozenset[str]:
    """Return the tags that stand for ``tag`` and all of its kind; none for a tag of a few.

    An entry that depends on a row or on a scope's value depends on those, too.
    """
    if tag.startswith("u:"):
        return frozenset(everything(database) for database in every_database())
    database, kind, *rest = tag.split(":", 2)
    if kind == "r":
        return frozenset((bulk_tag(database, rest[0].rpartition(":")[0]),))
    if kind == "s":
        return frozenset((any_scope_tag(database, rest[0].rsplit(":", 2)[0]),))
    return frozenset()


@lru_cache(maxsize=4096)
def is_transient(tag: str) -> bool:
    """Whether there may be any number of such tags, so that they must not stay for ever."""
    kind = tag.split(":", 2)[1]
    return tag.startswith("u:") or kind in ("r", "s")
