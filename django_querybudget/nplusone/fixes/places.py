"""Where a queryset is built: :func:`find_built`, by the source of the line that evaluates it.

An evaluated queryset does not know who built it, and nothing here patches ``QuerySet`` to make it
so. The source knows: in the function that evaluates it, or in the class that hands it on
(``get_queryset()``, ``queryset = …``), one expression starts from the model's manager. The name is
resolved in the module, so that it is this model and no other of that name; with none, or with more
than one that could be meant, the line of the evaluation stands instead.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import replace
from inspect import getattr_static, unwrap
from types import FunctionType
from typing import NamedTuple

from django.db.models import Model
from django.utils.functional import cached_property

from django_querybudget.nplusone.source.modules import module_of
from django_querybudget.nplusone.source.names import evaluated_at, statement_at, with_their_names
from django_querybudget.nplusone.source.querysets import (
    Asked,
    Start,
    starts_in,
    starts_in_called,
    starts_in_class,
)
from django_querybudget.stacks import Host, Origin, RawHost, RawOrigin
from django_querybudget.stacks.source_files import source_of

from .hosts import classes_of_view, node_of_host
from .roots import Root
from .starts import related_accessor, related_start
from .views import is_handed_by_object, view_behind

__all__ = [
    "Built",
    "Place",
    "find_built",
    "find_place",
    "is_shared",
    "manager_behind",
]


class Built(NamedTuple):
    """Where a queryset starts, and from what."""

    origin: Origin
    manager: str | None
    """The manager's name, or a related manager's expression; None where the line names more than
    one, or another model's."""


class Place(NamedTuple):
    """Where a queryset is to be changed."""

    built: Origin | None
    """The line that builds it; None if that is not certain."""
    manager: str | None
    """What it starts from there."""
    evaluated: Origin | None
    """The line that evaluates it."""


def find_place(root: Root, traced: RawOrigin | None, view: RawHost | None = None) -> Place:
    """Return where the queryset of ``root`` is; ``traced`` is what its fetch mode knows of it.

    ``view`` is the view that the loop runs for, if a method of the project's led there.
    """
    evaluated = root.place
    if traced is not None:
        built = Origin.of(traced)
        manager = None if built is None else _manager_at(built, root.model)
        return Place(built, manager, evaluated)
    asked: Asked = related_accessor(root) or root.model
    found = None if evaluated is None else find_built((evaluated, *root.calls), asked)
    if found is None:
        found = _given_by_method(root, asked) or _given_by_tag(root, asked)
    if found is None and evaluated is not None and evaluated.host is not None:
        found = _given_by_host(evaluated.host, asked) or _in_context(evaluated.host, asked)
    if found is None and evaluated is not None and (own := view_behind(evaluated, view)):
        found, evaluated = _given_by_host(own, asked), replace(evaluated, host=own)
    elif found is None and evaluated is not None and not root.calls:
        # What a template evaluates is too far from the view for the way that was kept.
        found = find_built((evaluated, *root.callers), asked)
    if found is None:
        return Place(None, None, evaluated)
    return Place(found.origin, found.manager, evaluated)


def _given_by_method(root: Root, asked: Asked) -> Built | None:
    """Return where the method starts it that a template's loop called, if at one line."""
    if root.source is None or root.source.given_by is None:
        return None
    owner, name = root.source.given_by
    written = getattr_static(owner, name, None)
    if isinstance(written, property):
        written = written.fget
    elif isinstance(written, cached_property):
        written = written.func
    code = unwrap(written).__code__ if isinstance(written, FunctionType) else None
    node = None if code is None else source_of(code.co_filename).function_of(code)
    module = None if code is None else module_of(code.co_filename)
    if code is None or node is None or module is None:
        return None
    found = set(starts_in(node, module, asked, node))
    if len({each.line for each in found}) != 1:
        return None
    line = next(iter(found)).line
    return Built(Origin(filename=code.co_filename, line=line, function=name), _manager(found))


def _given_by_tag(root: Root, asked: Asked) -> Built | None:
    """Return where a tag starts what a template's loop iterates, if at one line.

    An inclusion tag hands it on in the dict that its function returns, by the name that the loop
    has for it; ``{% newest as books %}`` returns it.
    """
    if root.source is None:
        return None
    function, name = root.source.given_by_tag or (root.source.assigned_by_tag(), None)
    if function is None:
        return None
    filename = function.__code__.co_filename
    node, module = source_of(filename).function_of(function.__code__), module_of(filename)
    if node is None or module is None:
        return None
    returned = [each.value for each in ast.walk(node) if isinstance(each, ast.Return)]
    values = [
        value
        for each in returned
        if isinstance(each, ast.Dict)
        for key, value in zip(each.keys, each.values, strict=True)
        if isinstance(key, ast.Constant) and key.value == name
    ]
    if name is None:
        values = [each for each in returned if each is not None]
    values = with_their_names(node, values, getattr(node, "end_lineno", 0) or 0)
    found = {start for value in values for start in starts_in(value, module, asked, node)}
    if len({each.line for each in found}) != 1:
        return None
    line = next(iter(found)).line
    place = Origin(filename=filename, line=line, function=function.__qualname__)
    return Built(place, _manager(found))


def _given_by_host(host: Host, asked: Asked) -> Built | None:
    """Return where what a framework works for starts the queryset, if at one line."""
    node, module = node_of_host(host), module_of(host.filename)
    if node is None or module is None:
        return None
    found = set(starts_in(node, module, asked))
    if not found and (tree := source_of(host.filename).tree) is not None:
        found = set(starts_in_called(node, tree, module, asked))
    if len({each.line for each in found}) != 1:
        return None
    line = next(iter(found)).line
    place = Origin(filename=host.filename, line=line, function=host.label)
    return Built(place, _manager(found))


