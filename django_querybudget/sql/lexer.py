r"""SQL text as tokens, as each vendor's own lexer sees it.

White space and comments are left out. Every token is found in one step that never goes back, and
what is not closed reaches to the end, so that the time is linear in the text whatever it holds.
Runs of parameters and of literals, which make up long statements, are one token.

Sources: PostgreSQL's ``scan.l``, MySQL's and MariaDB's ``sql_lex.cc``, SQLite's ``tokenize.c``.

==============  ==============================  ==================  ==============================
                PostgreSQL                      MySQL, MariaDB      SQLite
==============  ==============================  ==================  ==============================
backslash       escapes in ``E'…'``             escapes             is a character
``"…"``         name                            string              name
``[…]``         two tokens of an array          no                  name
``#``           operator                        comment             no
``--``          comment up to LF or CR          up to LF or NUL, if comment up to LF
                                                a space follows
``/* /* */``    nests                           does not            does not, needs no end
``$tag$…``      string                          no                  no
U+FEFF          letter                          letter              white space
==============  ==============================  ==================  ==============================
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

__all__ = ["Kind", "Token", "readings"]


class Kind(Enum):
    """What a token is."""

    WORD = "word"
    """A keyword or a name without quotes, as it is written."""
    NAME = "name"
    """A name in quotes; its text is what stands in them, decoded."""
    STRING = "string"
    """A literal; its text is what stands in the quotes, as it is written."""
    NUMBER = "number"
    """A number, or several with commas between."""
    PARAMETER = "parameter"
    """A placeholder, or several with commas and parentheses between."""
    VARIABLE = "variable"
    """MySQL's ``@name`` or ``@@name``."""
    OTHER = "other"
    """One character of an operator or separator."""
    OPEN = "open"
    """What reaches to the end since nothing closes it: no vendor runs such a statement."""


class Token(NamedTuple):
    """A token and what it says."""

    kind: Kind
    text: str


# Letters, the underscore and all that is not ASCII; then with digits, with "$" too, with "." too.
# Spelled by what they are not: to compile a set of a million characters takes milliseconds.
_LETTER = r"[^\x00-@\[-^`{-\x7f]"
_ALPHANUMERIC = r"[^\x00-/:-@\[-^`{-\x7f]"
_OF_WORD = r"[^\x00-#%-/:-@\[-^`{-\x7f]"
_OF_VARIABLE = r"[^\x00-#%-\-/:-@\[-^`{-\x7f]"
_PARAMETER = r"%(?:\([^()]*+\))?[sbt](?![A-Za-z0-9_$])"
_SPACE = r"(?P<space>[ \t\n\r\f\v]++)"
_COMMENT = r"(?P<comment>/\*(?:[^*]++|\*(?!/))*+(?:\*/|{end}))"
_STANDARD = r"'(?:[^']++|'')*+(?:'|(?P<open_{0}>\Z))"
_ESCAPING = r"{1}(?:[^{1}\\]++|{1}{1}|\\.)*+(?:{1}|(?P<open_{0}>\\?\Z))"
# Continued on another line, PostgreSQL's E'…' still has escapes.
_CONTINUED = (
    r"(?:(?:[ \t\f\v]|--[^\n\r]*+)*+[\n\r](?:[ \t\n\r\f\v]|--[^\n\r]*+[\n\r])*+"
    r"'(?:[^'\\]++|''|\\.)*+(?:'|(?P<open_e2>\\?\Z)))*+"
)
_DOUBLED = r'"(?:[^"]++|"")*+(?:"|(?P<open_d>\Z))'
_BACKQUOTED = r"`(?:[^`]++|``)*+(?:`|(?P<open_b>\Z))"

_WORD = rf"(?P<word>{_LETTER}{_OF_WORD}*+)"
_NUMBER = r"(?P<number>[0-9]++(?:\.[0-9]*+)?(?:,[ ]?[0-9]++(?:\.[0-9]*+)?)*+)"
# A row of parameters that follows a comma is no function's arguments.
_PARAMETERS = (
    rf"(?P<parameter>{_PARAMETER}(?:,[ ]?{_PARAMETER})*+"
    rf"|(?:,[ ]?\({_PARAMETER}(?:,[ ]?{_PARAMETER})*+\))++"
    r"|\?|[$][0-9]++|%\([^()]*+\)[a-z]"
    rf"|(?<!:):{_LETTER}{_ALPHANUMERIC}*+)"
)


def _compiled(*parts: str) -> re.Pattern[str]:
    return re.compile("|".join((*parts, r"(?P<other>.)")), re.DOTALL)


_SQLITE = _compiled(
    r"(?P<space>[ \t\n\r\f\v\ufeff]++)",
    rf"(?P<word>(?!\ufeff){_LETTER}{_OF_WORD}*+)",
    _PARAMETERS,
    _NUMBER,
    rf"(?P<string>{_STANDARD.format('s')})",
    rf"(?P<name>{_DOUBLED}|{_BACKQUOTED}|\[[^\]]*+(?:\]|(?P<open_k>\Z)))",
    r"(?P<line>--[^\n]*+)",
    _COMMENT.format(end=r"\Z"),
)


