"""The tokens of a statement that may change a session."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["SessionToken", "statements_of"]

_TOKEN = re.compile(
    r"(?P<space>\s+|--[^\n\r]*|/\*(?:[^*/]|\*(?!/)|/(?!\*))*\*/)"
    r"|(?P<text>'(?:[^'\\]|'')*')"
    r'|(?P<quoted>"(?:[^"]|"")*"|`(?:[^`]|``)*`)'
    r"|(?P<place>%s)"
    r"|(?P<word>[@A-Za-z_][\w.$@]*)"
    r"|(?P<number>[-+]?\d[\w.]*)"
    r"|(?P<sign>:=|.)",
    re.DOTALL,
)

_DOLLAR_QUOTED = re.compile(r"\$(\w*)\$.*?\$\1\$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class SessionToken:
    kind: str
    text: str

    @property
    def word(self) -> str:
        """The word in capitals; empty for anything else."""
        return self.text.upper() if self.kind == "word" else ""

    @property
    def name(self) -> str:
        """The name that the word or quoted identifier is, as the server folds it."""
        if self.kind == "quoted":
            return self.text[1:-1].lower()
        return self.text.lower()


def statements_of(sql: str) -> Iterator[list[SessionToken]]:
    """Split at semicolons, spaces and comments left out, parameters numbered."""
    piece: list[SessionToken] = []
    places = 0
    for match in _TOKEN.finditer(_DOLLAR_QUOTED.sub(" '' ", sql)):
        kind, text = match.lastgroup or "", match[0]
        if kind == "space":
            # MySQL runs what stands in such a comment.
            if text.startswith(("/*!", "/*M!")):
                piece.append(SessionToken("sign", "!"))
            continue
        if kind == "place":
            text = f"\0{places}"
            places += 1
        elif kind in ("text", "quoted"):
            places += text.count("%s")
        if text == ";":
            yield piece
            piece = []
        else:
            piece.append(SessionToken(kind, text))
    yield piece
