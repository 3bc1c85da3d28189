"""System checks of decorators on the wrong side of ``method_decorator()``.

What Django itself refuses is not repeated: on a class, ``method_decorator()`` without ``name``, or
with one that the class does not have, raises where it stands. These three pass in silence, until a
request comes or for good:

- a mark that only the view's own function is asked for (``@csrf_exempt``), on one of its methods;
- ``method_decorator()`` on a function, which has no ``self`` to give;
- a view's decorator on a method without it, which takes ``self`` for the request.

===================  =====================================================
``querybudget.W012``  Each of the three.
===================  =====================================================
"""

from __future__ import annotations

import dis
from collections.abc import Iterator
from inspect import getattr_static
from types import CodeType, FunctionType, MethodType
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Warning
from django.utils.decorators import method_decorator
from django.views import View

from django_querybudget.routing.views import ninja_operations, urlpatterns

from .dead_decorators import place_of, wrapped_along

__all__ = ["check_method_decorators"]


def _of_a_method(function: Any) -> Any:
    return function


# The code of what method_decorator() makes of a function.
_WRAPPER: CodeType = method_decorator(_of_a_method)(_of_a_method).__code__
_METHODS = (*View.http_method_names, "list", "create", "retrieve", "update", "destroy")


def check_method_decorators(**_: object) -> list[CheckMessage]:
    """Report decorators that a class-based view's method, or a function, has no use for."""
    if not hasattr(settings, "ROOT_URLCONF"):
        return []
    found: dict[str, CheckMessage] = {}
    for _name, _route, view in urlpatterns():
        for each in _of_view(view):
            found.setdefault(each.msg, each)
    return list(found.values())


def _of_view(view: Any) -> Iterator[CheckMessage]:
    owner = getattr(view, "view_class", None) or getattr(view, "cls", None)
    if isinstance(owner, type):
        actions = getattr(view, "actions", None) or {}
        for name in dict.fromkeys((*_METHODS, *actions.values())):
            handler = getattr_static(owner, name, None)
            if isinstance(handler, FunctionType):
                yield from _dead_marks(view, owner, name, handler)
                yield from _request_for_self(owner, name, handler)
        return
    for each in (view, *(operation.view_func for operation in ninja_operations(view))):
        yield from _function_for_method(each)


def _dead_marks(view: Any, owner: type, name: str, handler: FunctionType) -> Iterator[CheckMessage]:
    """Report marks that Django looks for at the view, which copies those of ``dispatch()`` only."""
    marks = vars(handler)
    dead = []
    if marks.get("csrf_exempt") and not getattr(view, "csrf_exempt", False):
        dead.append("csrf_exempt")
    if marks.get("login_required") is False and getattr(view, "login_required", True):
        dead.append("login_not_required")
    if set(marks.get("_non_atomic_requests", ())) - getattr(view, "_non_atomic_requests", set()):
        dead.append("transaction.non_atomic_requests")
    for mark in dead:
        yield Warning(
            f"@{mark} of {owner.__qualname__}.{name}() ({place_of(handler)}) has no effect: Django "
            "asks the whole view for it, before a method is chosen.",
            hint=f'Write @method_decorator({mark}, name="dispatch") above the class.',
            obj=f"{owner.__module__}.{owner.__qualname__}",
            id="querybudget.W012",
        )


def _function_for_method(view: Any) -> Iterator[CheckMessage]:
    for each in wrapped_along(view):
        if isinstance(each, MethodType):
            return
        if getattr(each, "__code__", None) is _WRAPPER and not _is_of_class(each):
            yield Warning(
                f"method_decorator() of {each.__qualname__}() ({place_of(each)}) takes the "
                "request for self: it stands on a function, and its decorator gets no request.",
                hint="Write the decorator itself: @login_required, say, and not "
                "@method_decorator(login_required).",
                obj=f"{each.__module__}.{each.__qualname__}",
                id="querybudget.W012",
            )
            return


def _is_of_class(function: Any) -> bool:
    around, _, _ = function.__qualname__.rpartition(".")
    return bool(around) and not around.endswith("<locals>")


def _request_for_self(owner: type, name: str, handler: FunctionType) -> Iterator[CheckMessage]:
    """Report a wrapper that asks ``self`` for what only a request has: it raises AttributeError."""
    *wrappers, method = (each for each in wrapped_along(handler) if hasattr(each, "__code__"))
    if _first_argument(method) != "self":
        return
    for wrapper in wrappers:
        if _first_argument(wrapper) != "request":
            continue
        asked = next((each for each in _asked_of_request(wrapper) if _lacks(owner, each)), None)
        if asked is not None:
            decorator = wrapper.__code__.co_qualname.partition(".")[0]
            yield Warning(
                f"A decorator of {owner.__qualname__}.{name}() ({place_of(method)}) takes the view "
                f"for the request: {decorator}() asks self for .{asked}, which it does not have.",
                hint="Write @method_decorator(…) around the decorator.",
                obj=f"{owner.__module__}.{owner.__qualname__}",
                id="querybudget.W012",
            )
            return


def _first_argument(function: Any) -> str:
    code = function.__code__
    return str(code.co_varnames[0]) if code.co_argcount else ""


def _asked_of_request(function: Any) -> Iterator[str]:
    """Yield the attributes that the function itself reads of its ``request``."""
    before = ""
    for each in dis.get_instructions(function.__code__):
        if each.opname in ("LOAD_ATTR", "LOAD_METHOD") and before == "request":
            yield str(each.argval)
        loaded = each.argval if each.opname.startswith("LOAD_") else ""
        before = loaded[-1] if isinstance(loaded, tuple) else str(loaded)


def _lacks(owner: type, attribute: str) -> bool:
    """Whether instances have no such attribute: none of the class, none that a method assigns."""
    if attribute in ("request", "args", "kwargs") or hasattr(owner, attribute):
        return False
    return not any(
        each.opname == "STORE_ATTR" and each.argval == attribute
        for base in owner.__mro__
        for method in vars(base).values()
        if isinstance(method, FunctionType)
        for each in dis.get_instructions(method.__code__)
    )
