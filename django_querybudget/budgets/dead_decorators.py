"""System checks of decorators that never run: above one that registers the function below it.

``@router.get()`` of django-ninja, ``@receiver`` and ``@register.filter`` keep a reference to the
function they are given. What a decorator above them makes of it, the module's name alone has:
nobody calls it. So the rule needs to know no decorator: *the module's attribute wraps the
registered function, and is not it*.

===================  =====================================================
``querybudget.E010``  A ``query_budget`` or a ``cached_view`` never runs.
``querybudget.W011``  Another decorator never runs.
===================  =====================================================
"""

from __future__ import annotations

import ast
import inspect
import sys
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any

from django.conf import settings
from django.contrib.auth import signals as auth_signals
from django.core import signals as core_signals
from django.core.checks import CheckMessage, Error, Warning
from django.db.models import signals as model_signals
from django.dispatch import Signal
from django.template import Library

from django_querybudget.routing.decorated import decorated
from django_querybudget.routing.views import ninja_operations, urlpatterns
from django_querybudget.stacks.source_files import source_of, text_of

__all__ = ["answering", "check_decorators", "place_of", "wrapped_along"]

_POLICIES = (
    "authentication_classes",
    "parser_classes",
    "permission_classes",
    "renderer_classes",
    "throttle_classes",
    "versioning_class",
)
_DEEPEST = 20  # wrappers around a function; a chain that is longer is a circle


@dataclass(frozen=True)
class Registered:
    """A function that something holds by reference, and what had it registered.

    ``registrar`` names that to a reader; ``decorator`` is the name of its last part in the source.
    """

    function: Callable[..., Any]
    registrar: str
    decorator: str


def check_decorators(**_: object) -> list[CheckMessage]:
    """Report decorators above one that has registered the function below them."""
    registered = list(_registered())
    return [*_dead_of_ours(registered), *_dead_decorators(registered), *_dead_policies()]


def _dead_policies() -> Iterator[CheckMessage]:
    """Report REST framework's policies of a view that were set once its class was made.

    ``@permission_classes`` above ``@api_view`` notes them on the function that the class has
    answered with, where nobody looks. Newer releases of REST framework refuse it themselves.
    """
    if not hasattr(settings, "ROOT_URLCONF"):
        return
    seen: set[int] = set()
    for _, route, view in urlpatterns():
        if not isinstance(getattr(view, "cls", None), type) or id(view) in seen:
            continue
        seen.add(id(view))
        names = [f"@{each}" for each in _POLICIES if each in vars(view)]
        if names:
            function = answering(view.cls) or view
            name = f"{function.__module__}.{function.__qualname__}"
            yield Warning(
                f"{' and '.join(names)} of {name} ({route}) never "
                f"{'run' if len(names) > 1 else 'runs'}: @api_view below made the view before.",
                hint=f"Move {' and '.join(names)} below @api_view, next to "
                f"`def {function.__name__}`.",
                obj=name,
                id="querybudget.W011",
            )


def answering(view_class: type) -> Callable[..., Any] | None:
    """Return the function that ``@api_view`` made a class of: its handlers hold it."""
    for handler in vars(view_class).values():
        for held in map(_held, getattr(handler, "__closure__", None) or ()):
            if isinstance(held, FunctionType):
                return held
    return None


def _dead_of_ours(registered: list[Registered]) -> Iterator[CheckMessage]:
    alive = {id(each) for one in registered for each in wrapped_along(one.function)}
    for wrapper, decorator in list(decorated.items()):
        if id(wrapper) in alive:
            continue
        below = {id(each) for each in wrapped_along(inspect.unwrap(wrapper))}
        for one in registered:
            if any(id(each) in below for each in wrapped_along(one.function)):
                name = f"{wrapper.__module__}.{wrapper.__qualname__}"
                yield Error(
                    f"The {decorator} of {name} ({place_of(wrapper)}) never runs: it stands above "
                    f"{one.registrar}, which registered the function below itself.",
                    hint=f"Move @{_written(decorator, one)} below {one.registrar}, next to "
                    f"`def {wrapper.__name__}`.",
                    obj=name,
                    id="querybudget.E010",
                )
                break


def _written(decorator: str, one: Registered) -> str:
    """Return how a decorator of ours is written below what registers the function."""
    if decorator == "cached_view" and one.registrar.startswith("the router's"):
        return "decorate_view(cached_view(…))"  # an operation returns no response
    return f"{decorator}(…)"


