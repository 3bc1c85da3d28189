"""What a name in a source file stands for: by its module, and without running anything."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from inspect import getattr_static
from types import MappingProxyType, ModuleType
from typing import Any

from django.db.models.fields.related_descriptors import ManyToManyDescriptor

from django_querybudget.evidence.instances import attributes_of, is_of
from django_querybudget.stacks.source_files import source_of

__all__ = ["imported_in", "imports_in", "module_of", "names_at", "resolve"]

_NONE: Mapping[str, Any] = MappingProxyType({})


_found: dict[str, str] = {}
"""The names of modules that were looked for, by their file; :data:`_MOST` at most."""
_MOST = 1024


def module_of(filename: str) -> ModuleType | None:
    """Return the module that was imported from a file."""
    known = sys.modules.get(_found.get(filename, ""))
    if known is not None and _file_of(known) == filename:
        return known
    for name, module in tuple(sys.modules.items()):
        if _file_of(module) == filename:
            if len(_found) >= _MOST:
                _found.clear()
            _found[filename] = name
            return module
    return None


def _file_of(module: ModuleType) -> Any:
    return attributes_of(module).get("__file__")


def names_at(filename: str, line: int) -> set[str] | None:
    """Return the names that a line can use: its module's, and what its functions import.

    None if the module is not imported, or none.
    """
    module = module_of(filename)
    if module is None:
        return None
    around = source_of(filename).functions_around(line)
    return set(attributes_of(module)).union(*(imported_in(node, module) for node in around))


def imported_in(scope: ast.AST, module: ModuleType) -> dict[str, Any]:
    """Return what the ``from … import`` statements of a function, say, make of their names."""
    return {
        each.asname or each.name: attributes_of(source).get(each.name)
        for node, source in imports_in(ast.walk(scope), module)
        for each in node.names
    }


def imports_in(
    nodes: Iterable[ast.AST], module: ModuleType
) -> Iterator[tuple[ast.ImportFrom, ModuleType]]:
    """Yield the ``from … import`` statements, each with the module that it imports from."""
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            source = sys.modules.get(_absolute(node, module))
            if source is not None:
                yield node, source


def _absolute(node: ast.ImportFrom, module: ModuleType) -> str:
    package = str(attributes_of(module).get("__package__") or "")
    parts = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
    return ".".join([*parts, *([node.module] if node.module else [])])


def resolve(node: ast.expr, module: ModuleType, local: Mapping[str, Any] = _NONE) -> Any:
    """Return what a name, or an attribute of one, is; ``local`` are names of the function's own."""
    if isinstance(node, ast.Name):
        return local[node.id] if node.id in local else attributes_of(module).get(node.id)
    if isinstance(node, ast.Attribute):
        owner = resolve(node.value, module, local)
        if is_of(owner, ManyToManyDescriptor) and node.attr == "through":
            return owner.through
        # Of a module or a class: of anything else an attribute may be the project's code.
        return getattr_static(owner, node.attr, None) if is_of(owner, (ModuleType, type)) else None
    return None
