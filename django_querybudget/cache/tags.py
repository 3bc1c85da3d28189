"""Tags: what an entry depends on and what a write renews, as names.

===========================  =====================================================================
``<database>:*``             everything in the database; every entry has it
``<database>:?``             tables that no model has
``<database>:t:<table>``     the table; renewed by every write to it
``<database>:b:<table>``     writes of unknown extent
``<database>:r:<table>:…``   one row, by primary key
``<database>:s:<table>:…``   the rows with one value in a declared scope
``<database>:S:<table>``     writes of known rows whose scope values are unknown
``<database>:v:<table>:…``   rows that get one value in a foreign key's column
``<database>:V:<table>``     writes of rows whose foreign keys' values are unknown
``<database>:w:<table>:…``   writes across a foreign key's column: of unknown rows, which have one
                             value in another foreign key
``<database>:c:<table>:…``   one column, set in known rows where a foreign key is not
``<database>:k:<table>:…``   the table's twin: renewed with it by who knows the same columns
``u:<name>``                 a tag that the host's code made up
===========================  =====================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, wraps
from hashlib import blake2b
from typing import TypeVar

from .identity import database_name, every_database, lag_of

__all__ = ["database_name", "digest", "every_database", "lag_of", "user_tag"]

R = TypeVar("R")

MANY = 100
"""More rows than this in one statement are a write of unknown extent."""

MANY_VALUES = 32
"""More values of foreign keys than this in one statement are unknown ones."""


LONGEST = 150
"""The longest tag that anything is remembered of, in characters: one of the host's own, and the key
of a row, may have any length, and a memo is to have a bound in bytes."""


def remembered(spell: Callable[[str, str], R]) -> Callable[[str, str], R]:
    """Let what ``spell(prefix, tag)`` returns be remembered for 8,192 tags that are not long."""
    known = lru_cache(maxsize=8192)(spell)

    @wraps(spell)
    def of(prefix: str, tag: str) -> R:
        return (known if len(tag) <= LONGEST else spell)(prefix, tag)

    return of


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


def value_tag(database: str, table: str, column: str, value: str) -> str:
    return f"{database}:v:{table}:{column}:{value}"


def any_value_tag(database: str, table: str) -> str:
    return f"{database}:V:{table}"


def across_tag(database: str, table: str, column: str) -> str:
    return f"{database}:w:{table}:{column}"


def column_tag(database: str, table: str, column: str) -> str:
    return f"{database}:c:{table}:{column}"


def twin_tag(database: str, table: str, known: str) -> str:
    return f"{database}:k:{table}:{known}"


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
    if kind in ("s", "v"):
        return Parsed(kind, name.rsplit(":", 2)[0])
    if kind in ("c", "k", "w"):
        table, _, value = name.rpartition(":")
        return Parsed(kind, table, value)
    return Parsed(kind, name)


def stand_ins(tag: str) -> frozenset[str]:
    """Return the tags that stand for ``tag`` and all of its kind; none for a tag of a few.

    An entry that depends on a scope's or on a foreign key's value depends on those, too; one that
    depends on a row depends on one of them.
    """
    if tag.startswith("u:"):
        return frozenset(everything(database) for database in every_database())
    database, kind, *rest = tag.split(":", 2)
    if kind == "r":
        return _stand_ins(database, kind, rest[0].rpartition(":")[0])
    if kind in ("s", "v"):
        return _stand_ins(database, kind, rest[0].rsplit(":", 2)[0])
    return frozenset()


@lru_cache(maxsize=1024)
def _stand_ins(database: str, kind: str, table: str) -> frozenset[str]:
    if kind == "r":
        return frozenset((bulk_tag(database, table), any_value_tag(database, table)))
    many = {"s": any_scope_tag, "v": any_value_tag}[kind]
    return frozenset((many(database, table),))


def is_said(tag: str) -> bool:
    """Whether it is renewed only where somebody says so, or where nobody knows what was written."""
    return tag.startswith("u:") or tag.endswith(":*")


def kind_of(tag: str) -> str:
    """Return the letter of its kind, as in the table above."""
    return "u" if tag.startswith("u:") else tag.split(":", 2)[1]


def is_row(tag: str) -> bool:
    """Whether it is a row's."""
    return kind_of(tag) == "r"


def is_twin(tag: str) -> bool:
    """Whether it is a table's twin."""
    return ":k:" in tag and kind_of(tag) == "k"


@lru_cache(maxsize=1024)
def pair_of(twin: str) -> tuple[str, str]:
    """Return the tag of a twin's table, and that of any value in it."""
    database, name = twin.partition(":")[0], parsed(twin).name
    return table_tag(database, name), any_value_tag(database, name)


def is_of_lists(tag: str) -> bool:
    """Whether it is one that only entries of lists depend on."""
    return kind_of(tag) in ("v", "V", "w", "c", "k")


def is_transient(tag: str) -> bool:
    """Whether there may be any number of such tags, so that they must not stay for ever."""
    return kind_of(tag) in ("u", "r", "s", "v", "V", "w", "c", "k")
