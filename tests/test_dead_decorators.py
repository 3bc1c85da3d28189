"""manage.py check: decorators that never run, since one below them registered the function."""

from __future__ import annotations

import functools
import gc
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.checks import CheckMessage
from django.db.models.signals import post_save
from django.dispatch import receiver
from django.http import HttpRequest
from django.test import Client, override_settings
from django.urls import path
from ninja import NinjaAPI, Router
from ninja.decorators import decorate_view
from rest_framework.decorators import api_view, permission_classes
from rest_framework.permissions import IsAdminUser
from rest_framework.response import Response
from rest_framework.views import APIView

from django_querybudget import query_budget
from django_querybudget.budgets.dead_decorators import check_decorators
from django_querybudget.cache import cached_view


def of(messages: list[CheckMessage], name: str) -> list[CheckMessage]:
    """The messages about this module's functions of that name."""
    return [each for each in messages if name in str(each.obj)]


api = NinjaAPI(urls_namespace="dead")
router = Router()


@cached_view(60)
@api.get("/cached-above")
def cached_above(request: HttpRequest) -> int:
    return 1


@api.get("/cached-below")
@decorate_view(cached_view(60))
def cached_below(request: HttpRequest) -> int:
    return 1


@query_budget(1)
@api.get("/above")
def above(request: HttpRequest) -> int:
    return 1


@api.get("/below")
@query_budget(1)
def below(request: HttpRequest) -> int:
    return 1


@query_budget(1)
@router.post("/above")
async def async_above(request: HttpRequest) -> int:
    return 1


def shared(request: HttpRequest) -> int:
    return 1


api.get("/shared")(shared)
budgeted = query_budget(1)(shared)
api.get("/budgeted")(budgeted)


def cache_for(seconds: int) -> Callable[[Any], Any]:
    """A decorator of the host's, as most are written."""

    def decorate(function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs), seconds

        return wrapper

    return decorate


def unnamed(function: Any) -> Any:
    """A decorator that forgot functools.wraps."""

    def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


@cache_for(60)
@unnamed
@router.get("/two-dead")
def two_dead(request: HttpRequest) -> int:
    return 1


@cache_for(
    seconds=60,
)
@router.get("/one-dead")
@cache_for(1)
def one_dead(request: HttpRequest) -> int:
    return 1


@router.get("/alive")
@cache_for(60)
def alive(request: HttpRequest) -> int:
    return 1


@query_budget(1)
@cache_for(60)
@router.get("/both-dead")
def both_dead(request: HttpRequest) -> int:
    return 1


@router.get("/replaced")
def replaced(request: HttpRequest) -> int:
    return 1


replaced = 3  # type: ignore[assignment]  # noqa: F811


def note(name: str, value: Any) -> Callable[[Any], Any]:
    """What ``@permission_classes`` did before REST framework refused its place."""

    def decorate(view: Any) -> Any:
        setattr(view, name, value)
        return view

    return decorate


@note("throttle_classes", [])
@note("permission_classes", [IsAdminUser])
@api_view(["GET"])
def open_to_all(request: Any) -> Response:
    return Response()


@api_view(["GET"])
@permission_classes([IsAdminUser])
def closed(request: Any) -> Response:
    return Response()


class ClosedToo(APIView):
    permission_classes = (IsAdminUser,)


api.add_router("/router", router)
urlpatterns = [
    path("api/", api.urls),
    path("open", open_to_all),
    path("open/again", open_to_all),
    path("closed", closed),
    path("closed/too", ClosedToo.as_view()),
]