def _dead_decorators(registered: list[Registered]) -> Iterator[CheckMessage]:
    """Report the decorators of anyone, but for ours, which are errors of their own."""
    alive = {id(one.function) for one in registered}
    ours = set(map(id, decorated))
    seen: set[int] = set()
    for one in registered:
        function = one.function
        found = _attribute(function)
        if found is None or id(found) in alive or id(function) in seen:
            continue
        around = list(_around(found, function))
        if not around or all(id(each) in ours for each in around):
            continue
        seen.add(id(function))
        above = _above(function, one.decorator)
        what = " and ".join(above) if above else "A decorator"
        name = f"{function.__module__}.{function.__qualname__}"
        yield Warning(
            f"{what} of {name} ({place_of(function)}) never "
            f"{'run' if len(above) > 1 else 'runs'}: {one.registrar} below registered the "
            f"function before it was decorated.",
            hint=f"Move what stands above {one.registrar} below it, next to "
            f"`def {function.__name__}`.",
            obj=name,
            id="querybudget.W011",
        )


def _registered() -> Iterator[Registered]:
    """Yield the functions that others hold by reference."""
    if hasattr(settings, "ROOT_URLCONF"):
        for _, route, view in urlpatterns():
            for operation in ninja_operations(view):
                method = min(operation.methods).lower()
                registrar = f"the router's @….{method}() of {route}"
                yield Registered(operation.view_func, registrar, method)
    for module in (model_signals, core_signals, auth_signals):
        for name, signal in _signals(module):
            for entry in signal.receivers:
                receiver = entry[1]
                if isinstance(receiver, weakref.ReferenceType):
                    receiver = receiver()
                if receiver is not None:
                    yield Registered(receiver, f"@receiver({name})", "receiver")
    yield from _of_template_libraries()


def _of_template_libraries() -> Iterator[Registered]:
    """Yield the filters of template libraries that have been imported; none is imported here."""
    for name, module in list(sys.modules.items()):
        if ".templatetags." not in name:
            continue
        library = getattr(module, "register", None)
        if isinstance(library, Library):
            for function in library.filters.values():
                # Without options, Django registers the function itself.
                yield Registered(function, "@register.filter", "filter")


def _signals(module: ModuleType) -> Iterator[tuple[str, Signal]]:
    for name, signal in vars(module).items():
        if isinstance(signal, Signal):
            yield name, signal


def _attribute(function: object) -> Any:
    """Return what the function's module has under its name, None for what is no module's own."""
    name = getattr(function, "__qualname__", "")
    module = sys.modules.get(getattr(function, "__module__", None) or "")
    if not isinstance(function, FunctionType) or "." in name or module is None:
        return None
    return vars(module).get(name)


def _around(found: object, function: object) -> Iterator[Any]:
    """Yield the wrappers from ``found`` to ``function``, the outermost first; none if it is none.

    A wrapper that was made without ``functools.wraps`` holds the function in its closure.
    """
    wrappers: list[Any] = []
    each = found
    while each is not function:
        if not callable(each) or len(wrappers) > _DEEPEST:
            return
        wrappers.append(each)
        inner = getattr(each, "__wrapped__", None)
        if inner is None:
            cells = getattr(each, "__closure__", None) or ()
            inner = next((held for held in map(_held, cells) if _leads_to(held, function)), None)
        each = inner
    yield from wrappers


def _held(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # empty
        return None


def _leads_to(held: object, function: object) -> bool:
    return held is function or any(each is function for each in wrapped_along(held))


def _above(function: Any, registrar: str) -> list[str]:
    """Return the decorators above the registering one as they are written; none where unknown."""
    code = inspect.unwrap(function).__code__  # what is below may be decorated as well
    for node in source_of(code.co_filename).functions:
        if (
            node.name == function.__name__
            and node.decorator_list
            and node.decorator_list[0].lineno <= code.co_firstlineno <= node.lineno
        ):
            names = [_last_name(each) for each in node.decorator_list]
            if registrar in names:
                above = node.decorator_list[: len(names) - 1 - names[::-1].index(registrar)]
                return [f"@{text_of(each) or _last_name(each)}" for each in above]
    return []


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Call):
        node = node.func
    return getattr(node, "attr", getattr(node, "id", ""))


def place_of(function: Callable[..., Any]) -> str:
    code = inspect.unwrap(function).__code__
    return f"{code.co_filename}:{code.co_firstlineno}"


def wrapped_along(function: object) -> Iterator[Any]:
    """Yield the function and what it wraps, the outermost first."""
    for _ in range(_DEEPEST):
        if function is None:
            return
        yield function
        function = getattr(function, "__wrapped__", None)
