"""Code laid out as a formatter would: :func:`laid_out`. A long line is read by nobody."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from django_querybudget.stacks.source_files import UNPARSABLE

__all__ = ["WIDTH", "call_lines", "laid_out"]

WIDTH = 88
"""Columns that a line may have, as the usual formatters' default is."""


def laid_out(code: str, width: int = WIDTH) -> list[str]:
    """Return the lines of ``code``, none wider than ``width`` if it can be broken.

    A chain is broken at its calls, one a line; a call's arguments, a comprehension and a condition
    at their parts. What is no Python (a line with a blank for a name) stays as it is.
    """
    lines: list[str] = []
    for line in code.split("\n"):
        lines += _broken(line, width) if len(line) > width and line[:1] != " " else [line]
    return lines


def call_lines(code: str, width: int = WIDTH) -> list[str]:
    """Return the lines of a method's call, ``".annotate(…)"``, broken at its arguments."""
    whole = f"_{code}"
    node = ast.parse(whole, mode="eval").body
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return [code]
    return list(_Layout(whole, width)._call(node, 0, f".{node.func.attr}"))


def _broken(line: str, width: int) -> list[str]:
    text, comment = line, ""
    try:
        (statement,) = ast.parse(line).body
        end = statement.end_col_offset or len(line.encode())
        text = line.encode()[:end].decode()
        comment = line[len(text) :].strip()
        layout = _Layout(text, width)
        match statement:
            case ast.Assign(targets=[target], value=value):
                found = list(layout.lines(value, 0, f"{layout.source(target)} = "))
            case ast.Expr(value=value):
                found = list(layout.lines(value, 0))
            case _:
                return [line]
        same = ast.dump(ast.parse("\n".join(found))) == ast.dump(ast.parse(text))
    except UNPARSABLE:
        return [line]
    return [*([comment] if comment else []), *found] if same else [line]


class _Layout:
    """The lines of one statement; strings and names stay as they are written."""

    def __init__(self, code: str, width: int) -> None:
        self._code = code
        self._width = width

    def source(self, node: ast.AST) -> str:
        return ast.get_source_segment(self._code, node) or ast.unparse(node)

    def lines(self, node: ast.AST, indent: int, before: str = "", after: str = "") -> Iterator[str]:
        """Yield the lines of an expression between what stands before and after it."""
        pad = " " * indent
        whole = f"{pad}{before}{self.source(node)}{after}"
        calls = self._calls(node)
        if len(whole) <= self._width:
            yield whole
        elif isinstance(node, ast.IfExp):
            yield f"{pad}{before}("
            yield from self.lines(node.body, indent + 4)
            yield f"{pad}    if {self.source(node.test)}"
            yield from self.lines(node.orelse, indent + 4, "else ")
            yield f"{pad}){after}"
        elif isinstance(node, ast.ListComp | ast.DictComp) and len(node.generators) == 1:
            yield from self._comprehension(node, indent, before, after)
        elif isinstance(node, ast.List):
            yield f"{pad}{before}["
            for each in node.elts:
                yield from self.lines(each, indent + 4, after=",")
            yield f"{pad}]{after}"
        elif not calls:
            yield whole
        elif len(calls) > 1:
            yield f"{pad}{before}("
            methods: list[Any] = [call.func for call in calls]
            yield f"{pad}    {self.source(methods[0].value)}"
            for call, method in zip(calls, methods, strict=True):
                yield from self._call(call, indent + 4, f".{method.attr}")
            yield f"{pad}){after}"
        else:
            name = self.source(calls[0].func)
            yield from self._call(calls[0], indent, f"{before}{name}", after)

    def _comprehension(
        self, node: ast.ListComp | ast.DictComp, indent: int, before: str, after: str
    ) -> Iterator[str]:
        pad, rows = " " * indent, node.generators[0]
        opening, closing = "{}" if isinstance(node, ast.DictComp) else "[]"
        yield f"{pad}{before}{opening}"
        if isinstance(node, ast.DictComp):
            yield from self.lines(node.value, indent + 4, f"{self.source(node.key)}: ")
        else:
            yield from self.lines(node.elt, indent + 4)
        loop = "async for" if rows.is_async else "for"
        yield from self.lines(rows.iter, indent + 4, f"{loop} {self.source(rows.target)} in ")
        for test in rows.ifs:
            yield f"{pad}    if {self.source(test)}"
        yield f"{pad}{closing}{after}"

    def _calls(self, node: ast.AST) -> list[ast.Call]:
        """Return the calls of a chain from the inside out; the call of a function alone."""
        found: list[ast.Call] = []
        each: ast.AST = node
        while isinstance(each, ast.Call):
            found.insert(0, each)
            if not isinstance(each.func, ast.Attribute):
                break
            each = each.func.value
        plain = found and not isinstance(found[0].func, ast.Attribute)
        return found[-1:] if plain and len(found) == 1 else [] if plain else found

    def _call(self, call: ast.Call, indent: int, name: str, after: str = "") -> Iterator[str]:
        pad = " " * indent
        arguments = [("", each) for each in call.args]
        arguments += [(f"{each.arg}=" if each.arg else "**", each.value) for each in call.keywords]
        written = ", ".join(f"{before}{self.source(value)}" for before, value in arguments)
        if len(f"{pad}{name}({written}){after}") <= self._width or not arguments:
            yield f"{pad}{name}({written}){after}"
            return
        yield f"{pad}{name}("
        for before, value in arguments:
            yield from self.lines(value, indent + 4, before, ",")
        yield f"{pad}){after}"
