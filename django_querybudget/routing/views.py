"""What a view is: its name, and the callables that a request to it reaches.

Duck-typed, so that no framework is imported: Django's class-based views, Django REST framework's
views and viewsets, django-ninja's operations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from django.http import HttpRequest
from django.urls import ResolverMatch, URLPattern, URLResolver, get_resolver

__all__ = ["handlers", "ninja_operations", "urlpatterns", "view_name_of"]


def view_name_of(request: HttpRequest) -> str | None:
    """Return ``view_name`` as the URLconf has it; the route of a view without a name.

    A view function's own name would not do: every operation of a django-ninja API resolves to the
    same function. None if no URL matched.
    """
    match = request.resolver_match
    if match is None:
        return None
    return match.view_name if match.url_name else f"/{match.route}"


def handlers(match: ResolverMatch, method: str) -> Iterator[Callable[..., Any]]:
    """Yield the callables that answer ``method``, the innermost first: what a decorator may be on.

    The handler method of a class-based view (the action of a viewset), its ``dispatch``, the
    operation of a ninja API, then what the URLconf names.
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
                yield handler
    for operation in ninja_operations(view):
        if method in operation.methods:
            yield operation.view_func
            break
    yield view


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
