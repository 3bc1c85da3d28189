"""Python files, read and never run: :func:`source_of`, one tree for all who ask."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from types import CodeType
from typing import TypeAlias

__all__ = [
    "UNPARSABLE",
    "Function",
    "SourceFile",
    "Span",
    "source_of",
    "span_of",
    "text_of",
    "whole_span",
]

UNPARSABLE = (SyntaxError, ValueError, RecursionError, MemoryError)
"""What :func:`ast.parse` raises at a text: no Python, a null byte, two at one nested too deep."""

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
Span: TypeAlias = tuple[int, int, int, int]
"""Line, last line, column and last column, in bytes of UTF-8."""


class SourceFile:
    """A file's syntax tree, and what stands at a place in it."""

    def __init__(self, filename: str) -> None:
        self.filename = filename
        self.length = sum(map(len, linecache.getlines(filename)))
        """In characters; the tree takes some 35 bytes for each of usual code."""

    @cached_property
    def tree(self) -> ast.Module | None:
        """The tree; None if the file cannot be parsed. One that is not there has an empty tree."""
        try:
            return ast.parse("".join(linecache.getlines(self.filename)))
        except UNPARSABLE:  # A template compiled to Python, a notebook's cell with magic.
            return None

    @cached_property
    def functions(self) -> tuple[Function, ...]:
        """The functions, an inner one after the one that it stands in."""
        return tuple(
            node
            for node in self.statements
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        )

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """Every node, from the outside in; none where there is no tree."""
        return () if self.tree is None else tuple(ast.walk(self.tree))

    @cached_property
    def statements(self) -> tuple[ast.stmt, ...]:
        """The statements, an inner one after the one that it stands in."""
        return tuple(node for node in self.nodes if isinstance(node, ast.stmt))

    @cached_property
    def expressions(self) -> tuple[tuple[ast.AST, ast.expr], ...]:
        """The expressions, outermost first, each behind the node around it."""
        return tuple(
            (outer, node)
            for outer in self.nodes
            for node in ast.iter_child_nodes(outer)
            if isinstance(node, ast.expr)
        )

    def functions_around(self, line: int) -> list[Function]:
        """Return the functions that a line stands in, the innermost last."""
        return [each for each in self.functions if each.lineno <= line <= (each.end_lineno or 0)]

    def function_around(self, line: int) -> Function | None:
        """Return the innermost function that a line stands in."""
        around = self.functions_around(line)
        return around[-1] if around else None

    def function_of(self, code: CodeType) -> Function | None:
        """Return the function that was compiled to ``code``; a decorated one begins above it."""
        for each in self.functions:
            first = each.decorator_list[0].lineno if each.decorator_list else each.lineno
            if each.name == code.co_name and first == code.co_firstlineno:
                return each
        return None

    def expressions_at(self, span: Span) -> Iterator[tuple[ast.AST, ast.expr]]:
        """Yield the expressions at ``span``, outermost first, each with the node around it."""
        for outer, node in self.expressions:
            if span in (whole_span(node), _at_method(node)):
                yield outer, node


_MOST = 1_000_000
"""So many characters all files may have together that are kept: some 35 MB."""
_MOST_FILES = 64
"""So many are kept: code that was made by code has a file name, too, and no text."""
_files: dict[str, SourceFile] = {}


def source_of(filename: str) -> SourceFile:
    """Return a file, read once; those that were asked for last are kept."""
    # Without a lock, which a fork could copy locked: two threads may read one file twice.
    found = _files.pop(filename, None)
    if found is None:
        found = SourceFile(filename)
        _let_go(found.length)
    _files[filename] = found  # behind all others
    return found


def _let_go(length: int) -> None:
    """Forget files until one of this length has room."""
    kept = list(_files.items())
    held = sum(file.length for _, file in kept)
    for left, (filename, file) in zip(range(len(kept), 0, -1), kept, strict=True):
        if held + length <= _MOST and left < _MOST_FILES:
            return
        _files.pop(filename, None)
        held -= file.length


def span_of(code: CodeType, instruction: int) -> Span | None:
    """Return where an instruction stands in the source; None if the code has not kept it."""
    found = next(islice(code.co_positions(), instruction // 2, None), None)
    if found is None or any(each is None for each in found):
        return None
    line, last_line, column, last_column = found
    return line, last_line, column, last_column  # type: ignore[return-value]  # none is None: see above


def text_of(node: ast.AST) -> str | None:
    """Return an expression as code; None for one that is nested too deep: hundreds of ``|``, say.

    Python parses and runs it, but :func:`ast.unparse` takes several calls for each level.
    """
    try:
        return ast.unparse(node)
    except RecursionError:
        return None


def whole_span(node: ast.expr | ast.stmt) -> tuple[int, int | None, int, int | None]:
    """Return where a node stands."""
    return node.lineno, node.end_lineno, node.col_offset, node.end_col_offset


def _at_method(node: ast.expr) -> tuple[int, int | None, int, int | None] | None:
    """Return where a call of several lines says that it is: from its method's name on."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return None
    line, end = node.func.end_lineno, node.func.end_col_offset
    if line is None or end is None or line == node.lineno:
        return None
    return line, node.end_lineno, end - len(node.func.attr.encode()), node.end_col_offset
