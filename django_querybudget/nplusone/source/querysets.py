"""Which expressions of the source start a queryset: :func:`starts_in`. Nothing of it is run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from inspect import getattr_static
from types import ModuleType
from typing import NamedTuple, TypeAlias

from django.db.models import Model, QuerySet

from django_querybudget.evidence.instances import attributes_of, is_of

from .modules import imported_in, resolve

__all__ = [
    "Asked",
    "Start",
    "class_of",
    "starts_in",
    "starts_in_called",
    "starts_in_class",
    "subclasses",
]

Asked: TypeAlias = type[Model] | str
"""A model, whose managers are looked for, or a related manager's name."""

# Methods that run a query of their own where they stand: what is before them is no row's queryset.
_ENDS = {
    "aggregate",
    "bulk_create",
    "bulk_update",
    "contains",
    "count",
    "create",
    "delete",
    "exists",
    "get_or_create",
    "update",
    "update_or_create",
}
_ENDS |= {f"a{name}" for name in _ENDS}


class Start(NamedTuple):
    """An expression that a queryset starts from."""

    line: int
    manager: str | None
    """The manager's name, or the related manager as code; None for another model's."""


def starts_in(
    scope: ast.AST, module: ModuleType, asked: Asked, function: ast.AST | None = None
) -> Iterator[Start]:
    """Yield each ``Model.manager``, or related manager, in ``scope`` that a queryset starts from.

    One that is counted, say, right there is another query. ``function`` is what ``scope`` is of,
    whose imports are known there.
    """
    local = imported_in(function or scope, module)
    ended = _ended(scope)
    after = {
        each.func.value: each
        for each in ast.walk(scope)
        if isinstance(each, ast.Call) and isinstance(each.func, ast.Attribute)
    }
    called = {each.func: each for each in ast.walk(scope) if isinstance(each, ast.Call)}
    for node in ast.walk(scope):
        if not isinstance(node, ast.Attribute) or node in ended:
            continue
        if isinstance(asked, str):
            if node.attr == asked and not isinstance(node.ctx, ast.Store):
                # Called, ``shop.items(manager="everything")`` is another manager.
                yield Start(node.lineno, ast.unparse(called.get(node, node)))
        elif isinstance(node.value, ast.Name | ast.Attribute):
            owner = resolve(node.value, module, local)
            if (
                is_of(owner, type)
                and issubclass(owner, Model)
                and owner._meta.concrete_model is asked._meta.concrete_model
                and node.attr in owner._meta.managers_map
            ):
                name = _with_own_method(node, owner, after)
                yield Start(node.lineno, name if owner is asked else None)


def _with_own_method(
    node: ast.Attribute, owner: type[Model], after: dict[ast.expr, ast.Call]
) -> str:
    """Return the manager's name, with the method that it alone has, if that follows it.

    ``Job.objects.open()``: what is added must stand behind, where no queryset has ``open()``.
    """
    call = after.get(node)
    if call is None or not isinstance(call.func, ast.Attribute):
        return node.attr
    queryset_class = getattr(owner._meta.managers_map[node.attr], "_queryset_class", QuerySet)
    if getattr_static(queryset_class, call.func.attr, None) is not None:
        return node.attr
    return ast.unparse(call).removeprefix(f"{ast.unparse(node.value)}.")


def _ended(scope: ast.AST) -> set[ast.AST]:
    """Return the expressions that a method evaluates where they stand."""
    found: set[ast.AST] = set()
    for call in ast.walk(scope):
        match call:
            case ast.Call(func=ast.Attribute(value=node, attr=name)) if name in _ENDS:
                while isinstance(node, ast.Attribute | ast.Call):
                    found.add(node)
                    node = node.value if isinstance(node, ast.Attribute) else node.func
    return found


def starts_in_called(
    scope: ast.AST, tree: ast.Module, module: ModuleType, asked: Asked
) -> Iterator[Start]:
    """Yield the same of functions of this module that ``scope`` calls by name."""
    called = {
        node.func.id
        for node in ast.walk(scope)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name in called:
            yield from starts_in(node, module, asked)


def starts_in_class(
    scope: ast.AST, method: ast.AST, tree: ast.Module, module: ModuleType, asked: Asked
) -> Iterator[Start]:
    """Yield the same of what ``scope`` reads of its class: ``self.get_queryset()``, ``cls.rows``.

    ``method`` is the function that ``scope`` is of. Bases of this file count, and nothing does that
    a subclass has another of.
    """
    owner = class_of(method, tree, module)
    for node in () if owner is None else ast.walk(scope):
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name) if owner is not None:
                if not any(name in vars(each) for each in subclasses(owner)):
                    yield from _starts_in_attribute(owner, name, tree, module, asked)


def _starts_in_attribute(
    owner: type, name: str, tree: ast.Module, module: ModuleType, asked: Asked
) -> Iterator[Start]:
    for each in owner.__mro__:
        if name not in vars(each):
            continue
        node = _in_body(each, name, tree) if each.__module__ == module.__name__ else None
        if node is None:
            return
        found = list(starts_in(node, module, asked))
        yield from found
        if found or not any(isinstance(n, ast.Name) and n.id == "super" for n in ast.walk(node)):
            return


def _in_body(owner: type, name: str, tree: ast.Module) -> ast.AST | None:
    """Return the method, or the value of the attribute, in the source of a class."""
    found: ast.AST | None = None
    for node in tree.body:
        if not isinstance(node, ast.ClassDef) or node.name != owner.__qualname__:
            continue
        for statement in node.body:
            match statement:
                case ast.FunctionDef(name=own) | ast.AsyncFunctionDef(name=own) if own == name:
                    found = statement
                case ast.Assign(targets=[ast.Name(id=own)], value=value) if own == name:
                    found = value
    return found


def class_of(method: ast.AST, tree: ast.Module, module: ModuleType) -> type | None:
    """Return the class of this file that ``method`` is of."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and method in node.body:
            found = attributes_of(module).get(node.name)
            return found if is_of(found, type) and found.__module__ == module.__name__ else None
    return None


def subclasses(owner: type) -> Iterator[type]:
    """Yield the subclasses of a class, and theirs."""
    below: list[type] = type.__subclasses__(owner)
    for each in below:
        yield each
        yield from subclasses(each)
