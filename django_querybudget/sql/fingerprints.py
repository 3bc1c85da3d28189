"""SQL text: its fingerprint, the kind of statement, the names in it.

A *fingerprint* is the statement with everything taken out that differs between two runs of the
same code: literals, lengths of ``IN`` lists and of ``VALUES``, names of savepoints and server-side
cursors, comments and white space. ``"identifier"`` is not a literal (SQL:2016, 5.2).
"""

from __future__ import annotations

import re
from enum import Enum

from . import verbs
from .memory import Memo

__all__ = ["StatementKind", "fingerprint", "first_words", "identifiers", "statement_kind"]


class StatementKind(Enum):
    """What a statement does, as far as its text tells."""

    READ = "read"
    WRITE = "write"
    SCHEMA = "schema"
    TRANSACTION = "transaction"
    OTHER = "other"


_KINDS = {
    **dict.fromkeys(verbs.READING, StatementKind.READ),
    **dict.fromkeys(verbs.WRITING, StatementKind.WRITE),
    **dict.fromkeys(verbs.SCHEMA, StatementKind.SCHEMA),
    **dict.fromkeys(verbs.TRANSACTION, StatementKind.TRANSACTION),
}

_COMMENT = r"--[^\n]*|/\*.*?(?:\*/|\Z)"
# Backslash escapes are MySQL's, and PostgreSQL's in E'…'; the ESCAPE '\' that the ORM writes on
# SQLite and Oracle for every contains, startswith and endswith is none. Another standard string
# that ends in a backslash is read wrong here: its fingerprint is odd then, but the same for every
# run. Possessive: a literal of megabytes is one step, not one for each character.
# What is not closed reaches to the end: looked for again from every quote, it would take forever.
_STRING = r"(?:(?<=ESCAPE )'\\'(?!')|'(?:[^'\\]++|''|\\.)*+(?:'|\\?\Z))"
_DOLLAR_STRING = r"(?<![\w$])\$(?P<tag>(?:[A-Za-z_]\w*+)?)\$(?:.*?\$(?P=tag)\$|.*)"
_QUOTED_NAME = r'"(?:[^"]++|"")*+(?:"|\Z)|`[^`]*+(?:`|\Z)'

# Possessive: given back, a "--" or "/*" could be cut up in exponentially many ways, or into words.
_FIRST_WORDS = re.compile(rf"(?:[\s(;]|{_COMMENT})*+([A-Za-z]+)(?:\s+([A-Za-z]+))?", re.DOTALL)
_NOT_CODE = re.compile(rf"{_COMMENT}|{_STRING}|{_DOLLAR_STRING}|{_QUOTED_NAME}", re.DOTALL)
_WRITING_WORD = re.compile(
    rf"(?<![.\w])(?:{'|'.join(verb.in_with for verb in verbs.WRITING.values() if verb.in_with)})\b",
    re.IGNORECASE,
)

_TOKEN = re.compile(
    rf"(?P<space>(?:\s|{_COMMENT})+)"
    rf"|(?P<name>{_QUOTED_NAME})"
    rf"|(?P<literal>\b[EeBbXxNn]{_STRING}|{_STRING}|{_DOLLAR_STRING}"
    r"|%\(\w+\)s|%s(?:, %s)*+|\$\d+|(?<![:\w]):[A-Za-z_]\w*"
    r"|(?<![\w.])(?:0[xX][0-9A-Fa-f]+|(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?))",
    re.DOTALL,
)
_ROW = r"\((?:[^()]|\([^()]*\))*\)"
_LITERAL = r"(?:-? ?\?(?:::\w+)?|NULL)"
# Possessive, too: the space before a literal can be read in two ways, and a list that is not closed
# would be tried in all of them.
_LITERALS = rf"\( ?{_LITERAL}(?: ?, ?{_LITERAL})*+ ?\)"
_COLLAPSED = (
    (
        re.compile(rf"\b(IN) ?(?:{_LITERALS}|\( ?{_LITERALS}(?: ?, ?{_LITERALS})*+ ?\))", re.I),
        r"\1 (...)",
    ),
    (re.compile(rf"\b(VALUES) ?{_ROW}(?: ?, ?{_ROW})*", re.I), r"\1 (...)"),
    (re.compile(r"\b(SAVEPOINT) \S+", re.I), r"\1 ?"),
    (re.compile(r"\b_django_curs_\w+"), "_django_curs_?"),
)
_WORD = re.compile(r'"((?:[^"]++|"")*+)(?:"|\Z)|`([^`]*+)(?:`|\Z)|(\w++)')


def _normalised(token: re.Match[str]) -> str:
    if token["space"]:
        return " "
    if name := token["name"]:
        return name
    # A list of a thousand parameters is one token.
    return token[0].replace("%s", "?") if token[0][:2] == "%s" else "?"


def fingerprint(sql: str) -> str:
    """Return the shape of ``sql``: equal for two runs of the same code, readable as SQL."""
    return _shapes[sql]


def _shape(sql: str) -> str:
    shape = _TOKEN.sub(_normalised, sql).strip().rstrip("; ")
    for pattern, replacement in _COLLAPSED:
        shape = pattern.sub(replacement, shape)
    return shape


def statement_kind(sql: str) -> StatementKind:
    """Return what ``sql`` does, by its first words; a ``WITH`` by all of its words."""
    return _statement_kinds[sql]


def first_words(sql: str) -> tuple[str, str]:
    """Return the first two words after any comments, in capitals; what is not there is empty."""
    words = _FIRST_WORDS.match(sql)
    return (words[1].upper(), (words[2] or "").upper()) if words else ("", "")


def _kind(sql: str) -> StatementKind:
    first, second = first_words(sql)
    if first == "WITH":
        writes = _WRITING_WORD.search(re.sub(r"\s+", " ", _NOT_CODE.sub(_blank, sql)))
        return StatementKind.WRITE if writes else StatementKind.READ
    if (first, second) == ("SET", "TRANSACTION"):
        return StatementKind.TRANSACTION
    return _KINDS.get(first, StatementKind.OTHER)


def _blank(not_code: re.Match[str]) -> str:
    """Return what stands for a comment, a literal or a name: a name keeps its place."""
    return "?" if not_code[0][0] in '"`' else " "


_shapes = Memo(_shape)
_statement_kinds = Memo(_kind)


def identifiers(sql: str) -> frozenset[str]:
    """Return every word and every quoted name in ``sql``: names of tables are among them.

    Too many rather than too few: words inside of literals and comments are in it as well.
    """
    found: set[str] = set()
    for double_quoted, back_quoted, word in _WORD.findall(sql):
        found.add(double_quoted.replace('""', '"') or back_quoted or word)
    return frozenset(found)
