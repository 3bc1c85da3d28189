"""How a template calls a row: :func:`name_in_template`."""

from __future__ import annotations

from typing import Any

__all__ = ["name_in_template"]


def name_in_template(node: Any, accessor: str) -> str:
    """Return what stands before ``accessor`` in a node's expression; nothing if that is no name.

    It is ``book`` in ``{% for tag in book.tags.all %}`` and in ``{{ book.tags.first }}``.
    """
    for attribute in ("sequence", "filter_expression"):
        variable = getattr(getattr(node, attribute, None), "var", None)
        lookups = getattr(variable, "lookups", None) or ()
        if accessor in lookups[1:]:
            names = lookups[: lookups.index(accessor, 1)]
            return ".".join(names) if all(map(str.isidentifier, names)) else ""
    return ""
