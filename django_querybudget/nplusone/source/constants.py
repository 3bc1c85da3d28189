"""Whether the source writes a query's values as constants: :func:`all_constant`.

What a variable gave, the user's key say, is right for one request: no line may be made of it.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

from django_querybudget.evidence import Filter

__all__ = ["all_constant"]


def all_constant(filters: Sequence[Filter], querysets: Sequence[ast.expr]) -> bool:
    """Return whether ``querysets`` write each value of ``filters`` as a constant.

    A flag may come from elsewhere, a manager that leaves out what is deleted.
    """
    written = [
        node.value for each in querysets for node in ast.walk(each) if isinstance(node, ast.keyword)
    ]
    if not all(map(_is_constant, written)):
        return False
    values = [value for _, value in filters if value is not None and type(value) is not bool]
    return len(values) <= len(written)


def _is_constant(node: ast.expr) -> bool:
    """``3``, ``(1, 2)``, ``OPEN``, ``Status.OPEN``, ``self.OPEN``; not ``user.pk``."""
    match node:
        case ast.UnaryOp(operand=inner):
            return _is_constant(inner)
        case ast.Tuple(elts=items) | ast.List(elts=items) | ast.Set(elts=items):
            return all(map(_is_constant, items))
        case ast.Attribute(attr="value", value=inner):
            return _is_constant(inner)
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name.isupper()
    return isinstance(node, ast.Constant)
