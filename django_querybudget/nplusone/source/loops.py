"""Whether the loop around a query is one over rows: :func:`is_over_rows`, by its source.

A list that is cut by hand is cut in a loop over the pieces; a list of each row's own is read in a
loop over the rows. The queries are the same, so the loop is looked at: what does it bind?
"""

from __future__ import annotations

import ast
from typing import TypeAlias

from django_querybudget.evidence import Scope
from django_querybudget.stacks import RawOrigin
from django_querybudget.stacks.source_files import Span, source_of, span_of, whole_span

__all__ = [
    "does_only",
    "is_over_rows",
    "is_read_after",
    "line_of_loop",
    "loop_around",
    "stands_elsewhere",
]

Loop: TypeAlias = ast.For | ast.AsyncFor | ast.While | ast.comprehension


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
    Django's own loop over rows is one, and so is a ``gather()``: a loop further out is another.
    """
    for scope in scopes:
        span = span_of(scope.code, scope.instruction)
        if span is None:
            continue
        filename = scope.code.co_filename
        if scope.loops or _innermost_loop(filename, span) is not None or _gathers(filename, span):
            return RawOrigin(scope.code, scope.instruction)
    return None


def line_of_loop(scopes: tuple[Scope, ...]) -> int | None:
    """Return the line of the statement with the loop, if that is in the nearest function."""
    span = span_of(scopes[0].code, scopes[0].instruction) if scopes else None
    if span is None or stands_elsewhere(scopes):
        return None
    filename = scopes[0].code.co_filename
    loop = _innermost_loop(filename, span)
    if loop is None or isinstance(loop, ast.While):
        return None
    if not isinstance(loop, ast.comprehension):
        return loop.lineno
    around = [
        node.lineno
        for node in source_of(filename).statements
        if node.lineno <= span[0] <= (node.end_lineno or 0)
    ]
    return max(around, default=None)


def does_only(scopes: tuple[Scope, ...]) -> bool:
    """Whether the loop around a statement is seen to do nothing else: it can go as a whole.

    The functions between the two may do no more either, than to call what leads to the statement.
    """
    for scope in scopes:
        filename = scope.code.co_filename
        span = span_of(scope.code, scope.instruction)
        if span is None or scope.loops:
            return False
        loop = _innermost_loop(filename, span)
        if isinstance(loop, ast.comprehension):
            return False
        if loop is not None:
            return not loop.orelse and _is_one_call(loop.body, span)
        around = source_of(filename).function_around(span[0])
        if around is None or not _is_one_call(_without_docstring(around.body), span):
            return False
    return False


def stands_elsewhere(scopes: tuple[Scope, ...]) -> bool:
    """Whether a statement stands in another function than the loop: others may call that, too."""
    if not scopes:
        return False
    span = span_of(scopes[0].code, scopes[0].instruction)
    around = loop_around(scopes)
    if span is None or around is None or around.code is None:
        return False
    there = span_of(around.code, around.instruction)
    filename = scopes[0].code.co_filename
    if there is None or around.code.co_filename != filename:
        return True
    source = source_of(filename)
    return source.function_around(span[0]) is not source.function_around(there[0])


def _is_one_call(body: list[ast.stmt], span: Span) -> bool:
    match body:
        case [
            ast.Expr(value=ast.Await(value=call) | call)
            | ast.Return(value=ast.Await(value=call) | call)
        ]:
            return isinstance(call, ast.Call) and _holds(call, span)
    return False


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    match body[0]:
        case ast.Expr(value=ast.Constant(value=str())):
            return body[1:]
    return body


def is_read_after(scopes: tuple[Scope, ...], names: set[str]) -> bool:
    """Whether the loop around a statement goes on, after it, with one of ``names``."""
    found = _loop_and_span(scopes)
    if found is None:
        return False
    loop, (_, last_line, _, _) = found
    if isinstance(loop, ast.comprehension):
        return True
    return any(
        isinstance(node, ast.Name) and node.id in names and node.lineno > last_line
        for each in loop.body
        for node in ast.walk(each)
    )


def _loop_and_span(scopes: tuple[Scope, ...]) -> tuple[Loop, Span] | None:
    """Return the loop around the nearest line, and where in it that is."""
    if not scopes:
        return None
    span = span_of(scopes[0].code, scopes[0].instruction)
    loop = None if span is None else _innermost_loop(scopes[0].code.co_filename, span)
    return None if span is None or loop is None else (loop, span)


def _gathers(filename: str, span: Span) -> bool:
    """Whether several coroutines that a loop made are awaited at once there.

    ``gather(one(), another())`` is no loop of either.
    """
    for node in source_of(filename).nodes:
        match node:
            case ast.Await(value=ast.Call(func=function, args=arguments)):
                if whole_span(node) == span and _name_of(function) in ("gather", "wait"):
                    return _name_of(function) == "wait" or any(
                        isinstance(each, ast.Starred) for each in arguments
                    )
            case ast.AsyncWith(items=[ast.withitem(context_expr=ast.Call(func=function))]):
                if node.lineno == span[0] and _name_of(function) == "TaskGroup":
                    return any(map(_starts_tasks, ast.walk(node)))
    return False


def _name_of(function: ast.expr) -> str:
    match function:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
    return ""


def _starts_tasks(node: ast.AST) -> bool:
    """Whether a node is a loop in which a task is made."""
    return isinstance(node, Loop | ast.ListComp | ast.SetComp | ast.GeneratorExp) and any(
        isinstance(each, ast.Call) and _name_of(each.func) == "create_task"
        for each in ast.walk(node)
    )


def _binds_row(loop: ast.For | ast.AsyncFor | ast.comprehension, rows: frozenset[str]) -> bool:
    match loop.iter:
        case ast.Call(func=ast.Attribute(attr="items"), args=[]):
            return True
    return any(isinstance(node, ast.Name) and node.id in rows for node in ast.walk(loop.target))


def _innermost_loop(filename: str, span: Span) -> Loop | None:
    line = span[0]
    scope = source_of(filename).function_around(line) or source_of(filename).tree
    found: Loop | None = None
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
