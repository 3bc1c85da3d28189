"""Statements that a class gets: ``queryset = …``, ``list_select_related = …``, a method."""

from __future__ import annotations

import ast

from .edits import Edit
from .source_text import SourceText
from .unwritable import Unwritable

__all__ = ["class_edit"]

_AFTER = ("model", "list_display", "serializer_class", "queryset")


def class_edit(source: SourceText, path: str, code: str, line: int) -> Edit:
    """Return the edit that writes a statement into the class at ``line``.

    An assignment takes the place of the one of that name. Raises :class:`Unwritable`.
    """
    owner = _class_at(source, line)
    if owner is None:
        raise Unwritable(f"no class stands at {path}:{line}")
    (statement,) = ast.parse(code).body
    code = code.split("  #", maxsplit=1)[0]
    if isinstance(statement, ast.FunctionDef):
        return _method(source, path, code, owner, statement.name)
    if not isinstance(statement, ast.Assign):
        raise Unwritable("it is no statement of a class")
    name = ast.unparse(statement.targets[0])
    value = code.partition(" = ")[2]
    for node in owner.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            if name == "raw_id_fields":
                value = _longer(source, node.value, statement.value)
            return Edit(path, source.start_of(node.value), source.end_of(node.value), value)
    assigned = {
        ast.unparse(node.targets[0]): node for node in owner.body if isinstance(node, ast.Assign)
    }
    after = next((assigned[each] for each in _AFTER if each in assigned), None)
    if after is not None:
        indent, at = source.indent_at(after.lineno), source.end_of(after)
        return Edit(path, at, at, f"\n{indent}{code}")
    first = owner.body[0]
    if isinstance(first, ast.Pass) or first.lineno == owner.lineno:
        raise Unwritable(f"the class at {path}:{line} has no body to write into")
    indent = source.indent_at(first.lineno)
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        at = source.end_of(first)
        return Edit(path, at, at, f"\n\n{indent}{code}")
    at = source.line_start(first.lineno)
    return Edit(path, at, at, f"{indent}{code}\n")


def _class_at(source: SourceText, line: int) -> ast.ClassDef | None:
    found = None
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ClassDef):
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            if first <= line <= (node.end_lineno or 0):
                found = node
    return found


def _method(source: SourceText, path: str, code: str, owner: ast.ClassDef, name: str) -> Edit:
    if any(getattr(node, "name", "") == name for node in owner.body):
        raise Unwritable(f"{owner.name} has a {name}() already")
    last = owner.body[-1]
    indent = source.indent_at(last.lineno)
    if last.lineno == owner.lineno:
        raise Unwritable(f"the class at {path}:{owner.lineno} has no body to write into")
    lines = code.replace("    ", source.unit).split("\n")
    at = source.line_start((last.end_lineno or last.lineno) + 1)
    text = "".join(f"{indent}{line}\n" for line in lines)
    before = "\n" if source.text[:at].endswith("\n") else "\n\n"
    return Edit(path, at, at, f"{before}{text}")


def _longer(source: SourceText, present: ast.expr, added: ast.expr) -> str:
    if not isinstance(present, ast.Tuple | ast.List) or not isinstance(added, ast.Tuple):
        raise Unwritable("its fields are no list of names")
    names = [source.segment(each) for each in present.elts]
    names += [f'"{ast.literal_eval(each)}"' for each in added.elts]
    opening, closing = ("[", "]") if isinstance(present, ast.List) else ("(", ")")
    return f"{opening}{', '.join(dict.fromkeys(names))}{closing}"
