"""Which manager a related queryset was asked of: ``shop.items(manager="everything").all()``.

The queryset does not say: the source does.
"""

from __future__ import annotations

import ast
import sys
from functools import lru_cache

from django_querybudget.evidence import Load
from django_querybudget.evidence.instances import attributes_of
from django_querybudget.stacks.source_files import source_of

from .calls import Call

__all__ = ["manager_asked"]


def manager_asked(load: Load, call: Call | None) -> str | None:
    """Return the name of the manager, None if it is the relation's own.

    Empty if that is not certain. ``call`` is the expression that runs the query, if it is known.
    """
    if load.step is None or load.model is None or len(load.model._meta.managers) < 2:
        return None
    if call is None:  # A variable, a property, a template.
        files = {scope.code.co_filename for scope in load.scopes}
        module = sys.modules.get("" if load.owner is None else load.owner.__module__)
        files.add(str(attributes_of(module).get("__file__", "")))
        return "" if any(_asks(each, load.step.accessor) for each in files) else None
    start = call.start(load.step.accessor)
    if not isinstance(start, ast.Call):
        return None
    match start.keywords:
        case [ast.keyword(arg="manager", value=ast.Constant(value=str(name)))]:
            return name if name in load.model._meta.managers_map else ""
    return ""


@lru_cache(maxsize=256)
def _asks(filename: str, accessor: str) -> bool:
    """Whether a file asks a related manager ``accessor`` for another one, anywhere."""
    return any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == accessor
        and any(each.arg == "manager" for each in node.keywords)
        for node in source_of(filename).nodes
    )
