"""Suggested statements that stand before a loop, or in its place."""

from __future__ import annotations

import ast
import re
from typing import Any

from django_querybudget.nplusone import Cause, Finding, Fix

from .edits import Edit
from .source_text import SourceText
from .unwritable import Unwritable

__all__ = ["loop_edits", "statement_around"]

_BLANK = re.compile(r"\b\w+_list\b")


def loop_edits(source: SourceText, path: str, fix: Fix, finding: Finding, code: str) -> list[Edit]:
    """Return the edits of a fix that stands where its loop does. Raises :class:`Unwritable`."""
    line = 0 if fix.place is None else fix.place.line
    if finding.cause is Cause.WRITE:
        return [_written_at_once(source, path, fix, finding, code, line)]
    if finding.use is None:
        raise Unwritable("its line has a blank that a person fills")
    statement: ast.stmt | None = _loop_at(source, line) or statement_around(source, line)
    if statement is None or not _begins_line(source, statement):
        raise Unwritable(f"no statement begins at {path}:{line}")
    indent, at = source.indent_at(statement.lineno), source.line_start(statement.lineno)
    return [Edit(path, at, at, f"{indent}{code}\n")]


def statement_around(source: SourceText, line: int) -> ast.stmt | None:
    """Return the innermost statement that a line is of."""
    found = None
    for node in ast.walk(source.tree):
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or 0):
            found = node
    return found


def _loop_at(source: SourceText, line: int) -> ast.For | ast.AsyncFor | None:
    """Return the innermost ``for`` whose body a line is of."""
    found = None
    for node in ast.walk(source.tree):
        if isinstance(node, ast.For | ast.AsyncFor) and node.body[0].lineno <= line <= (
            node.body[-1].end_lineno or 0
        ):
            found = node
    return found


def _begins_line(source: SourceText, node: ast.stmt) -> bool:
    start = source.start_of(node)
    return not source.text[source.line_start(node.lineno) : start].strip()


def _written_at_once(
    source: SourceText, path: str, fix: Fix, finding: Finding, code: str, line: int
) -> Edit:
    """Return the edit of a loop that does nothing but write its rows.

    Only where the write is the loop's only statement: what else a loop does may need the row.
    """
    loop = _loop_at(source, line)
    by_hand = Unwritable("its loop does more than write: a person has to take it apart")
    if loop is None or loop.orelse or isinstance(loop, ast.AsyncFor):
        raise by_hand
    if "\n" in code or not isinstance(loop.target, ast.Name) or "#" in code:
        raise by_hand
    *before, last = loop.body
    match last:
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=receiver, attr=method)) as call):
            pass
        case _:
            raise by_hand
    if method != finding.operation or not _BLANK.search(code):
        raise by_hand
    rows, row = source.segment(loop.iter), loop.target.id
    indent = source.indent_at(loop.lineno)
    start, end = source.start_of(loop), source.end_of(loop)
    on_row = isinstance(receiver, ast.Name) and receiver.id == row
    if method == "create" and not before and not _is_related(receiver):
        made = _instance(source, receiver, call)
        return Edit(path, start, end, _BLANK.sub(f"[{made} for {row} in {rows}]", code, count=1))
    if method == "delete" and on_row and not before and not call.args:
        return Edit(path, start, end, _BLANK.sub(lambda _: rows, code, count=1))
    changes = all(_changes(each, row) for each in before)
    if method == "save" and on_row and before and changes and isinstance(loop.iter, ast.Name):
        # Whoever iterates them again gets the rows that were changed: a list, or a queryset's own.
        kept = source.text[start : source.end_of(before[-1])]
        return Edit(path, start, end, f"{kept}\n{indent}{_BLANK.sub(rows, code, count=1)}")
    raise by_hand


def _changes(node: ast.stmt, row: str) -> bool:
    """Whether a statement does no more than to give an attribute of the row a value."""
    match node:
        case ast.Assign(targets=[ast.Attribute(value=ast.Name(id=name))], value=value):
            return name == row and not any(isinstance(each, ast.Call) for each in ast.walk(value))
    return False


def _is_related(receiver: ast.expr) -> bool:
    """Whether rows are created by a related manager: it gives them what they belong to."""
    if not isinstance(receiver, ast.Attribute):
        return True
    owner: Any = receiver.value
    name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
    return not str(name)[:1].isupper()


def _instance(source: SourceText, receiver: ast.expr, call: ast.Call) -> str:
    """Return the row that ``Model.objects.create(…)`` makes, not yet saved."""
    arguments = [source.segment(each) for each in call.args]
    arguments += [
        f"{each.arg}=" * (each.arg is not None)
        + "**" * (each.arg is None)
        + source.segment(each.value)
        for each in call.keywords
    ]
    model = receiver.value if isinstance(receiver, ast.Attribute) else receiver
    return f"{source.segment(model)}({', '.join(arguments)})"
