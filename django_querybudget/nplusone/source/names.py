"""What a line evaluates, and what its names were assigned: :func:`evaluated_at`."""

from __future__ import annotations

import ast

__all__ = ["evaluated_at", "statement_at", "with_their_names"]

_ASSIGNMENTS = (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.NamedExpr)


def with_their_names(scope: ast.AST, values: list[ast.expr], line: int) -> list[ast.expr]:
    """Return ``values`` and, up to the line, what is assigned to the names in them, and so on."""
    assigned = [node for node in ast.walk(scope) if isinstance(node, _ASSIGNMENTS)]
    seen: set[str] = set()
    for value in values:  # It grows while it is walked.
        for node in ast.walk(value):
            if isinstance(node, ast.Name) and node.id not in seen:
                seen.add(node.id)
                values += [
                    each.value
                    for each in assigned
                    if each.value is not None and each.lineno <= line and _binds(each, node.id)
                ]
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


def _binds(assignment: ast.AST, name: str) -> bool:
    targets = assignment.targets if isinstance(assignment, ast.Assign) else [assignment.target]  # type: ignore[attr-defined]
    return any(
        isinstance(node, ast.Name) and node.id == name
        for target in targets
        for node in ast.walk(target)
    )
