"""Django's where tree: which conditions every row of a query meets."""

from __future__ import annotations

from collections.abc import Iterator

from django.db.models.sql.where import AND, WhereNode

__all__ = ["conjuncts"]


def conjuncts(node: object) -> Iterator[object]:
    """Yield the conditions that hold all at once: what AND connects, however deep it is nested.

    What is negated, or connected in another way, is yielded as the one ``WhereNode`` that it is.
    """
    if (
        not isinstance(node, WhereNode)
        or node.negated
        or (node.connector != AND and len(node.children) > 1)
    ):
        yield node
        return
    for child in node.children:
        yield from conjuncts(child)
