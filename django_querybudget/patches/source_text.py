"""A source file's text, and positions in it: :class:`SourceText`.

Written back it is the same bytes: encoding (PEP 263), byte order mark and line ends are kept.
"""

from __future__ import annotations

import ast
import codecs
import io
import re
import tokenize
from functools import cached_property

__all__ = ["SourceText"]

_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_LINES = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z")


class SourceText:
    """A Python file's bytes as text. Positions are indexes into :attr:`text`.

    Raises ``SyntaxError`` for bytes that are no Python, or not in the encoding that they say.
    """

    def __init__(self, data: bytes) -> None:
        self.encoding = tokenize.detect_encoding(io.BytesIO(data).readline)[0]
        self._mark = b""
        if self.encoding == "utf-8-sig":
            self.encoding, self._mark = "utf-8", codecs.BOM_UTF8
        try:
            self.text = data[len(self._mark) :].decode(self.encoding)
        except UnicodeDecodeError as error:
            raise SyntaxError(f"It is not in {self.encoding}, as it says: {error}") from error

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree, whose positions are those of the file's lines."""
        return ast.parse(self.text)

    @cached_property
    def parents(self) -> dict[ast.AST, ast.AST]:
        """The node around each node."""
        return {child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *(match.end() for match in _LINES.finditer(self.text))]

    @cached_property
    def newline(self) -> str:
        """The line end that most lines have."""
        windows = self.text.count("\r\n")
        return "\r\n" if windows * 2 > self.text.count("\n") else "\n"

    @cached_property
    def unit(self) -> str:
        """What one level of indentation is."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.If | ast.For):
                outer, inner = self.indent_at(node.lineno), self.indent_at(node.body[0].lineno)
                if inner.startswith(outer) and len(inner) > len(outer):
                    return inner[len(outer) :]
        return "    "

    def position(self, line: int, column: int) -> int:
        """Return the index of a place as ``ast`` has it: a line, and a column in UTF-8 bytes."""
        start = self._starts[line - 1]
        if self.text.isascii():
            return start + column
        return start + len(self.line(line).encode()[:column].decode())

    def start_of(self, node: ast.expr | ast.stmt | ast.keyword) -> int:
        """Return where a node begins."""
        return self.position(node.lineno, node.col_offset)

    def end_of(self, node: ast.expr | ast.stmt | ast.keyword) -> int:
        """Return where a node ends."""
        return self.position(node.end_lineno or node.lineno, node.end_col_offset or 0)

    def segment(self, node: ast.expr | ast.stmt | ast.keyword) -> str:
        """Return a node's text as it is written."""
        return self.text[self.start_of(node) : self.end_of(node)]

    def line(self, number: int) -> str:
        """Return a line, from 1, without its end."""
        end = self._starts[number] if number < len(self._starts) else len(self.text)
        return self.text[self._starts[number - 1] : end].rstrip("\r\n")

    def line_start(self, number: int) -> int:
        """Return where a line begins, from 1; behind the last one, where the text ends."""
        return self._starts[number - 1] if number <= len(self._starts) else len(self.text)

    def indent_at(self, number: int) -> str:
        """Return the blanks that a line begins with."""
        line = self.line(number)
        return line[: len(line) - len(line.lstrip(" \t\f"))]

    def scope_of(self, node: ast.AST) -> ast.AST | None:
        """Return the innermost function that a node stands in."""
        around = self.parents.get(node)
        while around is not None and not isinstance(around, _SCOPES):
            around = self.parents.get(around)
        return around

    def encoded(self, text: str) -> bytes:
        """Return ``text`` as this file's bytes. Raises ``UnicodeEncodeError``."""
        return self._mark + text.encode(self.encoding)
