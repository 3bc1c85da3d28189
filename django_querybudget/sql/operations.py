"""What a statement does to which tables, in a few words: ``SELECT jobs_job accounts_user``.

The words are those of OpenTelemetry's stable conventions for databases (``db.operation.name``,
``db.collection.name``, ``db.query.summary``): each operation and its targets, in their order.
"""

from __future__ import annotations

from typing import NamedTuple

from .fingerprints import first_words
from .lexer import Kind, Token, readings
from .memory import Memo
from .verbs import WRITING, words_where

__all__ = ["OPERATIONS", "Operation", "operation_of"]

OPERATIONS = frozenset({"SELECT", *WRITING})
LONGEST = 255
"""A summary's length, in characters."""
_BEGINNING = 8_000
"""So much of a text is read, in characters."""
_TARGETS = frozenset({"FROM", "JOIN", "INTO"}) | words_where(lambda verb: verb.before_table)
_NO_TARGET = frozenset("ONLY TABLE LATERAL IGNORE".split())
_FROM_INSIDE = frozenset("EXTRACT TRIM SUBSTRING OVERLAY".split())
"""Functions in whose parentheses FROM names no table."""
_NO_UPDATE = frozenset("FOR KEY DO NO".split())
_NAMES = frozenset({Kind.WORD, Kind.NAME})


class Operation(NamedTuple):
    """What a statement does."""

    name: str
    """The first operation, in capitals."""
    collection: str
    """Its table, where there is only one; else empty."""
    summary: str
    """All operations and their tables, cut at a word's end."""


def operation_of(sql: str, vendor: str) -> Operation:
    """Return what ``sql`` does, for a database of that ``vendor``."""
    return _operations[sql[:_BEGINNING], vendor]


def _read(key: tuple[str, str]) -> Operation:
    sql, vendor = key
    tokens = list(readings(sql, vendor)[0])
    words: list[str] = []
    targets: set[str] = set()
    before = ""
    around = [""]  # by depth of parentheses: the word before it
    for at, (kind, text) in enumerate(tokens):
        word = text.upper() if kind is Kind.WORD else ""
        if text == "(" and kind is Kind.OTHER:
            around.append(before)
        elif text == ")" and kind is Kind.OTHER and len(around) > 1:
            around.pop()
        if word == "UPDATE" and before in _NO_UPDATE:
            word = ""
        if word == "FROM" and (before == "DISTINCT" or around[-1] in _FROM_INSIDE):
            word = ""
        if word in WRITING and not _writes(word, tokens, at):
            word = ""
        if word in OPERATIONS:
            words.append(word)
        if word in _TARGETS and (target := _name(tokens, at + 1)):
            words.append(target)
            targets.add(target)
        before = word or before
    first = first_words(sql)[0]
    if first not in OPERATIONS and (first != "WITH" or not words):
        words.insert(0, first)
    summary = ""
    for each in words:
        if len(summary) + len(each) >= LONGEST:
            break
        summary = f"{summary} {each}".strip()
    return Operation(words[0], targets.pop() if len(targets) == 1 else "", summary)


_operations = Memo(_read)


def _writes(word: str, tokens: list[Token], at: int) -> bool:
    """Whether the word at ``at`` is a verb: not a function, a column or ``OR REPLACE``."""
    verb = WRITING[word]
    before, after = (
        tokens[each].text if 0 <= each < len(tokens) else "" for each in (at - 1, at + 1)
    )
    if (verb.is_function and after == "(") or before.upper() in ("OR", "."):
        return False
    if before in ("", ";"):
        return True
    return bool(verb.in_with) and (after.upper() == "INTO" or "INTO" not in verb.in_with)


def _name(tokens: list[Token], at: int) -> str:
    """Return the name that stands at ``at``, with what it is qualified by; empty if none does."""
    while at < len(tokens) and tokens[at].kind is Kind.WORD:
        if tokens[at].text.upper() not in _NO_TARGET:
            break
        at += 1
    parts: list[str] = []
    while at < len(tokens) and tokens[at].kind in _NAMES:
        parts.append(tokens[at].text)
        if at + 1 >= len(tokens) or tokens[at + 1].text != ".":
            break
        at += 2
    # A name of blanks would be several words of the summary.
    return ".".join(parts).replace(" ", "_")
