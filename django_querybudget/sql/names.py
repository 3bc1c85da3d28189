"""What the tokens of a statement name: tables, functions, what another run may answer otherwise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from .lexer import Kind, Token
from .verbs import words_where

__all__ = [
    "TIME_WORDS",
    "called_name",
    "names_in",
    "only_target",
    "sources_of",
    "tables_of",
    "targets_of",
    "unsteady_parts",
    "uses_of",
]

# A parenthesis after a name that follows these holds columns, not arguments.
_NAMING = frozenset("INTO TABLE AS WITH RECURSIVE REFERENCES".split()) | words_where(
    lambda verb: verb.has_columns
)
_BEFORE_TARGETS = words_where(lambda verb: verb.before_table) - {"UPDATE"} | {"INTO"}
_SOURCES_END = frozenset(
    """
    WHERE GROUP ORDER HAVING LIMIT UNION EXCEPT INTERSECT WINDOW SELECT SET RETURNING FOR OFFSET
    FETCH ON
    """.split()
)
# What stands without parentheses, or draws lots.
_UNSTEADY = frozenset(
    """
    CURRENT_DATE CURRENT_TIME CURRENT_TIMESTAMP CURRENT_USER CURRENT_ROLE CURRENT_CATALOG
    CURRENT_SCHEMA LOCALTIME LOCALTIMESTAMP SESSION_USER SYSTEM_USER SYSDATE TABLESAMPLE
    """.split()
)
# SQLite's date functions tell the time where they are given no time.
_TIMES = frozenset("DATE TIME DATETIME JULIANDAY UNIXEPOCH UUID TIMESTAMP".split())

TIME_WORDS = frozenset({"now", "today", "tomorrow", "yesterday", "allballs"})
"""What a database reads as a time of its own, where it expects a time."""
_LONGEST_NAME = 256  # A longer literal names no table.
_POSTGRESQL_NAME = 63  # What is longer is cut off, in bytes.


def called_name(tokens: list[Token], at: int) -> str:
    """Return the function that is called where the name before ``(`` ends at ``at``."""
    parts = [tokens[at].text]
    start = at
    for each in range(at, 1, -2):
        if tokens[each - 1].text != "." or tokens[each - 2].kind not in _NAMES:
            break
        start = each - 2
        parts.append(tokens[start].text)
    before = tokens[start - 1] if start else None
    if before is not None and before.kind is Kind.WORD and before.text.upper() in _NAMING:
        return ""
    return ".".join(reversed(parts)).lower()


_NAMES = frozenset({Kind.WORD, Kind.NAME})


def names_in(tokens: Iterable[Token], vendor: str) -> Iterator[str]:
    for kind, text in tokens:
        if kind in _NAMES or (
            # SQLite takes 'name' for a name, MySQL in one of its modes "name".
            kind is Kind.STRING and vendor in ("sqlite", "mysql") and len(text) <= _LONGEST_NAME
        ):
            yield text.lower()
            if vendor == "postgresql" and len(text) > _POSTGRESQL_NAME // 4:
                cut = text.encode("utf-8", "replace")[:_POSTGRESQL_NAME]
                yield cut.decode("utf-8", "ignore").lower()


def targets_of(tokens: list[Token]) -> Iterator[str]:
    """Yield the names after UPDATE, INTO, DELETE FROM, COPY and TRUNCATE."""
    before = ""
    for at, (kind, text) in enumerate(tokens):
        word = text.upper() if kind is Kind.WORD else ""
        if (
            word in _BEFORE_TARGETS
            or (word == "FROM" and before == "DELETE")
            or (word == "UPDATE" and before not in ("FOR", "KEY", "DO", "THEN"))
        ):
            yield from _listed(tokens, at + 1)
        before = word


def only_target(tokens: list[Token]) -> str:
    """Return the table of an UPDATE … SET, a DELETE FROM … WHERE or an INSERT INTO … (, if any.

    What begins so cannot write to another table, whatever it reads.
    """
    words = [text.upper() for _, text in tokens[:2]]
    start, following = (1, ("SET",)) if words[:1] == ["UPDATE"] else (2, ("WHERE", "", "("))
    if start == 2 and words not in (["DELETE", "FROM"], ["INSERT", "INTO"]):
        return ""
    for at in range(start, len(tokens), 2):
        kind, name = tokens[at]
        after = tokens[at + 1].text.upper() if at + 1 < len(tokens) else ""
        if after != ".":
            return name.lower() if kind in _NAMES and after in following else ""
    return ""


def _listed(tokens: list[Token], at: int) -> Iterator[str]:
    """Yield the last part of each of the names that are listed from ``at`` on."""
    name = ""
    for kind, text in (tokens[each] for each in range(at, len(tokens))):
        if kind is Kind.OTHER and text == "," and name:
            yield name
            name = ""
        elif kind is Kind.OTHER and text == "." and name:
            name = "."
        elif kind in _NAMES and name in ("", "."):
            name = "" if kind is Kind.WORD and text.upper() in ("ONLY", "TABLE") else text.lower()
        else:
            break
    if name:
        yield name


def unsteady_parts(tokens: list[Token]) -> Iterator[str]:
    for at, (kind, text) in enumerate(tokens):
        if kind is Kind.WORD:
            word = text.upper()
            if word in _UNSTEADY:
                yield text
            elif word in _TIMES and [each.text for each in tokens[at + 1 : at + 3]] == ["(", ")"]:
                yield f"{text}()"
        elif kind is Kind.VARIABLE or (kind is Kind.STRING and text.strip().lower() in TIME_WORDS):
            yield text


def uses_of(tokens: list[Token]) -> Counter[str]:
    return Counter(
        text.lower()
        for at, (kind, text) in enumerate(tokens)
        if kind in _NAMES and not (at + 1 < len(tokens) and tokens[at + 1].text == ".")
    )


def tables_of(tokens: list[Token]) -> tuple[str, ...]:
    """Return the names, in lower case, of what a statement reads from and writes to, each once.

    Those of its own ``WITH``, and of functions that are read from, are among them.
    """
    sources = [parts[-1] for parts in sources_of(tokens) if parts]
    return tuple(dict.fromkeys([*sources, *targets_of(tokens)]))


def sources_of(tokens: list[Token]) -> Iterator[tuple[str, ...]]:
    """Yield what stands after FROM and JOIN, and after the commas of a FROM."""
    listing = [False]  # by depth of parentheses: whether a FROM's list goes on
    expecting = False
    parts: list[str] = []
    for kind, text in tokens:
        word = text.upper() if kind is Kind.WORD else ""
        if parts and (text == "." or parts[-1] == "."):
            parts.append(text.lower())
            continue
        if parts:
            yield tuple(part for part in parts if part != ".")
            parts = []
        if word in ("FROM", "JOIN"):
            expecting = listing[-1] = True
        elif word in _SOURCES_END:
            expecting = listing[-1] = False
        elif kind is Kind.OTHER:
            if text == "(":
                listing.append(expecting)
            elif text == ")" and len(listing) > 1:
                listing.pop()
                expecting = False
            elif text == ",":
                expecting = listing[-1]
        elif expecting and kind is not Kind.PARAMETER and word not in ("LATERAL", "ONLY"):
            parts = [text.lower()]
            expecting = False
    if parts:
        yield tuple(part for part in parts if part != ".")
