"""Prefetched rows that a line passes by with a query of its own: what to read instead."""

from __future__ import annotations

import ast

from django.core.exceptions import FieldDoesNotExist

from django_querybudget.evidence import Load

from .expressions import conditions_in_python, end_of
from .needs import Need

__all__ = ["read_rows"]


def read_rows(need: Need) -> str | None:
    """Return the code that answers from ``.all()`` what the line asks; None if none does.

    It is right for every row, prefetched or not.
    """
    load = need.load
    conditions = conditions_in_python(load.filters, "each")
    if conditions is None or not need.in_python:
        return None
    if load.refinements == ("values",) and load.operation == "all":
        return _values(need, conditions)
    rows = need.rows
    kept = rows if not conditions else f"[each for each in {rows} if {conditions}]"
    uses = {
        "count": f"len({kept})",
        "exists": f"bool({kept})",
        "first": end_of(kept, load) or f"next(iter({kept}), None)",
        "all": kept,
        "iterator": kept,
    }
    order_only = load.operation == "count" and set(load.refinements) <= {"order_by"}
    if load.refinements and not order_only:
        return None
    return uses.get(load.operation)


def _values(need: Need, conditions: str) -> str | None:
    """Return the list that ``values_list("name", flat=True)`` and its kin give."""
    call = None if need.call is None else need.call.receiver
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
        return None
    names = [_attribute(need.load, each) for each in call.args]
    known = [name for name in names if name is not None]
    flat = [each.arg for each in call.keywords] == ["flat"]
    if not known or len(known) < len(names) or (call.keywords and not flat):
        return None
    items = [f"each.{name}" for name in known]
    if call.func.attr == "values_list":
        made = items[0] if flat else f"({', '.join(items)}{',' if len(items) == 1 else ''})"
    elif call.func.attr == "values" and not flat:
        keys = [ast.unparse(each) for each in call.args]
        pairs = (f"{key}: {item}" for key, item in zip(keys, items, strict=True))
        made = f"{{{', '.join(pairs)}}}"
    else:
        return None
    return f"[{made} for each in {need.rows}{f' if {conditions}' if conditions else ''}]"


def _attribute(load: Load, argument: ast.expr) -> str | None:
    """Return the attribute that holds what a name of ``values()`` stands for."""
    if not isinstance(argument, ast.Constant) or load.model is None:
        return None
    if argument.value == "pk":
        return "pk"
    try:
        field = load.model._meta.get_field(str(argument.value))
    except FieldDoesNotExist:
        return None
    return str(field.attname) if field.concrete and not field.many_to_many else None
