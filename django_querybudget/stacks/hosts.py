"""Whom a framework's frame works for: :func:`host_at`, and :class:`Host`, which is found late.

The admin, a generic view, a viewset, an API's operation or a GraphQL field evaluates the project's
queryset by code of its own: no line of the project is on the stack but a wrapper's. The frame's
variables hold the object that the project wrote; its class says where the queryset is given.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from types import FrameType
from typing import Any, NamedTuple

from .source_files import source_of

__all__ = ["Host", "HostKind", "RawHost", "attribute_line", "host_at", "view_of"]


class HostKind(Enum):
    """What sort of thing the framework works for."""

    VIEW = "view"
    """A class-based view: Django's generic views, REST framework's views and viewsets."""
    ADMIN = "admin"
    """A ``ModelAdmin`` or an inline of one."""
    OPERATION = "operation"
    """A function that an API's router calls (django-ninja)."""
    RESOLVER = "resolver"
    """A GraphQL field: its resolver, or the type that has it."""


class RawHost(NamedTuple):
    """What stood in a framework's frame; see :class:`Host`."""

    kind: HostKind
    target: Any
    """The class, or the function."""
    model: Any = None
    """The model, where the instance was given it and the class does not have it."""
    field: str = ""
    """The GraphQL field, as ``"Query.books"``."""


