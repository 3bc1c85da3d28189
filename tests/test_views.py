"""Which callables answer a request, in Django, REST framework and django-ninja."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import RequestFactory
from django.urls import resolve

from django_querybudget.routing.views import handlers, ninja_operations, urlpatterns, view_name_of
from tests import budget_urls

pytestmark = [pytest.mark.urls("tests.budget_urls")]


@pytest.mark.parametrize(
    ("path", "method", "first"),
    [
        ("/plain", "GET", budget_urls.plain),
        ("/handler", "GET", budget_urls.Handler.get),
        ("/handler", "HEAD", budget_urls.Handler.get),
        ("/handler", "POST", budget_urls.Handler.post),
        ("/handler", "DELETE", budget_urls.Handler.dispatch),
        ("/rest/things/", "GET", budget_urls.Things.list),
        ("/rest/things/", "HEAD", budget_urls.Things.list),
        ("/rest/things/below/", "GET", budget_urls.Things.budget_below),
        ("/ninja/operation", "GET", budget_urls.operation),
        ("/ninja/other", "GET", budget_urls.other_operation),
    ],
)
def test_the_innermost_handler_comes_first(path: str, method: str, first: Any) -> None:
    assert next(handlers(resolve(path), method)) is first


def test_the_urlconfs_callable_comes_last() -> None:
    for path in ("/plain", "/handler", "/rest/things/", "/ninja/operation"):
        match = resolve(path)
        assert list(handlers(match, "GET"))[-1] is match.func


def test_a_method_that_ninja_does_not_answer_has_no_operation() -> None:
    match = resolve("/ninja/operation")
    assert list(handlers(match, "POST")) == [match.func]


def test_what_only_looks_like_ninjas_has_no_operations() -> None:
    class Strange:
        __module__ = "ninja.strange"

        def __call__(self) -> None: ...

    assert ninja_operations(Strange()) == []
    assert ninja_operations(len) == []
    assert ninja_operations(resolve("/ninja/docs").func) == []


def test_every_name_and_route_is_as_a_request_resolves_it() -> None:
    known = {(name, route) for name, route, _ in urlpatterns()}
    for path in ("/plain", "/jobs/list", "/nameless/1/", "/regex/a", "/rest/things/below/",
                 "/ninja/other"):  # fmt: skip
        request = RequestFactory().get(path)
        match = request.resolver_match = resolve(path)
        name = match.view_name if match.url_name else None
        assert (name, f"/{match.route}") in known
        assert view_name_of(request) in (name, f"/{match.route}")
