"""Conditions as the ORM writes them, of columns of one table and of values: which values pin them.

Only what is known to the letter is taken, so that what is read here decides the condition.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["NAME", "NotPlain", "Where", "unquoted"]

NAME = r'(?:"[^"%]+"|`[^`%]+`)'
"""A quoted name, as a pattern."""

_MOST_TOKENS = 200
_DEEPEST = 10


class NotPlain(Exception):
    """The condition holds something that is not known here."""


@dataclass(frozen=True, slots=True)
class _Node:
    """A part of a condition: ``kind`` is AND, OR, NOT, EQUAL (to one of some values) or another."""

    kind: str
    parts: tuple[_Node, ...] = ()
    column: str = ""
    places: tuple[int, ...] = ()


class Where:
    """A condition, read: ``expression := unit (AND unit)* | unit (OR unit)*``.

    ``table`` is the quoted name that stands before each of its columns. Raises :class:`NotPlain`.
    """

    def __init__(self, text: str, table: str) -> None:
        column = rf"{re.escape(table)}\.({NAME})"
        token = re.compile(rf"\s*(?:{column}|(%s)|([A-Z]+)\b|(<>|<=|>=|[=<>(),]))")
        self._tokens: list[tuple[str, str]] = []
        place = 0
        while place < len(text):
            found = token.match(text, place)
            if found is None or len(self._tokens) == _MOST_TOKENS:
                raise NotPlain  # before more of it is taken apart: it may be megabytes
            name, value, word, sign = found.groups()
            self._tokens.append(("column", unquoted(name)) if name else ("", value or word or sign))
            place = found.end()
        self.columns: frozenset[str] = frozenset(
            name for kind, name in self._tokens if kind == "column"
        )
        self.number = 0
        """How many parameters there are."""
        self._at = 0
        self._root = self._expression(0)
        if self._at < len(self._tokens):
            raise NotPlain

    def pins(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Yield the columns in which every row has one of some values, and these values' places."""
        waiting = [self._root]
        while waiting:
            node = waiting.pop()
            if node.kind == "AND":
                waiting += reversed(node.parts)
            elif node.kind == "EQUAL":
                yield node.column, node.places

    def _next(self) -> str:
        """Return the next token, if it is no column; it is not taken."""
        kind, text = self._tokens[self._at] if self._at < len(self._tokens) else ("", "")
        return "" if kind else text

    def _take(self, wanted: str) -> None:
        if self._next() != wanted:
            raise NotPlain
        self._at += 1

    def _takes(self, wanted: str) -> bool:
        if self._next() != wanted:
            return False
        self._at += 1
        return True

    def _column(self) -> str:
        kind, name = self._tokens[self._at] if self._at < len(self._tokens) else ("", "")
        if kind != "column":
            raise NotPlain
        self._at += 1
        return name

    def _value(self) -> int:
        self._take("%s")
        self.number += 1
        return self.number - 1

    def _expression(self, depth: int) -> _Node:
        if depth > _DEEPEST:
            raise NotPlain
        parts = [self._unit(depth)]
        connector = self._next()
        if connector not in ("AND", "OR"):
            return parts[0]
        while self._takes(connector):
            parts.append(self._unit(depth))
        return _Node(connector, tuple(parts))

    def _unit(self, depth: int) -> _Node:
        if self._takes("NOT"):
            return _Node("NOT", (self._unit(depth + 1),)) if depth < _DEEPEST else self._fail()
        if self._takes("("):
            inner = self._expression(depth + 1)
            self._take(")")
            return inner
        return self._comparison(self._column())

    def _fail(self) -> _Node:
        raise NotPlain

    def _comparison(self, column: str) -> _Node:
        sign = self._next()
        if sign in ("=", "<>", "<", ">", "<=", ">="):
            self._at += 1
            if self._next() != "%s":
                is_in_brackets = self._takes("(")
                self._column()
                if is_in_brackets:
                    self._take(")")
                return _Node("COLUMNS")
            place = self._value()
            return _Node("EQUAL", (), column, (place,)) if sign == "=" else _Node("VALUE")
        if self._takes("IN"):
            self._take("(")
            places = [self._value()]
            while self._takes(","):
                places.append(self._value())
            self._take(")")
            return _Node("EQUAL", (), column, tuple(places))
        if self._takes("IS"):
            self._takes("NOT")
            self._take("NULL")
        elif self._takes("BETWEEN"):
            self._value()
            self._take("AND")
            self._value()
        return _Node("COLUMN")  # of booleans, if nothing came


def unquoted(name: str) -> str:
    """Return a name without its quotes; one in it is doubled."""
    return name[1:-1].replace(name[0] * 2, name[0])
