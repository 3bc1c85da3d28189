"""What the statements of a text do, as far as their tokens tell.

Where the tokens do not tell, the answer is the one that cannot be wrong: too many names, a word
that may be a verb, and :attr:`Statement.opaque` for what may write anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from .lexer import Kind, Token, readings
from .memory import Memo
from .names import (
    called_name,
    names_in,
    only_target,
    sources_of,
    targets_of,
    unsteady_parts,
    uses_of,
)
from .verbs import READING, TRANSACTION, WRITING, words_where

__all__ = ["Reading", "Statement", "plain_calls", "read"]

_WRITING = frozenset(WRITING)
_FUNCTIONS_TOO = words_where(lambda verb: verb.is_function)
_REMOVING = words_where(lambda verb: verb.removes)
# Whatever stands in them, they change no row, and call nothing.
_HARMLESS = frozenset(
    """
    RESET SHOW PRAGMA VACUUM LOCK UNLOCK CLOSE DEALLOCATE CHECKPOINT LISTEN UNLISTEN NOTIFY USE KILL
    REINDEX CLUSTER DISCARD MOVE OPTIMIZE FLUSH GRANT REVOKE ATTACH DETACH HELP CHECK
    """.split()
)
_EXPLAINING = frozenset({"EXPLAIN", "DESCRIBE", "DESC", "ANALYZE", "ANALYSE"})
_RUNNING = frozenset({"ANALYZE", "ANALYSE"})
# What another statement may hold that runs it, besides what writes.
_OPAQUE = frozenset("CALL EXECUTE CREATE ALTER DROP RENAME DO IMPORT REFRESH".split())
# Words that stand before a parenthesis and are no functions.
_KEYWORDS = frozenset(
    """
    AGAINST ALL AND ANY ARRAY AS BETWEEN BY CASE CHECK CONFLICT CROSS CUBE DISTINCT ELSE END EXCEPT
    EXISTS EXPLAIN FETCH FILTER FROM GROUP HAVING IF IN INNER INTERSECT INTO IS JOIN KEY LATERAL
    LIKE LIMIT MATERIALIZED NATURAL NOT OF OFFSET ON OPERATOR OR ORDER OUTER OVER PARTITION
    RECURSIVE RETURNING ROLLUP ROW SELECT SET SETS SIMILAR SOME TABLE THEN TO UNION UNIQUE UPDATE
    USING VALUES WHEN WHERE WINDOW WITH WITHIN XOR INDEX ISNULL NOTNULL REGEXP RLIKE GLOB ILIKE
    ESCAPE MATCH ANALYZE COPY DIV
    """.split()
)
# A parameter after these is no value: the driver puts a name into the text.
_BEFORE_A_NAME = frozenset("UPDATE INTO TABLE ONLY TRUNCATE".split())

_LONGEST_WORD = 40  # of what is no statement's first word


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a text."""

    verbs: frozenset[str]
    """What writes in it, in capitals: ``INSERT``, ``TRUNCATE``, …"""
    opaque: str
    """Why it may write what it does not name (``CALL``, a word that is not known), or nothing."""
    names: frozenset[str]
    """Everything in it that may name a table, in small letters."""
    calls: frozenset[str]
    """The functions that it calls, in small letters, with the schema where it is written."""
    targets: frozenset[str] = frozenset()
    """What stands where a table is written to, in small letters and without its schema."""
    alone: str = ""
    """The one of them, where the statement can write to no other."""

    @property
    def removes(self) -> bool:
        """Whether it may take rows away."""
        return bool(self.verbs & _REMOVING)


@dataclass(frozen=True, slots=True)
class Reading:
    """A text: its statements in all ways that a database may read it, and what they read."""

    statements: tuple[Statement, ...]
    names: frozenset[str]
    calls: frozenset[str]
    unsteady: tuple[str, ...]
    """What may be another at the next run, besides functions: ``CURRENT_DATE``, ``'now'``."""
    sources: frozenset[tuple[str, ...]]
    """What stands where a table is read from: the parts of its name."""
    repeated: frozenset[str]
    """The names that stand more than once, not counting those before a dot."""


def read(sql: str, vendor: str) -> Reading:
    """Return what ``sql`` says to a database of that ``vendor``."""
    return _readings[sql, vendor]


# A text without these has no comment, no literal but numbers, and one statement.
_NOT_PLAIN = re.compile(r"['$\\;#\[@\ufeff]|--|/\*")
_PLAIN = re.compile(  # a letter is what the lexer takes for one
    r'("[^"]*+"|`[^`]*+`)(\s*+\()?|(\.\s*+)?([^\x00-@\[-^`{-\x7f][\w$]*+)(\s*+\()?'
)
_TELLING = _WRITING | _OPAQUE | {"INTO", "UESCAPE"}


def plain_calls(sql: str) -> frozenset[str] | None:
    """Return the functions that a ``SELECT`` as the ORM writes it calls, None for any other text.

    A quicker way to what :func:`read` says of most statements: that they write nothing by
    themselves.
    """
    if sql[:7] != "SELECT " or _NOT_PLAIN.search(sql):
        return None
    calls: set[str] = set()
    for name, name_called, dot, word, called in _PLAIN.findall(sql):
        if name_called or (dot and called):
            return None
        if not name:
            upper = word.upper()
            if upper in _TELLING:
                return None
            if called and upper not in _KEYWORDS:
                calls.add(word.lower())
    return frozenset(calls)


