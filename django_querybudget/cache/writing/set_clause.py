"""What stands behind ``SET`` in an UPDATE, as the ORM writes it: which columns, and to what."""

from __future__ import annotations

import re

from django_querybudget.cache.where_text import unquoted

__all__ = ["NAME", "PLAIN_SET", "TERM", "assigned", "places"]

NAME = r'"(?:[^"]|"")*"|`(?:[^`]|``)*`'
"""A quoted name, as a pattern."""

# Before 6.1, Django writes ``= NULL`` where it sets a column to None.
TERM = re.compile(rf"({NAME}) = (%s|NULL)")
PLAIN_SET = re.compile(rf"(?:{NAME}) = (?:%s|NULL)(?:, (?:{NAME}) = (?:%s|NULL))*")


def places(text: str) -> dict[str, int | None]:
    """Return to which parameter a plain ``SET`` sets each column that it does not set to NULL."""
    given = (name for name, value in TERM.findall(text) if value == "%s")
    return {unquoted(name): place for place, name in enumerate(given)}


def assigned(text: str) -> tuple[str, ...]:
    """Return the columns that ``SET`` and ``text`` assign; none where that is not certain."""
    if PLAIN_SET.fullmatch(text):
        return tuple(map(unquoted, re.findall(NAME, text)))
    if _UNCERTAIN.search(text):
        return ()
    depth, place, terms = 0, 0, [""]
    while place < len(text):
        found = _PART.match(text, place)
        if found is None:
            return ()  # a quote that does not end
        part, place = found[0], found.end()
        depth += (part == "(") - (part == ")")
        if depth < 0:
            return ()
        if part == "," and not depth:
            terms.append("")
        else:
            terms[-1] += part
    names = [_ASSIGNMENT.match(term) for term in terms]
    return () if depth or None in names else tuple(unquoted(name[1]) for name in names if name)


# A backslash before a quote, a quote of dollars, a comment.
_UNCERTAIN = re.compile(r"[\\$#]|--|/\*")
_PART = re.compile(rf"{NAME}|'(?:[^']|'')*'|[(),]|[^\"`'(),]+")
_ASSIGNMENT = re.compile(rf" ?({NAME}) = ")
