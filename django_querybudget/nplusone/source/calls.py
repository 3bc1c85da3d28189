"""The source of the expression that runs a query: :func:`find_call`.

A line may run several queries, and what to write in the place of one of them must name what it
replaces and the variable that the line has its row in. An instruction knows its columns (PEP 657),
so the expression is found exactly, and nothing is guessed from its text.
"""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from types import CodeType
from typing import TypeAlias

from django_querybudget.stacks import RawOrigin

__all__ = [
    "Call",
    "Span",
    "find_call",
    "find_queryset",
    "functions_of",
    "parsed",
    "span_of",
    "without",
]

Span: TypeAlias = tuple[int, int, int, int]
"""Line, last line, column and last column, in bytes of UTF-8."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """``book.author.reviews.filter(stars=3).count()``, as it stands in the source."""

    text: str
    """What it is replaced with stands for this: with its ``await``, with ``["total"]`` after an
    ``aggregate()``."""
    receiver: ast.expr
    """What its last method is called on: ``book.author.reviews.filter(stars=3)``."""
    is_statement: bool = False
    """Whether nothing reads what it returns."""
    binds: str | None = None
    """What ``async for`` binds, if that is what evaluates it: a list is no iterable for that."""

    def owner(self, accessor: str) -> ast.expr | None:
        """Return what the attribute ``accessor`` is read from: ``book.author``."""
        found = self._read(accessor)
        return None if found is None else found[0].value

    def start(self, accessor: str) -> ast.expr | None:
        """Return the related manager: ``book.reviews``, ``book.reviews(manager="everything")``."""
        found = self._read(accessor)
        return None if found is None else found[1] or found[0]

    def _read(self, accessor: str) -> tuple[ast.Attribute, ast.Call | None] | None:
        """Return where the attribute ``accessor`` is read, and the call of what it is."""
        node, outer = self.receiver, None
        while True:
            called = outer
            outer = None
            if isinstance(node, ast.Attribute):
                if node.attr == accessor:
                    return node, called
                node = node.value
            elif isinstance(node, ast.Call):
                node, outer = node.func, node
            elif isinstance(node, ast.Subscript):
                node = node.value
            else:
                return None


def without(node: ast.expr, attributes: list[str]) -> str | None:
    """Return ``node`` less the attributes that it must end in: ``book`` of ``book.author``."""
    for name in reversed(attributes):
        if not isinstance(node, ast.Attribute) or node.attr != name:
            return None
        node = node.value
    return ast.unparse(node)


def find_call(origin: RawOrigin | None, method: str) -> Call | None:
    """Return the call of ``method``, or of its async twin, that ``origin`` stood at."""
    place = _expression_at(origin)
    return None if place is None else _call_at(*place, method)


@lru_cache(maxsize=256)
def _call_at(filename: str, span: Span, method: str) -> Call | None:
    tree = parsed(filename)
    for outer, node in () if tree is None else _at(tree, span):
        call = node.value if isinstance(node, ast.Await) else node
        if (
            isinstance(call, ast.Call)
            and isinstance(call.func, ast.Attribute)
            and call.func.attr in (method, f"a{method}")
        ):
            whole = outer if method == "aggregate" and _is_item(outer, node) else node
            return Call(
                text=ast.unparse(whole),
                receiver=call.func.value,
                is_statement=isinstance(outer, ast.Expr),
            )
    return None


def find_queryset(origin: RawOrigin | None, accessor: str) -> Call | None:
    """Return the related queryset that ``origin`` evaluates: ``book.tags.filter(name="x")[:2]``.

    None where the line has more than one that begins with ``accessor``, or none: a variable then.
    """
    place = _expression_at(origin)
    return None if place is None else _queryset_at(*place, accessor)


def _expression_at(origin: RawOrigin | None) -> tuple[str, Span] | None:
    """Return the file of ``origin`` and where in it the expression is that ran the query."""
    if origin is None or origin.code is None or not origin.is_plain:
        return None  # A template's or a serializer's: no expression of Python names the row.
    code = origin.code
    span = span_of(code, origin.instruction)
    return None if span is None else (code.co_filename, span)


@lru_cache(maxsize=256)
def _queryset_at(filename: str, span: Span, accessor: str) -> Call | None:
    tree = parsed(filename)
    whole = None if tree is None else next((node for _, node in _at(tree, span)), None)
    loop = None if tree is None or whole is not None else _loop_at(tree, span)
    if loop is not None:
        whole = loop.iter
    found = [] if whole is None else list(_chains(whole, accessor))
    if len(found) != 1:
        return None
    text = ast.unparse(found[0])
    awaiting = None if tree is None else _async_for(tree, found[0])
    if awaiting is None:
        return Call(text=text, receiver=found[0])
    binds = ast.unparse(awaiting.target)
    return Call(text=f"async for {binds} in {text}", receiver=found[0], binds=binds)


def _loop_at(tree: ast.Module, span: Span) -> ast.For | ast.AsyncFor | None:
    """Return the statement at ``span``: a loop that begins may say it is all of itself."""
    for node in ast.walk(tree):
        if isinstance(node, ast.For | ast.AsyncFor) and span == (
            node.lineno,
            node.end_lineno,
            node.col_offset,
            node.end_col_offset,
        ):
            return node
    return None


def _async_for(tree: ast.Module, iterated: ast.expr) -> ast.AsyncFor | ast.comprehension | None:
    """Return the ``async for`` over an expression, a statement or a comprehension's."""
    for node in ast.walk(tree):
        match node:
            case ast.AsyncFor() | ast.comprehension(is_async=1) if node.iter is iterated:
                return node
    return None


