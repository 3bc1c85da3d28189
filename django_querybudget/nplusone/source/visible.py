"""Whether an expression is the same at an earlier line of its function: :func:`is_same_at`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TypeAlias

from django_querybudget.stacks.source_files import Function, whole_span

from .constants import bindings

__all__ = ["is_bound_from", "is_same_at"]

NodeSpan: TypeAlias = tuple[int, int | None, int, int | None]

_ENDS = ast.Return | ast.Raise | ast.Continue | ast.Break | ast.Assert
# What is within these runs for each row, and only the filter of a comprehension may leave one out.
_PASSED = (
    ast.For,
    ast.AsyncFor,
    ast.With,
    ast.AsyncWith,
    ast.ListComp,
    ast.SetComp,
    ast.DictComp,
    ast.GeneratorExp,
)


def is_bound_from(expression: ast.expr, line: int, scope: ast.AST) -> bool:
    """Whether a name in ``expression`` is bound at ``line`` or later: it is not known before."""
    return any(
        getattr(each, "lineno", line) >= line
        for node in ast.walk(expression)
        if isinstance(node, ast.Name)
        for each in bindings(node.id, ast.walk(scope))
    )


def is_same_at(expression: ast.expr, line: int, function: Function) -> bool:
    """Whether an expression of ``function`` means the same at its earlier ``line``.

    Its names are bound before that, once; and whoever passes the line comes to the expression, as
    far as there are rows: what only some get to may be wrong for others, an anonymous user's key.
    """
    read = whole_span(expression)
    if line > read[0] or not _is_plain(expression):
        return False
    after = [node for node in ast.walk(function) if line <= getattr(node, "lineno", 0)]
    return (
        _is_always_read(function, line, read)
        and not any(isinstance(node, _ENDS) and (node.end_lineno or 0) < read[0] for node in after)
        and all(
            _is_bound_before(node.id, line, function)
            for node in ast.walk(expression)
            if isinstance(node, ast.Name)
        )
        and not {each.attr for each in ast.walk(expression) if isinstance(each, ast.Attribute)}
        & {
            node.attr
            for node in after
            if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load)
        }
    )


def _is_plain(node: ast.expr) -> bool:
    """Whether it only names things: nothing is called."""
    match node:
        case ast.Name() | ast.Constant():
            return True
        case ast.Attribute(value=inner):
            return _is_plain(inner)
        case ast.Subscript(value=inner, slice=index):
            return _is_plain(inner) and _is_plain(index)
    return False


def _is_bound_before(name: str, line: int, function: Function) -> bool:
    bound = bindings(name, ast.walk(function))
    if len(bound) != 1:
        return not bound  # Its module's, or built in.
    if any(bound[0] is each for each in ast.walk(function.args)):
        return True
    for node in ast.walk(function):
        for _, body in _bodies(node):
            for number, each in enumerate(body):
                if any(_binds(target, bound[0]) for target in _targets(each)):
                    # In a branch, it is there for what stands in that branch.
                    return any(_stands_in(line, later) for later in body[number + 1 :])
    return False


def _targets(statement: ast.stmt) -> list[ast.expr]:
    match statement:
        case ast.Assign(targets=targets):
            return targets
        case ast.AnnAssign(target=target, value=ast.expr()):
            return [target]
    return []


def _binds(target: ast.expr, node: ast.AST) -> bool:
    return any(each is node for each in ast.walk(target))


def _is_always_read(function: Function, line: int, read: NodeSpan) -> bool:
    """Whether nothing but loops and ``with`` stands around ``read``, as far as ``line``."""
    inside = list(_around(function, read))
    outer = [each for each in inside if isinstance(each, ast.stmt) and _stands_in(line, each)]
    common: ast.AST = outer[-1] if outer else function
    for field, body in _bodies(common):
        if any(_holds(each, read) for each in body):
            together = any(_stands_in(line, each) for each in body)
            if field != "body" or not (together or isinstance(common, _PASSED)):
                return False
    below = inside[inside.index(outer[-1]) + 1 :] if outer else inside
    return all(_lets_pass(each, read) for each in below)


def _lets_pass(node: ast.AST, read: NodeSpan) -> bool:
    """Whether whatever comes to ``node`` comes to ``read`` in it."""
    match node:
        case (
            ast.ListComp(generators=each)
            | ast.SetComp(generators=each)
            | ast.DictComp(generators=each)
            | ast.GeneratorExp(generators=each)
        ):
            return not any(generator.ifs for generator in each)
        case ast.IfExp() | ast.BoolOp() | ast.Lambda():
            return False
    within = [field for field, body in _bodies(node) if any(_holds(each, read) for each in body)]
    return not within or (within == ["body"] and isinstance(node, _PASSED))


def _around(node: ast.AST, span: NodeSpan) -> Iterator[ast.expr | ast.stmt]:
    """Yield the nodes in ``node`` that ``span`` is within, from the outside in."""
    for each in ast.walk(node):
        if each is not node and isinstance(each, ast.expr | ast.stmt) and _holds(each, span):
            yield each


def _holds(node: ast.expr | ast.stmt, span: NodeSpan) -> bool:
    line, last_line, column, last_column = span
    first, last, start, end = whole_span(node)
    return (first, start) <= (line, column) and (last_line or 0, last_column or 0) <= (
        last or 0,
        end or 0,
    )


def _stands_in(line: int, statement: ast.stmt) -> bool:
    return statement.lineno <= line <= (statement.end_lineno or 0)


def _bodies(node: ast.AST) -> Iterator[tuple[str, list[ast.stmt]]]:
    for field, value in ast.iter_fields(node):
        if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
            yield field, value
        elif isinstance(value, list):
            for each in value:
                if isinstance(each, ast.ExceptHandler | ast.match_case):
                    yield field, each.body
