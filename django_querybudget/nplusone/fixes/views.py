"""Rows that a method of a view reads, and that the view's own queryset gives: :func:`view_behind`.

``get_context_data()`` of a mixin reads ``self.object_list``: no line of it can be written for one
model. What gives the rows is ``get_queryset()``, ``queryset`` or ``model`` of the view that ran.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from django_querybudget.nplusone.source.names import evaluated_at, with_their_names
from django_querybudget.stacks import Host, Origin, RawHost
from django_querybudget.stacks.source_files import source_of

__all__ = ["is_handed_by_object", "view_behind"]

_OWN_ROWS = {"object_list", "page_obj", "paginator", "get_queryset", "queryset", "filter_queryset"}


def view_behind(evaluated: Origin, view: RawHost | None) -> Host | None:
    """Return the view whose own rows a method of it evaluates; None if they may be others."""
    scope = source_of(evaluated.filename).function_around(evaluated.line)
    if view is None or scope is None or not _is_method_of(scope, evaluated.filename, view.target):
        return None
    host = Host.of(view)
    values = with_their_names(scope, evaluated_at(scope, evaluated.line), evaluated.line)
    if not host.attribute or not any(_OWN_ROWS & set(_read(each, host)) for each in values):
        return None
    return host


def _is_method_of(function: ast.AST, filename: str, owner: type) -> bool:
    names = {each.__name__ for each in owner.__mro__}
    return any(
        isinstance(node, ast.ClassDef) and node.name in names and function in node.body
        for node in source_of(filename).nodes
    )


def _read(node: ast.AST, host: Host) -> Iterator[str]:
    """Yield what is read of ``self``, and by its key of a context."""
    given = {str(getattr(host.target, "context_object_name", None))}
    if isinstance(host.model, type):
        given.add(f"{host.model.__name__.lower()}_list")
    for each in ast.walk(node):
        match each:
            case ast.Attribute(value=ast.Name(id="self"), attr=name):
                yield name
            case (
                ast.Subscript(slice=ast.Constant(value=str(name)))
                | ast.Call(func=ast.Attribute(attr="get"), args=[ast.Constant(value=str(name)), *_])
            ):
                yield "object_list" if name in given else name


def is_handed_by_object(values: Iterable[ast.AST]) -> bool:
    """Whether an object or a context gives what is evaluated: of each it may be another."""
    return any(
        isinstance(node, ast.Name) and node.id in ("self", "cls", "super")
        for value in values
        for node in ast.walk(value)
    )