def _chains(node: ast.AST, accessor: str) -> Iterator[ast.expr]:
    """Yield the chains of methods and slices that begin with an attribute ``accessor``."""
    outermost: ast.expr | None = None
    each: ast.AST | None = node
    while each is not None:
        deeper: ast.AST | None = None
        match each:
            case ast.Call(func=ast.Attribute() as deeper):
                outermost = outermost or each
            case ast.Subscript(value=deeper, slice=ast.Slice()):
                outermost = outermost or each
            case ast.Attribute(value=deeper, attr=name):
                if name == accessor:
                    yield outermost or each
                    return
        each = deeper
    for child in ast.iter_child_nodes(node):
        yield from _chains(child, accessor)


def _is_item(outer: ast.AST, node: ast.AST) -> bool:
    return (
        isinstance(outer, ast.Subscript)
        and outer.value is node
        and isinstance(outer.slice, ast.Constant)
    )


def span_of(code: CodeType, instruction: int) -> Span | None:
    """Return where an instruction stands in the source; None if the code has not kept it."""
    found = next(islice(code.co_positions(), instruction // 2, None), None)
    if found is None or any(each is None for each in found):
        return None
    line, last_line, column, last_column = found
    return line, last_line, column, last_column  # type: ignore[return-value]


def _at(tree: ast.Module, span: Span) -> Iterator[tuple[ast.AST, ast.expr]]:
    """Yield the expressions at ``span``, outermost first, each with the node around it."""
    for outer in ast.walk(tree):
        for node in ast.iter_child_nodes(outer):
            if isinstance(node, ast.expr):
                own = (node.lineno, node.end_lineno, node.col_offset, node.end_col_offset)
                if own == span or _at_method(node) == span:
                    yield outer, node


def _at_method(node: ast.expr) -> tuple[int, int | None, int, int | None] | None:
    """Return where a call of several lines says that it is: from its method's name on."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return None
    line, end = node.func.end_lineno, node.func.end_col_offset
    if line is None or end is None or line == node.lineno:
        return None
    return line, node.end_lineno, end - len(node.func.attr.encode()), node.end_col_offset


@lru_cache(maxsize=64)
def parsed(filename: str) -> ast.Module | None:
    """Return the syntax tree of a file; None if it is no Python, or is not there."""
    try:
        return ast.parse("".join(linecache.getlines(filename)))
    except SyntaxError:  # A template compiled to Python, a notebook's cell with magic.
        return None


@lru_cache(maxsize=64)
def functions_of(filename: str) -> tuple[ast.FunctionDef | ast.AsyncFunctionDef, ...]:
    """Return the functions of a file, an inner one after the one that it stands in."""
    tree = parsed(filename)
    nodes = () if tree is None else ast.walk(tree)
    return tuple(node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
