"""What a view is: its name, and the callables that a request to it reaches.

Duck-typed, so that no framework is imported: Django's class-based views, Django REST framework's
views and viewsets, django-ninja's operations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakKeyDictionary

from django.http import HttpRequest
from django.urls import ResolverMatch, URLPattern, URLResolver, get_resolver

__all__ = ["handlers", "ninja_operations", "urlpatterns", "view_name_of"]


def view_name_of(request: HttpRequest, match: ResolverMatch | None = None) -> str | None:
    """Return ``view_name`` as the URLconf has it; the route of a view without a name.

    A view function's own name would not do: every operation of a django-ninja API resolves to the
    same function, and those of one path to the first one's name: such an operation has the name
    under which it can be reversed. ``match`` is for a request that has none of its own. None if no
    URL matched.
    """
    match = match or request.resolver_match
    if match is None:
        return None
    if getattr(match.func, "__module__", "").startswith("ninja."):
        named = _operation_name(match, request)
        if named is not None:
            return named
    return match.view_name if match.url_name else f"/{match.route}"


_operation_names: WeakKeyDictionary[Any, dict[tuple[str, str], str]] = WeakKeyDictionary()
"""For the first operation of each path of a ninja API, the names of all by route and method."""


def _operation_name(match: ResolverMatch, request: HttpRequest) -> str | None:
    """Return the name of the operation that answers; None where it is alone at its path."""
    operations = ninja_operations(match.func)
    if len(operations) < 2:
        return None
    names = _operation_names.get(operations[0])
    if names is None:
        names = _operation_names[operations[0]] = {}
        by_route: dict[str, list[str | None]] = {}
        # The URLconf has a pattern for each operation, in their order.
        for name, route, view in urlpatterns(get_resolver(getattr(request, "urlconf", None))):
            if ninja_operations(view)[:1] == operations[:1]:
                by_route.setdefault(route, []).append(name)
        for route, found in by_route.items():
            for operation, name in zip(operations, found, strict=False):
                if name:
                    names.update(((route, method), name) for method in operation.methods)
    return names.get((f"/{match.route}", request.method or ""))


def handlers(match: ResolverMatch, method: str) -> Iterator[Callable[..., Any]]:
    """Yield the callables that answer ``method``, the innermost first: what a decorator may be on.

    The handler method of a class-based view (the action of a viewset, the function below
    ``@api_view``), its ``dispatch``, the operation of a ninja API, then what the URLconf names.
    """
    view: Any = match.func
    cls = getattr(view, "view_class", None) or getattr(view, "cls", None)
    if cls is not None:
        actions = getattr(view, "actions", None) or {}
        name = method.lower()
        if name == "head" and not hasattr(cls, "head"):
            name = "get"
        for attribute in (actions.get(name, name), "dispatch"):
            if callable(handler := getattr(cls, attribute, None)):
                if getattr(handler, "__module__", "") == "rest_framework.decorators":
                    yield from _held_by_api_view(handler)
                yield handler
    for operation in ninja_operations(view):
        if method in operation.methods:
            yield operation.view_func
            break
    yield view


def _held_by_api_view(handler: Any) -> Iterator[Callable[..., Any]]:
    """Yield the function below REST framework's ``@api_view``, which its handlers call."""
    names = getattr(getattr(handler, "__code__", None), "co_freevars", ())
    if "func" in names and callable(
        function := handler.__closure__[names.index("func")].cell_contents
    ):
        yield function


def ninja_operations(view: Any) -> list[Any]:
    """Return the operations that a django-ninja API has at the URL of ``view``; none for others."""
    if not getattr(view, "__module__", "").startswith("ninja."):
        return []
    path_view = getattr(view, "__self__", None)  # django-ninja up to 1.3: a bound method
    names = getattr(getattr(view, "__code__", None), "co_freevars", ())
    if path_view is None and "self" in names:
        path_view = view.__closure__[names.index("self")].cell_contents
    return list(getattr(path_view, "operations", ()))


def urlpatterns(
    resolver: URLResolver | None = None, namespaces: tuple[str, ...] = (), route: str = ""
) -> Iterator[tuple[str | None, str, Any]]:
    """Yield view name, route and callback of every pattern of the URLconf."""
    for pattern in (resolver or get_resolver()).url_patterns:
        # As ResolverMatch.route joins them.
        whole = route + (str(pattern.pattern).removeprefix("^") if route else str(pattern.pattern))
        if isinstance(pattern, URLResolver):
            inner = (*namespaces, pattern.namespace) if pattern.namespace else namespaces
            yield from urlpatterns(pattern, inner, whole)
        elif isinstance(pattern, URLPattern):
            name = ":".join((*namespaces, pattern.name)) if pattern.name else None
            yield name, f"/{whole}", pattern.callback
