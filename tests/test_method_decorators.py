"""manage.py check: decorators on the wrong side of method_decorator(), and that those are wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import pytest
from django.contrib.auth.decorators import login_not_required, login_required
from django.core.checks import CheckMessage
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client, override_settings
from django.urls import path
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET
from rest_framework.response import Response
from rest_framework.views import APIView

from django_querybudget import query_budget
from django_querybudget.budgets.method_decorators import check_method_decorators
from django_querybudget.cache import cached_view


class Marked(View):
    """Its marks are looked for at the view."""

    @method_decorator(csrf_exempt)
    def post(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("sent")

    @method_decorator(login_not_required)
    @method_decorator(transaction.non_atomic_requests)
    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("open")


@method_decorator(csrf_exempt, name="dispatch")
@method_decorator(csrf_exempt, name="post")
class MarkedWell(View):
    def post(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("sent")


class Exempt(APIView):
    """REST framework exempts all of its views: the mark is no use, and no harm."""

    @method_decorator(csrf_exempt)
    def post(self, request: Any) -> Response:
        return Response("sent")


@method_decorator(require_GET)
def function(request: HttpRequest) -> HttpResponse:
    return HttpResponse("found")


@never_cache
@method_decorator(require_GET)
def function_below(request: HttpRequest) -> HttpResponse:
    return HttpResponse("found")


class Bare(View):
    @login_required  # type: ignore[arg-type]
    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("secret")


@method_decorator(login_required, name="get")
class BareWell(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("secret")


class PassesOn(View):
    """These hand on what they are given: they work, whatever they call it."""

    @csrf_exempt  # type: ignore[arg-type]
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return super().dispatch(request, *args, **kwargs)

    @query_budget(1)
    @transaction.atomic
    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("there")


def of_a_user(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    @wraps(view)
    def wrapper(request: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        assert request.user == "someone"
        return view(request, *args, **kwargs)

    return wrapper


class HasWhatIsAsked(View):
    def setup(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().setup(request, *args, **kwargs)
        self.user = "someone"

    @of_a_user
    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("there")


@method_decorator(cached_view(60), name="get")
@method_decorator([query_budget(1), require_GET], name="dispatch")
class Ours(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("there")


class Holder:
    @method_decorator(require_GET)
    def page(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("there")


urlpatterns = [
    path("marked", Marked.as_view()),
    path("marked/again", Marked.as_view()),
    path("marked/well", MarkedWell.as_view()),
    path("exempt", Exempt.as_view()),
    path("function", function),
    path("function/below", function_below),
    path("bare", Bare.as_view()),
    path("bare/well", BareWell.as_view()),
    path("passes-on", PassesOn.as_view()),
    path("has", HasWhatIsAsked.as_view()),
    path("ours", Ours.as_view()),
    path("holder", Holder().page),
]


@pytest.fixture(autouse=True)
def _these_urls() -> Iterator[None]:
    with override_settings(ROOT_URLCONF=__name__):
        yield


def _said(name: str) -> list[CheckMessage]:
    return [each for each in check_method_decorators() if each.obj == f"{__name__}.{name}"]


def test_a_mark_on_a_method_is_named_with_its_place(client: Client) -> None:
    strict = Client(enforce_csrf_checks=True)
    assert strict.post("/marked").status_code == 403  # It has no effect.
    assert strict.post("/marked/well").status_code == 200
    post, *of_get = sorted(_said("Marked"), key=lambda each: "post()" not in each.msg)
    line = Marked.post.__wrapped__.__code__.co_firstlineno  # type: ignore[attr-defined]
    assert post.id == "querybudget.W012"
    assert post.msg == (
        f"@csrf_exempt of Marked.post() ({__file__}:{line}) has no effect: Django asks the whole "
        "view for it, before a method is chosen."
    )
    assert post.hint == 'Write @method_decorator(csrf_exempt, name="dispatch") above the class.'
    assert sorted(each.msg.partition(" ")[0] for each in of_get) == [
        "@login_not_required",
        "@transaction.non_atomic_requests",
    ]


@pytest.mark.parametrize("name", ["function", "function_below"])
def test_method_decorator_on_a_function_is_named(client: Client, name: str) -> None:
    with pytest.raises((TypeError, AttributeError)):
        client.get(f"/{name.replace('_', '/')}")
    (message,) = _said(name)
    assert message.id == "querybudget.W012"
    assert message.msg.startswith(f"method_decorator() of {name}() ({__file__}:")
    assert message.hint is not None
    assert message.hint.startswith("Write the decorator itself")


def test_a_decorator_that_takes_self_for_the_request_is_named(client: Client) -> None:
    with pytest.raises(AttributeError, match="user"):
        client.get("/bare")
    (message,) = _said("Bare")
    assert message.id == "querybudget.W012"
    assert message.msg.endswith(
        "takes the view for the request: user_passes_test() asks self for .user, which it does not "
        "have."
    )


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("/marked/well", "MarkedWell"),
        ("/exempt", "Exempt"),
        ("/bare/well", "BareWell"),
        ("/passes-on", "PassesOn"),
        ("/has", "HasWhatIsAsked"),
        ("/ours", "Ours"),
        ("/holder", "Holder.page"),
    ],
)
@pytest.mark.django_db
def test_what_works_is_not_named(client: Client, url: str, name: str) -> None:
    post = url in ("/marked/well", "/exempt")
    response = client.post(url) if post else client.get(url)
    assert response.status_code in (200, 302)
    assert _said(name) == []


def test_what_django_refuses_is_refused_where_it_stands() -> None:
    """There is nothing left for a check."""
    with pytest.raises(ValueError, match="must be the name of a method"):
        method_decorator(query_budget(1))(type("Nameless", (View,), {}))
    with pytest.raises(ValueError, match="must be the name of a method"):
        method_decorator(cached_view(60), name="gte")(type("Misspelt", (View,), {}))
