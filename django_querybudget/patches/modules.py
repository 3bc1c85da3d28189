"""Names that a file reads from a module, as its author does: ``models.Book``, without an import."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import PurePosixPath

from .source_text import SourceText

__all__ = ["by_modules"]


def by_modules(
    source: SourceText, path: str, code: str, imports: Iterable[str]
) -> tuple[str, tuple[str, ...]]:
    """Return ``code`` with what modules of the file hold read from them, and the imports left.

    Django's own are left: ``Count`` beside ``from django.db import models`` is what people write.
    """
    left: list[str] = []
    named: dict[str, str] = {}
    for statement in imports:
        (node,) = ast.parse(statement).body
        module = node.module if isinstance(node, ast.ImportFrom) else None
        bound = (
            None if module is None or module.startswith("django.") else _bound(source, path, module)
        )
        if bound is None or not isinstance(node, ast.ImportFrom):
            left.append(statement)
        else:
            named |= {each.name: f"{bound}.{each.name}" for each in node.names}
    if not named:
        return code, tuple(left)
    read = SourceText(code.encode())
    places = [
        (read.start_of(node), read.end_of(node), named[node.id])
        for node in ast.walk(read.tree)
        if isinstance(node, ast.Name) and node.id in named
    ]
    for start, end, name in sorted(places, reverse=True):
        code = code[:start] + name + code[end:]
    return code, tuple(left)


def _bound(source: SourceText, path: str, module: str) -> str | None:
    """Return the name that a module has in a file, all over the file; None if it has none."""
    found = None
    for node in source.tree.body:
        if isinstance(node, ast.ImportFrom):
            package = _package(path, node)
            for each in node.names:
                name = f"{package}.{each.name}"
                # A relative import is known from the repository's root: src.shop, say.
                if name == module or (node.level and name.endswith(f".{module}")):
                    found = each.asname or each.name
        elif isinstance(node, ast.Import):
            for each in node.names:
                if each.name == module and (each.asname or "." not in module):
                    found = each.asname or each.name
    taken = any(
        (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id == found)
        or (isinstance(node, ast.arg) and node.arg == found)
        for node in ast.walk(source.tree)
    )
    return None if taken else found


def _package(path: str, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    folders = PurePosixPath(path).parent.parts
    kept = folders[: len(folders) - node.level + 1]
    return ".".join([*kept, *([node.module] if node.module else [])])
