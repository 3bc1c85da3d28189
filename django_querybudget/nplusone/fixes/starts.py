"""How a queryset's line begins, and what it says of the fields that it loads."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

from django.db.models import Model

from django_querybudget.evidence.relations import quoted, relation_of, step_of
from django_querybudget.evidence.template_names import name_in_template
from django_querybudget.nplusone.source.calls import find_queryset

from .expressions import queryset_of
from .roots import Root

__all__ = ["loaded_fields", "related_accessor", "related_start", "start_of"]


def start_of(root: Root, manager: str | None) -> str:
    """Return what the methods are to be written after: a manager, or a row's related one.

    ``manager`` is what stands where the queryset is built, if that is known.
    """
    found = _relation(root)
    if found is not None:
        start, accessor = related_start(root), step_of(found[1]).accessor
        node = None if root.origin is None else root.origin.node
        row = name_in_template(node, accessor) or f"<{found[0]._meta.model_name}>"
        name = manager or f"{row}.{accessor}"
        return name if start is None else ast.unparse(start)
    return f"{queryset_of(root.model, manager)}{'.raw(...)' if root.is_raw else ''}"


def related_start(root: Root) -> ast.expr | None:
    """Return the related manager that the evaluated line starts from, if it stands there."""
    accessor = related_accessor(root)
    call = find_queryset(root.origin, accessor) if accessor else None
    return None if call is None else call.start(accessor)


def related_accessor(root: Root) -> str:
    """Return the name of the related manager that the queryset is of; nothing if it is none's."""
    found = _relation(root)
    return "" if found is None else step_of(found[1]).accessor


def _relation(root: Root) -> tuple[type[Model], Any] | None:
    """Return the relation of one row that the queryset follows, if it is a related manager's."""
    source = root.source
    if source is None or source.prefetch_to is not None or source.owner is None:
        return None
    return relation_of(source.query, source.owner)


def loaded_fields(root: Root, fields: Sequence[str]) -> str:
    """Return the call that loads ``fields`` too, beside what the queryset loads already."""
    query = None if root.source is None else root.source.query
    loading: tuple[Any, bool] = getattr(query, "deferred_loading", (frozenset(), True))
    names, deferred = set(loading[0]), loading[1]
    if not deferred:
        order = [*sorted(names - set(fields)), *fields]
        return f".only({', '.join(map(quoted, order))})"
    left = sorted(names - set(fields))
    again = f".defer({', '.join(map(quoted, left))})" if left else ""
    return f".defer(None){again}"