def _mysql(*, escapes: bool, running: bool = False) -> re.Pattern[str]:
    space = _SPACE.replace("++)", r"++|/\*M?!(?:[0-9]{5,6})?|\*/)") if running else _SPACE
    string = _ESCAPING if escapes else r"{1}(?:[^{1}]++|{1}{1})*+(?:{1}|(?P<open_{0}>\Z))"
    return _compiled(
        space,
        # A name may begin with a digit.
        rf"(?P<number>[0-9]++(?:\.[0-9]*+)?(?:,[ ]?[0-9]++(?:\.[0-9]*+)?)*+(?!{_OF_WORD}))",
        rf"(?P<word>{_OF_WORD}++)",
        _PARAMETERS,
        rf"(?P<string>{string.format('s', chr(39))}|{string.format('d', chr(34))})",
        rf"(?P<name>{_BACKQUOTED})",
        rf"(?P<variable>@@?(?:{_OF_VARIABLE}++|{string.format('v', chr(39))}"
        rf"|{string.format('w', chr(34))}|`[^`]*+`))",
        r"(?P<line>#[^\n\0]*+|--(?=[\x00-\x20\x7f]|\Z)[^\n\0]*+)",
        _COMMENT.format(end=r"(?P<open_c>\Z)"),
    )


def _standard(*, escapes: bool) -> re.Pattern[str]:
    plain = _ESCAPING.format("s", "'") + _CONTINUED if escapes else _STANDARD.format("s")
    return _compiled(
        _SPACE,
        rf"(?P<escaping>[eE]{_ESCAPING.format('e', chr(39))}{_CONTINUED.replace('e2', 'e3')})",
        rf"(?P<unicode>[uU]&{_DOUBLED.replace('open_d', 'open_u')})",
        _WORD,
        _PARAMETERS,
        _NUMBER,
        rf"(?P<string>{plain})",
        rf"(?P<name>{_DOUBLED})",
        r"(?P<line>--[^\n\r]*+)",
        r"(?P<nested>/\*)",
        rf"(?P<dollar>\$(?:{_LETTER}{_ALPHANUMERIC}*+)?\$)",
    )


# By vendor, the ways to read a text: the usual one first, then the one in which a backslash in a
# plain string means what it does by a setting that is not the vendor's default.
_PATTERNS = {
    "sqlite": (_SQLITE, _SQLITE),
    "mysql": (_mysql(escapes=True), _mysql(escapes=False)),
    "postgresql": (_standard(escapes=False), _standard(escapes=True)),
}
# MySQL and MariaDB run what stands in /*! … */, if their version is what it says.
_RUNNING = (
    _mysql(escapes=True, running=True),
    _mysql(escapes=False, running=True),
)
_KINDS = {
    "word": Kind.WORD,
    "name": Kind.NAME,
    "unicode": Kind.NAME,
    "string": Kind.STRING,
    "escaping": Kind.STRING,
    "number": Kind.NUMBER,
    "parameter": Kind.PARAMETER,
    "variable": Kind.VARIABLE,
    "other": Kind.OTHER,
}
_NESTING = re.compile(r"/\*|\*/")
_ESCAPED = re.compile(r"\\(?:\\|\+([0-9A-Fa-f]{6})|([0-9A-Fa-f]{4}))")


def readings(sql: str, vendor: str) -> list[Iterator[Token]]:
    """Return the tokens of ``sql`` for each way in which the database may read it; mostly one.

    ``vendor`` is a connection's; one that is not known is read as PostgreSQL. The settings
    ``standard_conforming_strings = off`` and ``NO_BACKSLASH_ESCAPES`` say what a backslash before
    a quote is, a server's version whether it runs a comment: of none is anything known here.
    """
    ways = list(_PATTERNS.get(vendor, _PATTERNS["postgresql"]))
    if vendor == "mysql" and ("/*!" in sql or "/*M!" in sql):
        ways = [ways[0], _RUNNING[0], ways[1], _RUNNING[1]]
    if "\\'" not in sql and '\\"' not in sql:
        del ways[len(ways) // 2 :]
    return [_tokens(sql, pattern) for pattern in dict.fromkeys(ways)]


def _tokens(sql: str, pattern: re.Pattern[str]) -> Iterator[Token]:
    """Yield the tokens of ``sql``, with :attr:`Kind.OPEN` last if something is not closed."""
    match, kinds = pattern.match, _KINDS
    at, end = 0, len(sql)
    while at < end:
        found = match(sql, at)
        assert found is not None  # noqa: S101  # the last alternative takes any character
        at = found.end()
        group = str(found.lastgroup)
        if at == end and any(
            text is not None for name, text in found.groupdict().items() if name[:4] == "open"
        ):
            yield Token(Kind.OPEN, "")
            return
        if group in _AS_WRITTEN:
            yield Token(kinds[group], found[0])
        elif group == "nested":
            at = _after_nested(sql, at)
        elif group == "dollar":
            start, at = at, sql.find(found[0], at)
            if at != -1:
                yield Token(Kind.STRING, sql[start:at])
                at += len(found[0])
        elif group in kinds:
            yield Token(kinds[group], _inside(found[0]))
        if at == -1:
            yield Token(Kind.OPEN, "")
            return


_AS_WRITTEN = frozenset({"word", "number", "parameter", "variable", "other"})


def _after_nested(sql: str, at: int) -> int:
    """Return where a comment ends that began before ``at``, -1 if nowhere."""
    depth = 1
    for found in _NESTING.finditer(sql, at):
        depth += 1 if found[0] == "/*" else -1
        if not depth:
            return found.end()
    return -1


def _inside(text: str) -> str:
    """Return what stands in quotes."""
    quote = text[-1]
    if quote == "]":
        return text[1:-1]
    start = text.index(quote)
    inside = text[start + 1 : -1]
    if quote != "'":
        inside = inside.replace(quote * 2, quote)
    return _ESCAPED.sub(_decoded, inside) if start == 2 else inside  # U&"…"


def _decoded(escape: re.Match[str]) -> str:
    code = escape[1] or escape[2]
    return chr(int(code, 16)) if code and int(code, 16) <= 0x10FFFF else "\\"
