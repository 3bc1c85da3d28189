"""What a line evaluates, and what its names were assigned: :func:`evaluated_at`."""

from __future__ import annotations

import ast
from typing import TypeAlias

__all__ = ["evaluated_at", "statement_at", "with_their_names"]

_Assignment: TypeAlias = ast.Assign | ast.AnnAssign | ast.AugAssign | ast.NamedExpr


def with_their_names(scope: ast.AST, values: list[ast.expr], line: int) -> list[ast.expr]:
    """Return ``values`` and, up to the line, what is assigned to the names in them, and so on."""
    assigned: dict[str, list[ast.expr]] = {}
    for each in ast.walk(scope):
        if isinstance(each, _Assignment) and each.value is not None and each.lineno <= line:
            for name in _names_of(each):
                assigned.setdefault(name, []).append(each.value)
    seen: set[str] = set()
    for value in values:  # It grows while it is walked.
        for node in ast.walk(value):
            if isinstance(node, ast.Name) and node.id not in seen:
                seen.add(node.id)
                values += assigned.get(node.id, ())
    return values


def evaluated_at(scope: ast.AST, line: int) -> list[ast.expr]:
    """Return what a line iterates, or else the expressions of its statement."""
    loops = [
        node.iter
        for node in ast.walk(scope)
        if isinstance(node, ast.For | ast.AsyncFor | ast.comprehension)
        and node.iter.lineno <= line <= (node.iter.end_lineno or 0)
    ]
    if loops:
        return loops
    return [
        node
        for node in ast.iter_child_nodes(statement_at(scope, line))
        if isinstance(node, ast.expr)
    ]


def statement_at(scope: ast.AST, line: int) -> ast.AST:
    """Return the innermost statement that a line is of; ``scope`` if it is of none."""
    found = scope
    for node in ast.walk(scope):
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or 0):
            found = node
    return found


def _names_of(assignment: _Assignment) -> set[str]:
    targets = assignment.targets if isinstance(assignment, ast.Assign) else [assignment.target]
    return {
        node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)
    }
