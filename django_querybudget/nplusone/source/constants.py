"""Whether an expression of the source is a constant, and which: :func:`constant`.

A name in capitals is none by its looks: ``settings.SITE_ID`` is another in another deployment, and
``self.KIND`` another in each subclass. What is assigned to it is looked at.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from types import ModuleType
from typing import Any, Final

from django_querybudget.evidence.instances import attributes_of, is_of
from django_querybudget.stacks.source_files import SourceFile, source_of

from .modules import imported_in, imports_in, module_of, resolve
from .querysets import class_of, subclasses

__all__ = ["NOT_CONSTANT", "Namespace", "assigned", "bindings", "constant"]

NOT_CONSTANT: Final = object()
_MOST_NAMES = 8
_CHANGING = {"add", "append", "clear", "discard", "extend", "insert", "pop", "remove", "update"}


@dataclass(frozen=True)
class Namespace:
    """Where an expression stands, and thus what its names are."""

    source: SourceFile
    module: ModuleType
    function: ast.AST | None = None

    @classmethod
    def of(cls, filename: str, function: ast.AST | None = None) -> Namespace | None:
        """Return those of a function in a file; None if no module is imported from it."""
        module = module_of(filename)
        return None if module is None else cls(source_of(filename), module, function)


def constant(node: ast.expr, around: Namespace, left: int = _MOST_NAMES) -> Any:
    """Return what ``node`` always is, of an enum's member the value; else ``NOT_CONSTANT``."""
    match node:
        case ast.Constant(value=value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value
        case ast.Tuple(elts=items) | ast.List(elts=items) | ast.Set(elts=items):
            found = [constant(each, around, left) for each in items]
            return NOT_CONSTANT if any(each is NOT_CONSTANT for each in found) else tuple(found)
        case ast.Name(id=name) if left:
            return _of_name(name, around, left - 1)
        case ast.Attribute(value=inner, attr=name) if left:
            return _of_attribute(inner, name, around, left - 1)
    return NOT_CONSTANT


def bindings(name: str, nodes: Iterable[ast.AST]) -> list[ast.AST]:
    """Return what binds a name, or changes its list: assignments, loops, arguments, imports …"""
    return [node for node in nodes if name in _bound_by(node)]


def _bound_by(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()) | ast.arg(arg=name):
            yield name
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
            yield name
        case ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
            yield name
        case ast.alias(name=name, asname=other):
            yield other or name.partition(".")[0]
        case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del()):
            yield name
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=method)):
            if method in _CHANGING:
                yield name
        case ast.Global(names=names) | ast.Nonlocal(names=names):
            yield from names


def _of_name(name: str, around: Namespace, left: int) -> Any:
    function = around.function
    if function is not None and bindings(name, ast.walk(function)):
        value = assigned(name, list(ast.walk(function)))
        return NOT_CONSTANT if value is None else constant(value, around, left)
    return _of_module(around.module, name, left)


def assigned(name: str, nodes: list[ast.AST]) -> ast.expr | None:
    """Return what is assigned to a name, if only one statement binds it."""
    if len(bindings(name, nodes)) != 1:
        return None
    for node in nodes:
        match node:
            case ast.Assign(targets=[ast.Name(id=own)], value=value) if own == name:
                return value
            case ast.AnnAssign(target=ast.Name(id=own), value=value) if own == name:
                return value
    return None


def _of_module(module: ModuleType, name: str, left: int) -> Any:
    """Return the constant that a module assigns to a name, or imports."""
    around = Namespace.of(str(attributes_of(module).get("__file__")))
    tree = None if around is None else around.source.tree
    if around is None or tree is None or not left:
        return NOT_CONSTANT
    if any(isinstance(each, ast.Global) and name in each.names for each in ast.walk(tree)):
        return NOT_CONSTANT
    outside = list(_outside(tree))
    value = assigned(name, outside)
    if value is not None:
        return constant(value, around, left - 1)
    found = [
        (source, each.name)
        for node, source in imports_in(outside, module)
        for each in node.names
        if (each.asname or each.name) == name
    ]
    if len(found) != 1 or len(bindings(name, outside)) != 1:
        return NOT_CONSTANT
    return _of_module(*found[0], left - 1)


def _outside(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what is in a module or a class, but for the insides of its functions and classes."""
    for each in ast.iter_child_nodes(node):
        yield each
        if not isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            yield from _outside(each)


def _of_attribute(inner: ast.expr, name: str, around: Namespace, left: int) -> Any:
    if name == "value":
        found = constant(inner, around, left)
        if found is not NOT_CONSTANT:
            return found
    local = {} if around.function is None else imported_in(around.function, around.module)
    owner: Any = _own_class(inner, name, around) or resolve(inner, around.module, local)
    if is_of(owner, ModuleType):
        return _of_module(owner, name, left)
    if not is_of(owner, type):
        return NOT_CONSTANT
    if issubclass(owner, Enum):
        member = owner.__members__.get(name)
        return NOT_CONSTANT if member is None else member.value
    return _of_class(owner, name, left)


def _own_class(node: ast.expr, name: str, around: Namespace) -> type | None:
    """Return the class that ``self`` is of, if no subclass and no instance has another value."""
    match node:
        case ast.Name(id="self" | "cls") if around.function is not None and around.source.tree:
            owner = class_of(around.function, around.source.tree, around.module)
            if owner is None or any(name in vars(each) for each in subclasses(owner)):
                return None
            stored = any(
                isinstance(each, ast.Attribute)
                and each.attr == name
                and isinstance(each.ctx, ast.Store)
                for each in around.source.nodes
            )
            return None if stored else owner
    return None


def _of_class(owner: type, name: str, left: int) -> Any:
    for each in owner.__mro__:
        if name not in vars(each):
            continue
        module = sys.modules.get(each.__module__)
        around = Namespace.of(str(attributes_of(module).get("__file__")))
        if around is None:
            return NOT_CONSTANT
        found = [
            node
            for node in around.source.nodes
            if isinstance(node, ast.ClassDef) and node.name == each.__name__
        ]
        value = assigned(name, list(_outside(found[0]))) if len(found) == 1 else None
        return NOT_CONSTANT if value is None else constant(value, around, left)
    return NOT_CONSTANT