# Where a host's queryset is given, the nearest to the truth first.
_GIVEN_BY = {
    HostKind.VIEW: ("get_queryset", "queryset", "model"),
    HostKind.ADMIN: ("get_queryset", "queryset"),
}
# Classes that the frameworks themselves bring: there is nothing of the project in them.
_OF_FRAMEWORKS = ("django.views.generic.", "django.contrib.admin.options", "rest_framework.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Host:
    """What the project wrote that a framework worked for when a query ran."""

    kind: HostKind
    target: Any
    """The class; for an operation or a resolver the function, or a GraphQL type's class."""
    model: Any = None
    """The model class, where it is known."""
    attribute: str = ""
    """What of the class gives the queryset: ``"queryset"``, ``"get_queryset"``, ``"model"``; empty
    where it is a function, or a class that says nothing of it."""
    filename: str = ""
    """Absolute path of the file that has the attribute, else the class or function; empty for a
    class that the framework itself brings, such as ``ListView`` in ``ListView.as_view()``."""
    line: int = 0
    """The line in that file, from 1; 0 where there is no file."""
    label: str = ""
    """Its name for people: ``"UserViewSet.queryset"``, ``"ModelAdmin UserAdmin"``."""

    @classmethod
    def of(cls, raw: RawHost) -> Host:
        """Return what ``raw`` stands for. Reads the source, but imports and calls nothing."""
        if isinstance(raw.target, type) and raw.kind in _GIVEN_BY:
            return cls._of_class(raw)
        target = inspect.unwrap(raw.target)
        filename, line = _place_of(target)
        if isinstance(target, type) and raw.field:  # A GraphQL type, which has it as an attribute.
            line = attribute_line(target, _snake(raw.field.rpartition(".")[2])) or line
        name = raw.field or getattr(target, "__qualname__", "")
        label = f"{raw.kind.value} {name}" if name else raw.kind.value
        return cls(kind=raw.kind, target=target, filename=filename, line=line, label=label)

    @classmethod
    def _of_class(cls, raw: RawHost) -> Host:
        target: type = raw.target
        model = raw.model or _attributes(target).get("model")
        name = target.__name__
        for owner in target.__mro__:
            if owner.__module__.startswith(_OF_FRAMEWORKS):
                break  # What it gives by default; the project's classes stand before it.
            for attribute in _GIVEN_BY[raw.kind]:
                if attribute in vars(owner):
                    line = attribute_line(owner, attribute)
                    if line is not None:
                        return cls(
                            kind=raw.kind,
                            target=target,
                            model=model,
                            attribute=attribute,
                            filename=_file_of(owner),
                            line=line,
                            label=f"{name}.{attribute}",
                        )
        label = f"ModelAdmin {name}" if raw.kind is HostKind.ADMIN else name
        filename, line = "", 0
        if not target.__module__.startswith(_OF_FRAMEWORKS):
            filename, line = _place_of(target)
        elif model is not None:
            label = f"{label} of {model.__name__}"
        return cls(
            kind=raw.kind, target=target, model=model, filename=filename, line=line, label=label
        )


def attribute_line(owner: type, name: str) -> int | None:
    """Return the line, from 1, at which the body of a class gives ``name``; None if it does not.

    For an assignment it is the line of its value: of ``queryset = (\\n Job.objects…`` the second.
    """
    found: int | None = None
    for node in getattr(_class_node(owner), "body", ()):
        match node:
            case ast.FunctionDef(name=own) | ast.AsyncFunctionDef(name=own) if own == name:
                found = node.lineno
            case ast.Assign(targets=targets, value=value):
                if any(isinstance(each, ast.Name) and each.id == name for each in targets):
                    found = value.lineno
            case ast.AnnAssign(target=ast.Name(id=own), value=value) if own == name:
                found = (value or node).lineno
    return found


def _class_node(owner: type) -> ast.AST | None:
    node: ast.AST | None = source_of(_file_of(owner)).tree
    for part in owner.__qualname__.split("."):
        if node is None or part == "<locals>":
            continue
        inside = [
            each
            for each in ast.walk(node)
            if isinstance(each, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and each.name == part
        ]
        node = inside[0] if len(inside) == 1 else None
    return node


def _file_of(target: object) -> str:
    code = getattr(target, "__code__", None)
    if code is not None:
        return str(code.co_filename)
    module = sys.modules.get(getattr(target, "__module__", None) or "")
    return str(getattr(module, "__file__", None) or "")


def _place_of(target: object) -> tuple[str, int]:
    """Return file and line of a class or a function; ``("", 0)`` if it has no source."""
    filename = _file_of(target)
    code = getattr(target, "__code__", None)
    if code is not None:
        return filename, code.co_firstlineno
    node = _class_node(target) if isinstance(target, type) else None
    return (filename, node.lineno) if isinstance(node, ast.ClassDef) else ("", 0)


def host_at(frame: FrameType) -> RawHost | None:
    """Return whom a framework's ``frame`` works for, if its variables say so."""
    names = frame.f_locals
    own = names.get("self")
    name = frame.f_code.co_name
    if name == "execute_field" and "parent_type" in names:
        return _resolver(names)
    function = _held(own).get("view_func")
    if name == "run" and callable(function):
        return RawHost(HostKind.OPERATION, function)
    for candidate in (own, names.get("cl"), names.get("view")):
        found = _object_host(candidate)
        if found is not None:
            return found
    context = _held(own).get("context_data")  # A template's response, which is rendered late.
    if type(context) is dict:
        for key in ("cl", "adminform", "view"):
            found = _object_host(context.get(key))
            if found is not None:
                return found
    return None


def _object_host(value: object) -> RawHost | None:
    """Return the host that ``value`` is, or is for: the admin's ChangeList and forms name it."""
    if value is None:
        return None
    if _descends(value, "django.contrib.admin.options", "BaseModelAdmin"):
        return RawHost(HostKind.ADMIN, type(value), _held(value).get("model"))
    view = view_of(value)
    if view is not None:
        return view
    admin = _held(value).get("model_admin")
    return None if admin is None or admin is value else _object_host(admin)


def view_of(value: object) -> RawHost | None:
    """Return the host that ``value`` is, if it is a class-based view."""
    if value is None or not _descends(value, "django.views.generic.base", "View"):
        return None
    held = _held(value)
    model = held.get("model") or getattr(held.get("queryset"), "model", None)
    return RawHost(HostKind.VIEW, type(value), model)


def _descends(value: object, module: str, name: str) -> bool:
    """Whether a class of that name is among those of ``value``; nothing is imported to know."""
    return any(each.__name__ == name and each.__module__ == module for each in type(value).__mro__)


def _held(value: object) -> dict[str, Any]:
    """Return the ``__dict__`` of an object, past its class: nothing of the project's runs."""
    try:
        found: dict[str, Any] = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return found if type(found) is dict else {}


def _attributes(owner: type) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for each in reversed(owner.__mro__):
        found.update(vars(each))
    return found


def _resolver(names: Mapping[str, Any]) -> RawHost | None:
    """Return the field that graphql-core executes: strawberry's, graphene's or a plain one's."""
    parent = names["parent_type"]
    nodes = names.get("field_nodes") or names.get("field_details_list")
    if not nodes:
        return None
    node = getattr(nodes[0], "node", nodes[0])
    name = node.name.value
    field = f"{parent.name}.{name}"
    definition = parent.fields.get(name)
    written = (getattr(definition, "extensions", None) or {}).get("strawberry-definition")
    resolver = getattr(getattr(written, "base_resolver", None), "wrapped_func", None)
    origin = getattr(getattr(parent, "graphene_type", None), "__mro__", None)
    if origin is not None:  # graphene: a method of the type, by the field's name in Python.
        resolver = _graphene_resolver(parent.graphene_type, name)
    if resolver is None:
        given = (getattr(parent, "extensions", None) or {}).get("strawberry-definition")
        resolver = getattr(given, "origin", None) or getattr(parent, "graphene_type", None)
    if resolver is None:
        resolver = getattr(definition, "resolve", None)
    return None if resolver is None else RawHost(HostKind.RESOLVER, resolver, field=field)


def _graphene_resolver(owner: type, name: str) -> Callable[..., Any] | None:
    found = _attributes(owner).get(f"resolve_{_snake(name)}")
    found = getattr(found, "__func__", found)  # A static method.
    return found if callable(found) else None


def _snake(name: str) -> str:
    return "".join(f"_{each.lower()}" if each.isupper() else each for each in name)
