"""The views of ``urls`` with no line of ours in their code: ``VIEWS`` is what caches them."""

from __future__ import annotations

from typing import Any

from django.urls import include, path
from django.views.generic import View
from ninja import NinjaAPI
from ninja.security import django_auth
from rest_framework import routers
from rest_framework.decorators import api_view
from rest_framework.response import Response

from . import urls
from .kept import OPTIONS, PLAIN
from .urls import runs


class ByMethod(View):
    get = urls.ByMethod.get.__wrapped__  # type: ignore[attr-defined]


class ByMixin(View):
    get = urls.ByMixin.get


class IndustryViewSet(urls.IndustryViewSet):
    list = urls.IndustryViewSet.list.__wrapped__  # type: ignore[attr-defined]


class Browsed(urls.Browsed):
    list = urls.Browsed.list.__wrapped__  # type: ignore[attr-defined]


class WhoAmI(urls.WhoAmI):
    get = urls.WhoAmI.get.__wrapped__  # type: ignore[attr-defined]


class SetUp(urls.SetUp):
    get = urls.SetUpByMethod.get.__wrapped__  # type: ignore[attr-defined]


class Permitted(urls.Permitted):
    get = urls.Permitted.get.__wrapped__  # type: ignore[attr-defined]


class Data(urls.Data):
    get = urls.Data.get.__wrapped__  # type: ignore[attr-defined]


@api_view(["GET"])
def framework(request: Any) -> Response:
    runs.append("framework")
    return Response({"user": request.user.username or "nobody"})


api = NinjaAPI(urls_namespace="ninja_by_setting")
api.get("/user", auth=django_auth)(urls.ninja_user)
api.get("/token", auth=urls.Token())(urls.ninja_token)
api.get("/industries")(urls.ninja_industries)

FOR_ALL = {"timeout": 60, "vary_on": []}

VIEWS: dict[str, Any] = {
    **{each.__name__: OPTIONS[each.__name__] for each in urls._views},
    "GET by_*": 60,
    "by_cookie": OPTIONS["by_cookie"],
    "/whoami/": FOR_ALL,
    **dict.fromkeys(("handed", "set_up_by_method", "set_up_by_class", "permitted", "data"), 60),
    "industry*": FOR_ALL,
    "browsed-list": 60,
    "above_api_view": 60,
    "below_api_view": 60,
    "ninja_by_setting:*": 60,
    "ninja_by_setting:ninja_industries": FOR_ALL,
}

router = routers.SimpleRouter()
router.register("rest", IndustryViewSet)
router.register("browsed", Browsed, basename="browsed")

urlpatterns = [
    *(path(f"{name}/", PLAIN[name], name=name) for name in (e.__name__ for e in urls._views)),
    path("industry/<int:pk>/", PLAIN["industry"], name="industry"),
    path("by_method/", ByMethod.as_view(), name="by_method"),
    path("by_class/", ByMethod.as_view(), name="by_class"),
    path("by_mixin/", ByMixin.as_view(), name="by_mixin"),
    path("whoami/", WhoAmI.as_view()),
    path("handed/", urls.hands_team_on(PLAIN["handed"]), name="handed"),
    path("set_up_by_method/", SetUp.as_view(), name="set_up_by_method"),
    path("set_up_by_class/", SetUp.as_view(), name="set_up_by_class"),
    path("permitted/", Permitted.as_view(), name="permitted"),
    path("data/", Data.as_view(), name="data"),
    path("above_api_view/", framework, name="above_api_view"),
    path("below_api_view/", framework, name="below_api_view"),
    path("ninja/", api.urls),
    path("", include(router.urls)),
]
