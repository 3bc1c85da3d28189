"""How a suggested line may write the values that a query was given: :class:`Written`.

The value of a run is right for that run: the key of its user is another one in the next request. It
is written where the source has it as a constant; else as the expression of the source, where that
means the same at the line to change; else not at all.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from inspect import getattr_static, unwrap
from types import FunctionType
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db.models import Model, QuerySet

from django_querybudget.evidence import Filter
from django_querybudget.evidence.instances import is_of
from django_querybudget.evidence.relations import is_plain
from django_querybudget.stacks.source_files import Function

from .constants import NOT_CONSTANT, Namespace, assigned, constant
from .visible import is_same_at

__all__ = ["Expression", "Given", "Target", "Written"]

_CONDITIONS = {"filter", "exclude", "get", "first", "last", "count", "exists", "complex_filter"}
_NAMING = ("defaults", "create_defaults", "update_fields", "fields")
_ARGUMENTS = {"order_by", "aorder_by", "prefetch_related", "aggregate", "aaggregate"}


@dataclass(frozen=True)
class Expression:
    """An expression of the source, in the place of a value."""

    text: str


@dataclass(frozen=True)
class Target:
    """The line to change, and the function that it and the expressions stand in."""

    function: Function
    line: int


@dataclass(frozen=True)
class Given:
    """One keyword argument."""

    name: str
    value: ast.expr
    around: Namespace
    target: Target | None

    def constant(self) -> Any:
        return constant(self.value, self.around)


class Written:
    """The arguments that some expressions of the source give to a queryset of a model."""

    def __init__(self, model: type[Model] | None) -> None:
        self.model = model
        self.given: list[Given] = []
        self.is_opaque = True
        """Whether conditions may come from where nobody looks."""
        self._ordering: list[bool] = []
        self._names: list[bool] = []
        self._seen: set[object] = set()

    def read(
        self, expressions: Iterable[ast.AST], around: Namespace, target: Target | None
    ) -> None:
        """Take in what ``expressions`` say, and what the methods do that they call."""
        for expression in expressions:
            if not self._seen:
                self.is_opaque = False
                self._read_methods(["get_queryset"])
            self._seen.add(expression)
            for node in ast.walk(expression):
                if isinstance(node, ast.Call):
                    self._read_call(node, around, target)
                elif isinstance(node, ast.Subscript):
                    self._ordering += [_is_constant(each, around) for each in _ends(node.slice)]

    def _read_call(self, call: ast.Call, around: Namespace, target: Target | None) -> None:
        for each in call.keywords:
            if each.arg is None:
                self.is_opaque = True
            else:
                self.given.append(Given(each.arg, each.value, around, target))
        name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        self._names += [_are_constant_names(each, around) for each in _naming(call)]
        if name in _ARGUMENTS:
            self._ordering += [_is_constant(each, around) for each in _all_arguments(call)]
        if name in _CONDITIONS:
            self.is_opaque |= not all(map(_is_condition, call.args))
        elif name and not hasattr(QuerySet, name):
            self._read_methods([name])

    def _read_methods(self, names: Iterable[str]) -> None:
        """Take in what methods of the project's managers and querysets say."""
        for name in names:
            for function in _methods(self.model, name):
                code = function.__code__
                if code in self._seen:
                    continue
                self._seen.add(code)
                around = Namespace.of(code.co_filename)
                node = None if around is None else around.source.function_of(code)
                if around is None or node is None:
                    self.is_opaque = True
                else:
                    inside = Namespace(around.source, around.module, node)
                    self.read(node.body, inside, None)

    def spelled(self, filters: tuple[Filter, ...] | None) -> tuple[Filter, ...] | None:
        """Return the conditions with what is to be written in the place of their values.

        None if that is not known of one.
        """
        found = [self._spelled(each) for each in filters or ()]
        known = [each for each in found if each is not None]
        return None if filters is None or len(known) < len(found) else tuple(known)

    def _spelled(self, condition: Filter) -> Filter | None:
        lookup, value = condition
        given = [each for each in self.given if self._column(each.name) == lookup]
        if value is True and lookup.endswith("__isnull"):  # As Django makes it of ``parent=None``.
            column = lookup.removesuffix("__isnull")
            as_none = [each for each in self.given if self._column(each.name) == column]
            given, value = given or as_none, value if given or not as_none else None
        if not given:
            # A manager that leaves out what is deleted, say.
            is_flag = value is None or type(value) is bool
            return condition if is_flag and not self.is_opaque else None
        constants = [each.constant() for each in given]
        if not any(each is NOT_CONSTANT for each in constants):
            return condition if any(_is_same(value, each) for each in constants) else None
        only = given[0]
        if len(given) > 1 or only.target is None:
            return None
        if not is_same_at(only.value, only.target.line, only.target.function):
            return None
        return Filter(only.name, Expression(ast.unparse(only.value)))

    def has_constant_order(self) -> bool:
        """Whether the order and the slices that are seen are constants, and one is seen."""
        return bool(self._ordering) and all(self._ordering)

    def has_constant_names(self) -> bool:
        """Whether the names of fields and relations that are seen are constants, and some are."""
        return bool(self._names) and all(self._names)

    def _column(self, name: str) -> str:
        """Return a condition's name as that of a :class:`Filter` is made: from the column."""
        first, *rest = name.split("__")
        options = None if self.model is None else self.model._meta
        try:
            field: Any = None
            if options is not None:
                field = options.pk if first == "pk" else options.get_field(first)
        except FieldDoesNotExist:
            return name
        column = str(getattr(field, "attname", first))
        if rest and getattr(field, "is_relation", False):
            target = getattr(field, "target_field", None)
            if rest[0] in ("pk", getattr(target, "name", ""), getattr(target, "attname", "")):
                rest = rest[1:]
        return "__".join([column, *([] if rest == ["exact"] else rest)])


