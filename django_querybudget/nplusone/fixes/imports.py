"""What a suggested line needs to be imported: :func:`with_imports`."""

from __future__ import annotations

import ast
from collections import defaultdict
from dataclasses import replace

from django.apps import apps
from django.db import models
from django.db.models import functions

from django_querybudget.nplusone.findings import Fix
from django_querybudget.nplusone.source.modules import names_at

__all__ = ["with_imports"]

_ELSEWHERE = {
    "GenericPrefetch": "django.contrib.contenttypes.prefetch",
    **dict.fromkeys(functions.__all__, functions.__name__),
    **dict.fromkeys(models.__all__, models.__name__),
}


def with_imports(fix: Fix | None) -> Fix | None:
    """Return ``fix`` with the imports that it needs."""
    return None if fix is None else replace(fix, imports=_imports_for(fix))


def _imports_for(fix: Fix) -> tuple[str, ...]:
    """Return the import statements for what ``fix`` names and the module of its place does not."""
    known = None if fix.place is None else names_at(fix.place.filename, fix.place.line)
    if known is None:
        return ()
    try:
        tree = ast.parse(fix.code)
    except SyntaxError:  # It has a blank for a name: ``<book>.tags``.
        tree = ast.parse("")
    wanted: dict[str, set[str]] = defaultdict(set)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id not in known:
            module = _ELSEWHERE.get(node.id) or _module_of(node.id)
            if module is not None:
                wanted[module].add(node.id)
    return tuple(
        f"from {module} import {', '.join(sorted(names))}"
        for module, names in sorted(wanted.items())
    )


def _module_of(name: str) -> str | None:
    """Return the module of the one model of that name."""
    found = {model.__module__ for model in apps.get_models() if model.__name__ == name}
    return found.pop() if len(found) == 1 else None