def _read(key: tuple[str, str]) -> Reading:
    sql, vendor = key
    ways = [list(tokens) for tokens in readings(sql, vendor)]
    # One way in which all is closed: the others are none, since the database would refuse them.
    closed = any(not way or way[-1].kind is not Kind.OPEN for way in ways)
    statements = [
        _statement(part, vendor, closed=closed) for way in ways for part in _parts(way) if part
    ]
    if sql.count("/*!") + sql.count("/*M!") > 1 and vendor == "mysql":
        # Each may run or not.
        statements.append(Statement(frozenset(), "executable comments", frozenset(), frozenset()))
    first = ways[0]
    return Reading(
        tuple(statements),
        frozenset[str]().union(*(each.names for each in statements)),
        frozenset[str]().union(*(each.calls for each in statements)),
        tuple(unsteady_parts(first)),
        frozenset(sources_of(first)),
        frozenset(name for name, count in uses_of(first).items() if count > 1),
    )


_readings = Memo(_read)


def _parts(tokens: list[Token]) -> Iterator[list[Token]]:
    start = 0
    for at, token in enumerate(tokens):
        if token.text == ";" and token.kind is Kind.OTHER:
            yield tokens[start:at]
            start = at + 1
    yield tokens[start:]


def _statement(tokens: list[Token], vendor: str, *, closed: bool) -> Statement:
    words = [
        token.text.upper() if token.kind is Kind.WORD else ""
        for token in tokens
        if token.text != "("
    ]
    first = words[0] if words else ""
    second = words[1] if len(words) > 1 else ""
    verbs: set[str] = set()
    calls: set[str] = set()
    opaque = ""
    changes = 0
    before = two_before = ""  # words, or the character, before this token
    for at, token in enumerate(tokens):
        kind, text = token
        word = text.upper() if kind is Kind.WORD else text if kind is Kind.OTHER else ""
        if kind is Kind.WORD or kind is Kind.NAME:
            called = at + 1 < len(tokens) and tokens[at + 1] == _OPENING
            if called and word not in _KEYWORDS:
                calls.add(called_name(tokens, at))
            if (
                word in _WRITING
                and before != "."
                and not (called and word in _FUNCTIONS_TOO)
                and not _locks(word, before, two_before, first)
            ):
                verbs.add(word)
                changes += before not in ("DO", "KEY")  # ON CONFLICT DO UPDATE
        elif kind is Kind.PARAMETER and before in _BEFORE_A_NAME:
            opaque = "a parameter that is a name"
        elif kind is Kind.OPEN and not closed:
            opaque = "unclosed quotes or comment"
        two_before, before = before, word
    calls.discard("")
    if vendor == "postgresql" and "UESCAPE" in words:
        opaque = "UESCAPE"
    opaque = opaque or _opaque(first, second, words, verbs, vendor)
    if first in _HARMLESS or first in TRANSACTION:
        verbs.clear()
        calls.clear()
    elif first in ("PREPARE", "DECLARE") or (first in _EXPLAINING and not _RUNNING & set(words)):
        verbs.clear()
    elif first in _RUNNING and vendor != "mysql":
        calls.clear()  # ANALYZE table (column)
    return Statement(
        frozenset(verbs),
        opaque,
        frozenset(names_in(tokens, vendor)),
        frozenset(calls),
        frozenset(targets_of(tokens)) if verbs else frozenset(),
        only_target(tokens) if changes == 1 and not opaque else "",
    )


_OPENING = Token(Kind.OTHER, "(")


def _locks(word: str, before: str, two_before: str, first: str) -> bool:
    """Whether ``UPDATE`` is that of a ``SELECT … FOR UPDATE``."""
    if word != "UPDATE" or first == "SET":  # MariaDB: SET STATEMENT … FOR UPDATE …
        return False
    return before == "FOR" or (before == "KEY" and two_before == "NO")


def _opaque(first: str, second: str, words: list[str], verbs: set[str], vendor: str) -> str:  # noqa: PLR0911 - a return for each kind of statement
    """Return why a statement may write what it does not name, or nothing."""
    if first in _WRITING and not (first == "LOAD" and vendor != "mysql"):
        return ""
    if first in READING:
        if "INTO" in words and vendor != "mysql" and not verbs:
            return "SELECT INTO"
        return ""
    if first in _HARMLESS:
        return ""
    if first in TRANSACTION:
        if second == "PREPARED" and first == "COMMIT":
            return "COMMIT PREPARED"
        # MariaDB: BEGIN NOT ATOMIC …
        return "BEGIN NOT ATOMIC" if first == "BEGIN" and second == "NOT" else ""
    if first in _EXPLAINING or first == "SET":
        if first != "SET" and not _RUNNING & set(words):
            return ""
        if first == "SET" and second != "STATEMENT":
            return ""
        return next((f"{first} {word}" for word in words[1:] if word in _OPAQUE), "")
    if first in ("PREPARE", "DECLARE") or (first == "DO" and vendor == "mysql"):
        return ""
    return first[:_LONGEST_WORD] or "a statement that begins with no word"
