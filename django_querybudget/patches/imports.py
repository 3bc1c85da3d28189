"""The imports that a file gets: into the statement that is there, or as one of their own."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from .text import SourceText

__all__ = ["import_edits"]


def import_edits(
    source: SourceText, statements: Iterable[str], width: int
) -> Iterator[tuple[int, int, str]]:
    """Yield the edits (start, end, text) that give a module ``from … import …`` statements."""
    wanted: dict[str, set[str]] = {}
    for text in statements:
        (node,) = ast.parse(text).body
        assert isinstance(node, ast.ImportFrom)
        wanted.setdefault(str(node.module), set()).update(each.name for each in node.names)
    new: list[str] = []
    for module, names in sorted(wanted.items()):
        there = _statement(source, module)
        if there is None:
            new.append(_import(module, sorted(names, key=_key), width))
            continue
        missing = names - {each.name for each in there.names if each.asname is None}
        if missing:
            yield _extended(source, there, missing, width)
    if new:
        yield _place(source, new)


def _statement(source: SourceText, module: str) -> ast.ImportFrom | None:
    for node in source.tree.body:
        if isinstance(node, ast.ImportFrom) and not node.level and node.module == module:
            if all(each.name != "*" for each in node.names):
                return node
    return None


def _key(name: str) -> tuple[bool, bool, str]:
    """Order as isort does: constants, classes, functions."""
    return not name.isupper(), not name[:1].isupper(), name


def _import(module: str, names: list[str], width: int) -> str:
    line = f"from {module} import {', '.join(names)}"
    if len(line) <= (width or 10**6):
        return line
    return f"from {module} import (\n{''.join(f'    {name},{chr(10)}' for name in names)})"


def _extended(
    source: SourceText, node: ast.ImportFrom, missing: set[str], width: int
) -> tuple[int, int, str]:
    start, end = source.start_of(node), source.end_of(node)
    if "#" in source.segment(node) or "\\" in source.segment(node):  # A person's comment stays.
        last = source.position(node.names[-1].end_lineno or 0, node.names[-1].end_col_offset or 0)
        return last, last, "".join(f", {name}" for name in sorted(missing, key=_key))
    written = [f"{each.name} as {each.asname}" if each.asname else each.name for each in node.names]
    names = sorted([*written, *missing], key=_key)
    if "(" in source.segment(node) and "\n" in source.segment(node):
        lines = "".join(f"{source.unit}{name},\n" for name in names)
        return start, end, f"from {node.module} import (\n{lines})"
    return start, end, _import(str(node.module), names, width)


def _place(source: SourceText, new: list[str]) -> tuple[int, int, str]:
    """Return where statements of their own go: after the imports, or the docstring."""
    body = source.tree.body
    text = "".join(f"{line}\n" for line in new)
    last: ast.stmt | None = None
    for number, node in enumerate(body):
        docstring = (
            number == 0 and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        )
        if isinstance(node, ast.Import | ast.ImportFrom) or docstring:
            last = node
        elif last is not None or not docstring:
            break
    if last is None:
        at = source.line_start(body[0].lineno) if body else 0
        return at, at, f"{text}\n"
    if isinstance(last, ast.Expr):
        text = f"\n{text}"
    following = source.line_start((last.end_lineno or last.lineno) + 1)
    if following == len(source.text) and not source.text.endswith("\n"):
        text = f"\n{text}"
    return following, following, text
