"""The source of the expression that runs a query: :func:`find_call`.

A line may run several queries, and what to write in the place of one of them must name what it
replaces and the variable that the line has its row in. An instruction knows its columns (PEP 657),
so the expression is found exactly, and nothing is guessed from its text.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from django_querybudget.stacks import RawOrigin
from django_querybudget.stacks.source_files import (
    SourceFile,
    Span,
    source_of,
    span_of,
    text_of,
    whole_span,
)

__all__ = ["Call", "chains", "find_call", "find_queryset", "without"]


@dataclass(frozen=True, kw_only=True)
class Call:
    """``book.author.reviews.filter(stars=3).count()``, as it stands in the source."""

    text: str
    """What it is replaced with stands for this: with its ``await``, with ``["total"]`` after an
    ``aggregate()``."""
    node: ast.expr
    """The same, without its ``await``."""
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
    for outer, node in source_of(filename).expressions_at(span):
        call = node.value if isinstance(node, ast.Await) else node
        if (
            isinstance(call, ast.Call)
            and isinstance(call.func, ast.Attribute)
            and call.func.attr in (method, f"a{method}")
        ):
            whole = outer if method == "aggregate" and _is_item(outer, node) else node
            text = text_of(whole)
            if text is None:
                return None
            return Call(
                text=text,
                node=call,
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
    source = source_of(filename)
    whole = next((node for _, node in source.expressions_at(span)), None)
    loop = None if whole is not None else _loop_at(source, span)
    if loop is not None:
        whole = loop.iter
    found = [] if whole is None else list(chains(whole, accessor))
    if len(found) != 1:
        return None
    text = text_of(found[0])
    if text is None:
        return None
    awaiting = _async_for(source, found[0])
    if awaiting is None:
        return Call(text=text, node=found[0], receiver=found[0])
    binds = ast.unparse(awaiting.target)
    text = f"async for {binds} in {text}"
    return Call(text=text, node=found[0], receiver=found[0], binds=binds)


def _loop_at(source: SourceFile, span: Span) -> ast.For | ast.AsyncFor | None:
    """Return the statement at ``span``: a loop that begins may say it is all of itself."""
    for node in source.nodes:
        if isinstance(node, ast.For | ast.AsyncFor) and span == whole_span(node):
            return node
    return None


def _async_for(source: SourceFile, iterated: ast.expr) -> ast.AsyncFor | ast.comprehension | None:
    """Return the ``async for`` over an expression, a statement or a comprehension's."""
    for node in source.nodes:
        match node:
            case ast.AsyncFor() | ast.comprehension(is_async=1) if node.iter is iterated:
                return node
    return None


def chains(node: ast.AST, accessor: str) -> Iterator[ast.expr]:
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
        yield from chains(child, accessor)


def _is_item(outer: ast.AST, node: ast.AST) -> bool:
    return (
        isinstance(outer, ast.Subscript)
        and outer.value is node
        and isinstance(outer.slice, ast.Constant)
    )
