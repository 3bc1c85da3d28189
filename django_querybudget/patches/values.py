"""Values in a suggested line: :func:`with_values`.

A finding saw one request's values. ``applicant_id=1`` in a suggested line is right for user 1 alone
where the source says ``applicant=user``: the source's own expression takes its place, or nothing is
written.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

from .source_text import SourceText
from .unwritable import Unwritable

__all__ = ["GivenValue", "given_in", "with_values"]

_CONDITIONS = {"filter", "exclude", "get", "Q"}
_STATIC = (ast.Constant, ast.Attribute, ast.Name, ast.Tuple, ast.List, ast.UnaryOp)


class GivenValue(NamedTuple):
    """A condition's value as the source has it."""

    name: str
    """``"applicant"`` of ``applicant=user``."""
    code: str
    is_static: bool
    """Whether it is the same in every call: a constant, or a name of the module's."""
    names: frozenset[str]
    """The local names that it is made of."""
    scope: ast.AST | None
    """The function that they are of."""


def given_in(source: SourceText, node: ast.expr) -> Iterator[GivenValue]:
    """Yield the values of the conditions in an expression of the source."""
    scope = source.scope_of(node)
    local = _bound_in(scope)
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and _name_of(call) in _CONDITIONS:
            for each in call.keywords:
                if each.arg is not None:
                    parts = list(ast.walk(each.value))
                    names = {part.id for part in parts if isinstance(part, ast.Name)} & local
                    static = not names and all(
                        isinstance(part, (*_STATIC, ast.expr_context, ast.unaryop))
                        for part in parts
                    )
                    code = source.segment(each.value)
                    yield GivenValue(each.arg, code, static, frozenset(names), scope)


def with_values(
    code: str, given: list[GivenValue], source: SourceText, line: int, *, at_line: bool
) -> str:
    """Return ``code`` with the source's expressions for the values that are not always the same.

    ``line`` is where it will stand in ``source``; ``at_line`` is whether that is the line that the
    values are given at. Raises :class:`Unwritable` for a value that is not known there.
    """
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return code
    replaced: list[tuple[int, int, str]] = []
    for name, value, whole in _constants(tree):
        found = [
            (each, by_key) for each in given if (by_key := _is_of(name, each.name)) is not None
        ]
        if not found:
            raise Unwritable(
                f"its condition {name}={ast.unparse(value)} is of one run: the line has no "
                "such value"
            )
        each, by_key = found[0]
        if each.is_static:
            continue
        if not at_line and not _is_known(each, source, line):
            raise Unwritable(f"{each.name}={each.code} is not known where its queryset is built")
        if whole is not None:
            prefix = name[: len(name) - len(each.name) - (3 if by_key else 0)]
            replaced.append((*_span(code, whole), f"{prefix}{each.name}={each.code}"))
        else:
            key = f"{each.code}.pk" if by_key else each.code
            replaced.append((*_span(code, value), key))
    for start, end, new in sorted(replaced, reverse=True):
        code = f"{code[:start]}{new}{code[end:]}"
    return code


def _constants(tree: ast.AST) -> Iterator[tuple[str, ast.expr, ast.keyword | None]]:
    """Yield the conditions on constants: names, values, and the keyword if it is one."""
    for node in ast.walk(tree):
        match node:
            case ast.Call() if _name_of(node) in _CONDITIONS:
                for each in node.keywords:
                    if each.arg is not None and _is_constant(each.value):
                        yield each.arg, each.value, each
            case ast.Compare(
                left=ast.Attribute(value=ast.Name(id="each"), attr=name), comparators=[value]
            ) if _is_constant(value):
                yield name, value, None


def _is_constant(node: ast.expr) -> bool:
    return all(
        isinstance(
            each, ast.Constant | ast.Tuple | ast.List | ast.UnaryOp | ast.unaryop | ast.expr_context
        )
        for each in ast.walk(node)
    )


def _is_of(name: str, given: str) -> bool | None:
    """Whether ``name`` is the condition ``given`` by its key; None if it is another condition."""
    if name == given or name.endswith(f"__{given}"):
        return False
    return True if name == f"{given}_id" or name.endswith(f"__{given}_id") else None


def _span(code: str, node: ast.expr | ast.keyword) -> tuple[int, int]:
    lines = code.split("\n")
    before = sum(len(line) + 1 for line in lines[: node.lineno - 1])
    start = len(lines[node.lineno - 1].encode()[: node.col_offset].decode())
    last = (node.end_lineno or node.lineno) - 1
    until = sum(len(line) + 1 for line in lines[:last])
    end = len(lines[last].encode()[: node.end_col_offset].decode())
    return before + start, until + end


def _is_known(given: GivenValue, source: SourceText, line: int) -> bool:
    """Whether the names of a value have it already at ``line``, in the same function."""
    if not given.names:
        return True
    scope = given.scope
    if not isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    if scope not in source.parents or not scope.lineno <= line <= (scope.end_lineno or 0):
        return False
    known = {each.arg for each in ast.walk(scope.args) if isinstance(each, ast.arg)}
    known |= {
        target.id
        for node in ast.walk(scope)
        if isinstance(node, ast.Assign | ast.AnnAssign) and (node.end_lineno or 0) < line
        for target in ast.walk(node)
        if isinstance(target, ast.Name) and isinstance(target.ctx, ast.Store)
    }
    looped = {
        target.id
        for node in ast.walk(scope)
        if isinstance(node, ast.For | ast.AsyncFor | ast.comprehension)
        for target in ast.walk(node.target)
        if isinstance(target, ast.Name)
    }
    return given.names <= known - looped


def _bound_in(scope: ast.AST | None) -> set[str]:
    if scope is None:
        return set()
    found = {each.arg for each in ast.walk(scope) if isinstance(each, ast.arg)}
    return found | {
        each.id
        for each in ast.walk(scope)
        if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)
    }


def _name_of(call: ast.Call) -> str:
    return getattr(call.func, "attr", getattr(call.func, "id", ""))
