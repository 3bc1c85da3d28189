"""What a name in a source file stands for: by its module, and without running anything."""

from __future__ import annotations

import ast
import sys
from inspect import getattr_static
from types import ModuleType
from typing import Any

from django_querybudget.evidence.instances import attributes_of, is_of

__all__ = ["module_of", "names_at", "resolve"]


def module_of(filename: str) -> ModuleType | None:
    for module in tuple(sys.modules.values()):
        if attributes_of(module).get("__file__") == filename:
            return module
    return None


def names_at(filename: str) -> set[str] | None:
    """Return the names of a file's module; None if it is not imported, or no module."""
    module = module_of(filename)
    return None if module is None else set(attributes_of(module))


def resolve(node: ast.expr, module: ModuleType) -> Any:
    if isinstance(node, ast.Name):
        return attributes_of(module).get(node.id)
    if isinstance(node, ast.Attribute):
        owner = resolve(node.value, module)
        # Of a module or a class: of anything else an attribute may be the project's code.
        return getattr_static(owner, node.attr, None) if is_of(owner, (ModuleType, type)) else None
    return None