class TestDeadDecorators:
    """W011: of anyone."""

    @pytest.fixture(autouse=True)
    def these_urls(self) -> Iterator[None]:
        with override_settings(ROOT_URLCONF=__name__):
            yield

    def test_those_above_the_router_are_named_with_their_place(self) -> None:
        (message,) = of(check_decorators(), f"{__name__}.two_dead")
        assert message.id == "querybudget.W011"
        line = two_dead.__wrapped__.__closure__[0].cell_contents.__code__.co_firstlineno
        assert message.msg == (
            f"@cache_for(60) and @unnamed of {__name__}.two_dead ({__file__}:{line}) never run: "
            "the router's @….get() of /api/router/two-dead below registered the function before "
            "it was decorated."
        )
        assert message.hint is not None
        assert message.hint.endswith("below it, next to `def two_dead`.")

    def test_a_cached_view_above_the_router_is_an_error(self, client: Client) -> None:
        (message,) = of(check_decorators(), f"{__name__}.cached_above")
        assert message.id == "querybudget.E010"
        assert message.msg.startswith(f"The cached_view of {__name__}.cached_above")
        assert message.hint is not None
        assert message.hint.startswith("Move @decorate_view(cached_view(…)) below the router's")
        assert of(check_decorators(), f"{__name__}.cached_below") == []
        assert client.get("/api/cached-below").json() == 1

    def test_a_policy_above_api_view_is_named(self, client: Client) -> None:
        assert client.get("/open").status_code == 200  # To a stranger: it was meant for staff.
        assert client.get("/closed").status_code == 403
        (message,) = of(check_decorators(), "open_to_all")
        assert message.id == "querybudget.W011"
        assert message.msg == (
            f"@permission_classes and @throttle_classes of {__name__}.open_to_all (/open) never "
            "run: @api_view below made the view before."
        )
        assert of(check_decorators(), "losed") == []

    def test_those_below_run(self) -> None:
        (message,) = of(check_decorators(), f"{__name__}.one_dead")
        assert message.msg.startswith(f"@cache_for(seconds=60) of {__name__}.one_dead")
        assert of(check_decorators(), f"{__name__}.alive") == []

    def test_a_name_that_is_something_else_now_says_nothing(self) -> None:
        assert of(check_decorators(), f"{__name__}.replaced") == []

    def test_beside_a_budget_both_are_told(self) -> None:
        found = of(check_decorators(), f"{__name__}.both_dead")
        assert sorted(each.id or "" for each in found) == ["querybudget.E010", "querybudget.W011"]

    def test_a_budget_alone_is_its_own_error(self) -> None:
        assert [each.id for each in of(check_decorators(), f"{__name__}.above")] == [
            "querybudget.E010"
        ]

    def test_what_is_above_receiver(self, monkeypatch: pytest.MonkeyPatch) -> None:
        source = (
            "from django.db.models.signals import post_save\n"
            "from django.dispatch import receiver\n"
            f"from {__name__} import cache_for\n"
            "@cache_for(60)\n@receiver(post_save, sender='jobs.Job')\ndef on_save(**kwargs): ...\n"
        )
        module = types.ModuleType("host.receivers")
        monkeypatch.setitem(sys.modules, module.__name__, module)
        exec(source, vars(module))  # noqa: S102  # a module of a host's
        try:
            (message,) = of(check_decorators(), "host.receivers.on_save")
            assert message.msg.startswith("A decorator of host.receivers.on_save")
            assert "@receiver(post_save) below registered" in message.msg
        finally:
            post_save.disconnect(module.on_save.__wrapped__, sender="jobs.Job")

    def test_what_is_above_a_template_filter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        source = (
            "from django import template\n"
            f"from {__name__} import cache_for\n"
            "register = template.Library()\n"
            "@cache_for(5)\n@register.filter\ndef shout(text):\n    return text.upper()\n"
        )
        module = types.ModuleType("host.templatetags.shouting")
        monkeypatch.setitem(sys.modules, module.__name__, module)
        exec(source, vars(module))  # noqa: S102  # a module of a host's
        (message,) = of(check_decorators(), "host.templatetags.shouting.shout")
        # Its source is in no file: the decorator's text is not known.
        assert message.msg.startswith("A decorator of host.templatetags.shouting.shout")

    def test_the_marketplace_has_none(self, settings: Any) -> None:
        settings.ROOT_URLCONF = "marketplace.urls"
        found = check_decorators()
        assert [each for each in found if not str(each.obj).startswith(__name__)] == []


class TestDecorators:
    """E010."""

    @pytest.fixture(autouse=True)
    def these_urls(self) -> Iterator[None]:
        with override_settings(ROOT_URLCONF=__name__):
            yield

    @pytest.mark.parametrize("name", ["above", "async_above"])
    def test_above_a_ninja_routers_decorator_is_an_error(self, name: str) -> None:
        (message,) = of(check_decorators(), f"{__name__}.{name}")
        assert message.id == "querybudget.E010"
        assert f"{__name__}.{name} ({__file__}:" in message.msg
        assert "never runs" in message.msg
        assert message.hint is not None
        assert (
            f"below the router's @….{'post' if 'async' in name else 'get'}() of /api/"
            in message.hint
        )

    def test_below_it_is_fine(self) -> None:
        assert of(check_decorators(), f"{__name__}.below") == []

    def test_a_function_that_is_registered_with_and_without_is_fine(self) -> None:
        assert of(check_decorators(), f"{__name__}.shared") == []

    def test_above_receiver_is_an_error(self) -> None:
        def register() -> Any:
            @query_budget(1)
            @receiver(post_save)  # noqa: DJ013 - the mistake
            def on_save(**kwargs: Any) -> None: ...

            return on_save

        on_save = register()
        try:
            (message,) = of(check_decorators(), "on_save")
            assert "stands above @receiver(post_save)" in message.msg
        finally:
            post_save.disconnect(on_save.__wrapped__)
        del on_save
        gc.collect()

    def test_a_plain_function_is_fine(self, settings: Any) -> None:
        function = query_budget(1)(lambda: 1)
        assert of(check_decorators(), function.__qualname__) == []
