"""Whether the loop around a query is one over rows: :func:`is_over_rows`, by its source.

A list that is cut by hand is cut in a loop over the pieces; a list of each row's own is read in a
loop over the rows. The queries are the same, so the loop is looked at: what does it bind?
"""

from __future__ import annotations

import ast

from django_querybudget.evidence import Scope
from django_querybudget.stacks import RawOrigin

from .calls import Span, functions_of, parsed, span_of

__all__ = ["is_over_rows", "loop_around"]


def is_over_rows(scopes: tuple[Scope, ...]) -> bool:
    """Whether the nearest loop that led to a query binds a row each time.

    A loop of each key of a mapping is one too: ``for row_id, keys in keys_of_rows.items()``.
    """
    for scope in scopes:
        span = span_of(scope.code, scope.instruction)
        loop = None if span is None else _innermost_loop(scope.code.co_filename, span)
        if loop is not None:
            return not isinstance(loop, ast.While) and _binds_row(loop, scope.rows)
    return False


def loop_around(scopes: tuple[Scope, ...]) -> RawOrigin | None:
    """Return the place in a loop that led to a query; None if there is no loop to be seen.

    It is that of the query itself, or, where a helper runs it, a receiver, a property, the call's.
    """
    for scope in scopes:
        span = span_of(scope.code, scope.instruction)
        if span is not None and _innermost_loop(scope.code.co_filename, span) is not None:
            return RawOrigin(scope.code, scope.instruction)
    return None


def _binds_row(loop: ast.For | ast.AsyncFor | ast.comprehension, rows: frozenset[str]) -> bool:
    match loop.iter:
        case ast.Call(func=ast.Attribute(attr="items"), args=[]):
            return True
    return any(isinstance(node, ast.Name) and node.id in rows for node in ast.walk(loop.target))


def _innermost_loop(
    filename: str, span: Span
) -> ast.For | ast.AsyncFor | ast.While | ast.comprehension | None:
    line = span[0]
    around = [
        node for node in functions_of(filename) if node.lineno <= line <= (node.end_lineno or 0)
    ]
    scope = around[-1] if around else parsed(filename)
    found: ast.For | ast.AsyncFor | ast.While | ast.comprehension | None = None
    for node in () if scope is None else ast.walk(scope):  # Outside in.
        match node:
            case ast.For() | ast.AsyncFor() | ast.While():
                if node.body[0].lineno <= line <= (node.body[-1].end_lineno or 0):
                    found = node
            case (
                ast.ListComp(elt=element) | ast.SetComp(elt=element) | ast.GeneratorExp(elt=element)
            ):
                found = node.generators[-1] if _holds(element, span) else found
            case ast.DictComp(key=key, value=value):
                inside = _holds(key, span) or _holds(value, span)
                found = node.generators[-1] if inside else found
    return found


def _holds(node: ast.expr, span: Span) -> bool:
    """Whether ``span`` is within an expression; a comprehension's own rows come from elsewhere."""
    line, last_line, column, last_column = span
    end = (node.end_lineno or 0, node.end_col_offset or 0)
    return (node.lineno, node.col_offset) <= (line, column) and (last_line, last_column) <= end