def _in_context(host: Host, asked: Asked) -> Built | None:
    """Return where a view's method starts what its template evaluates, if at one line."""
    found: dict[tuple[str, int], tuple[Start, str]] = {}
    for filename, owner in classes_of_view(host, None if isinstance(asked, str) else asked):
        module = module_of(filename)
        if module is None:
            return None
        for method in owner.body:
            if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef):
                label = f"{owner.name}.{method.name}"
                for start in starts_in(method, module, asked, method):
                    found[filename, start.line] = start, label
    if len(found) != 1:
        return None
    (((filename, line), (start, label)),) = found.items()
    return Built(Origin(filename=filename, line=line, function=label), start.manager)


def is_shared(reading: Origin | None, place: Place, root: Root) -> bool:
    """Whether rows of other querysets may come to the line ``reading``.

    They do not where one function builds the queryset, or evaluates it, and reads its rows.
    """
    there = place.built or place.evaluated
    if reading is None or there is None or reading.filename != there.filename:
        return True
    around = source_of(there.filename).function_around(there.line)
    if around is None:
        return source_of(reading.filename).function_around(reading.line) is not None
    inside = around.lineno <= reading.line <= (around.end_lineno or 0)
    stands_there = place.built is not None or related_start(root) is not None
    return not inside or not (stands_there or not _is_handed(there))


def _is_handed(origin: Origin) -> bool:
    """Whether what a line evaluates may be an argument of its function."""
    scope = source_of(origin.filename).function_around(origin.line)
    if scope is None:
        return False
    values = _values_behind(scope, origin.line)
    if is_handed_by_object(values):
        return True
    return bool(_parameters(scope) & {name for each in values for name in _names(each)})


def find_built(origins: Iterable[Origin], asked: Asked) -> Built | None:
    """Return the one line that starts a queryset of a model, or of a related manager, or None.

    ``origins`` are the line that evaluates it and the calls that led there, the nearest first. A
    function that was handed the queryset leads on to its caller's line.
    """
    for origin in origins:
        found, handed = _near(origin, asked)
        if len({each.line for each in found}) == 1:
            line = next(iter(found)).line
            scope = source_of(origin.filename).function_around(line)
            same = scope is source_of(origin.filename).function_around(origin.line)
            function = origin.function if same else getattr(scope, "name", "<module>")
            built = Origin(filename=origin.filename, line=line, function=function)
            return Built(built, _manager(found))
        if found or not handed:
            return None
    return None


def _manager_at(origin: Origin, model: type[Model]) -> str | None:
    """Return the manager that the line ``origin`` starts a queryset of ``model`` from."""
    tree, module = source_of(origin.filename).tree, module_of(origin.filename)
    if tree is None or module is None:
        return None
    starts = starts_in(statement_at(tree, origin.line), module, model)
    return _manager({each for each in starts if each.line == origin.line})


def manager_behind(expression: ast.expr | None, origin: Origin, model: type[Model]) -> str | None:
    """Return the manager that ``expression`` at ``origin`` starts from, itself or by its names."""
    module = module_of(origin.filename)
    if expression is not None and module is not None:
        starts = set(starts_in(expression, module, model))
        if starts:
            return _manager(starts)
    built = find_built((origin,), model)
    return None if built is None else built.manager


def _manager(starts: set[Start]) -> str | None:
    managers = {each.manager for each in starts}
    return managers.pop() if len(managers) == 1 else None


def _near(origin: Origin, asked: Asked) -> tuple[set[Start], bool]:
    """Return what starts one near ``origin``, and whether it may be an argument."""
    tree, module = source_of(origin.filename).tree, module_of(origin.filename)
    scope = source_of(origin.filename).function_around(origin.line)
    if tree is None or module is None or scope is None:
        return set(), False
    values = _values_behind(scope, origin.line)
    found = {start for value in values for start in starts_in(value, module, asked, scope)}
    if not found:
        found = {
            start for value in values for start in starts_in_called(value, tree, module, asked)
        }
    if not found:
        found = {
            start
            for value in values
            for start in starts_in_class(value, scope, tree, module, asked)
        }
    if not found:
        given = _given_by_class(tree, scope)
        found = {start for value in given for start in starts_in(value, module, asked)}
    return found, bool(_parameters(scope) & {name for each in values for name in _names(each)})


def _given_by_class(tree: ast.Module, method: ast.AST) -> Iterator[ast.AST]:
    """Yield what the class of a method gives as its queryset, as generic views have it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and method in node.body:
            for each in node.body:
                match each:
                    case ast.FunctionDef(name="get_queryset"):
                        yield each
                    case ast.Assign(targets=[ast.Name(id="queryset")], value=value):
                        yield value


def _parameters(scope: ast.AST) -> set[str]:
    given = getattr(scope, "args", None)
    return {node.arg for node in ast.walk(given) if isinstance(node, ast.arg)} if given else set()


def _names(node: ast.AST) -> Iterator[str]:
    return (each.id for each in ast.walk(node) if isinstance(each, ast.Name))


def _values_behind(scope: ast.AST, line: int) -> list[ast.expr]:
    """Return the expressions that the line iterates or evaluates, and those of the names in them.

    ``for row in page:``, ``page = paginate(rows)``, ``rows = Model.objects.all()``: all three.
    """
    return with_their_names(scope, evaluated_at(scope, line), line)