def _methods(model: type[Model] | None, name: str) -> Iterator[FunctionType]:
    """Yield the project's methods of that name of a model's managers and their querysets."""
    for manager in () if model is None else model._meta.managers:
        for owner in (type(manager), getattr(manager, "_queryset_class", QuerySet)):
            found = getattr_static(owner, name, None)
            if is_of(found, (staticmethod, classmethod)):
                found = found.__func__
            function = unwrap(found) if isinstance(found, FunctionType) else None
            if isinstance(function, FunctionType) and not function.__module__.startswith("django."):
                yield function


def _ends(index: ast.expr) -> list[ast.expr]:
    """Return what a slice, or an index, is given."""
    if isinstance(index, ast.Slice):
        return [each for each in (index.lower, index.upper, index.step) if each is not None]
    return [index]


def _naming(call: ast.Call) -> list[ast.expr]:
    """Return the arguments of a call that name the fields or relations it is about."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ast.unparse(call.func)
    if name in ("prefetch_related_objects", "aprefetch_related_objects"):
        return call.args[1:]
    if name in ("bulk_update", "abulk_update") and len(call.args) > 1:
        return [call.args[1]]
    return [each.value for each in call.keywords if each.arg in (None, *_NAMING)]


def _are_constant_names(node: ast.expr, around: Namespace) -> bool:
    """Whether it is a list of names, or a mapping whose keys they are."""
    match node:
        case ast.Dict(keys=keys):
            return all(isinstance(each, ast.Constant) for each in keys)
        case ast.Call(func=ast.Name(id="dict"), args=[], keywords=given):
            return all(each.arg is not None for each in given)
        case ast.Name(id=name) if around.function is not None:
            value = assigned(name, list(ast.walk(around.function)))
            if value is not None and not isinstance(value, ast.Name):
                return _are_constant_names(value, around)
    return constant(node, around) is not NOT_CONSTANT


def _is_condition(argument: ast.expr) -> bool:
    """Whether it is made of ``Q(...)``, whose keyword arguments are all that it says."""
    match argument:
        case ast.Call(func=ast.Name(id="Q") | ast.Attribute(attr="Q"), args=arguments):
            return all(map(_is_condition, arguments))
        case ast.BinOp(left=left, right=right):
            return _is_condition(left) and _is_condition(right)
        case ast.UnaryOp(operand=inner):
            return _is_condition(inner)
    return False


def _is_constant(argument: ast.expr, around: Namespace) -> bool:
    """Whether an argument is a constant, or an expression of the ORM's that is made of them."""
    match argument:
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            if name in ("desc", "asc") and isinstance(argument.func, ast.Attribute):
                inner = argument.func.value
                return _is_constant(inner, around) and not argument.args
            return name[:1].isupper() and all(
                _is_constant(each, around) for each in _all_arguments(argument)
            )
    return constant(argument, around) is not NOT_CONSTANT


def _all_arguments(call: ast.Call) -> list[ast.expr]:
    return [*call.args, *(each.value for each in call.keywords)]


def _is_same(value: Any, given: Any) -> bool:
    if not is_plain(value):
        return False
    if type(value) in (list, tuple):
        return type(given) is tuple and sorted(map(str, value)) == sorted(map(str, given))
    return bool(value == given) or str(value) == str(given)
