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

from functools import lru_cache
from hashlib import blake2b

from .identity import database_name, every_database, lag_of

__all__ = ["database_name", "digest", "every_database", "lag_of", "user_tag"]

MANY = 100
"""More rows than this in one statement are a write of unknown extent."""


def digest(text: str) -> str:
    """Return 32 hexadecimal digits that stand for ``text``."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


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


@lru_cache(maxsize=4096)
def is_transient(tag: str) -> bool:
    """Whether there may be any number of such tags, so that they must not stay for ever."""
    kind = tag.split(":", 2)[1]
    return tag.startswith("u:") or kind in ("r", "s")
