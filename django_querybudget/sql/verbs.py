"""The words that begin statements: which write, and how; which read, change tables, or commit.

Here alone, for all who ask: :mod:`.statements` (the cache, which must miss no write),
:mod:`.fingerprints` (the log and its ``writes``), :mod:`.operations` (OpenTelemetry),
:mod:`.names` and the cache's :mod:`~django_querybudget.cache.writing.forms`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

__all__ = ["READING", "SCHEMA", "TRANSACTION", "WRITING", "Verb", "words_where"]


class Verb(NamedTuple):
    """A word that writes, and what is to be known of it."""

    adds: bool = False
    """Whether it adds rows: the database calls defaults then. MERGE names its INSERT."""
    removes: bool = False
    """Whether it may take rows away."""
    is_function: bool = False
    """Whether it is the name of a function, too, where a parenthesis follows."""
    has_columns: bool = False
    """Whether its table may follow at once, and then a parenthesis with columns."""
    before_table: bool = False
    """Whether what follows it is written to: INTO and FROM come before the tables of others."""
    in_with: str = ""
    """How it stands in a ``WITH`` or behind it, as a pattern; one space is any space."""


WRITING = {
    "INSERT": Verb(adds=True, is_function=True, has_columns=True, in_with=r"INSERT(?! ?\()"),
    "UPDATE": Verb(before_table=True, in_with=r"(?<!FOR )(?<!KEY )UPDATE"),
    "DELETE": Verb(removes=True, in_with="DELETE"),
    "MERGE": Verb(removes=True, in_with="MERGE"),
    "REPLACE": Verb(
        adds=True, removes=True, is_function=True, has_columns=True, in_with="REPLACE INTO"
    ),
    "UPSERT": Verb(adds=True, in_with="UPSERT INTO"),
    "TRUNCATE": Verb(removes=True, is_function=True, before_table=True),
    "COPY": Verb(adds=True, has_columns=True, before_table=True),
    "LOAD": Verb(adds=True),
}

READING = frozenset({"SELECT", "WITH", "VALUES", "TABLE", "FETCH"})
SCHEMA = frozenset({"CREATE", "ALTER", "DROP", "RENAME", "COMMENT"})
TRANSACTION = frozenset("BEGIN START COMMIT END ROLLBACK ABORT SAVEPOINT RELEASE".split())


def words_where(which: Callable[[Verb], object]) -> frozenset[str]:
    """Return the words of which that is so."""
    return frozenset(word for word, verb in WRITING.items() if which(verb))
