"""Views that read one thing of their request each; every one is cached."""

from __future__ import annotations

from functools import wraps
from pathlib import Path
from typing import Any

from django.contrib import messages
from django.contrib.sites.shortcuts import get_current_site
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.template import engines
from django.template.response import TemplateResponse
from django.urls import include, path
from django.utils import timezone, translation
from django.utils.decorators import method_decorator
from django.views.decorators.cache import cache_control
from django.views.decorators.clickjacking import xframe_options_exempt
from django.views.decorators.vary import vary_on_headers
from django.views.generic import View
from ninja import NinjaAPI
from ninja.decorators import decorate_view
from ninja.security import HttpBearer, django_auth
from rest_framework import parsers, renderers, routers, serializers, viewsets
from rest_framework import permissions as permissions_of_framework
from rest_framework.decorators import api_view
from rest_framework.response import Response
from rest_framework.views import APIView

from django_querybudget.cache import CachedViewMixin, cached_queryset
from jobs.models import Industry

from .kept import cached_view
from .middleware import kept

runs: list[str] = []
"""The names of the views that ran, as they did."""


def said(request: Any, text: object) -> HttpResponse:
    """Answer ``text``, and note that the view ran."""
    match = request.resolver_match
    runs.append(match.url_name or match.route)
    return HttpResponse(f"{text}")


@cached_view(60)
def name(request: HttpRequest) -> HttpResponse:
    return said(request, getattr(request.user, "username", "") or "nobody")


@cached_view(60)
def flags(request: HttpRequest) -> HttpResponse:
    user: Any = request.user
    return said(request, f"staff {user.is_staff} active {user.is_active}")


@cached_view(60)
def permissions(request: HttpRequest) -> HttpResponse:
    return said(request, request.user.has_perm("jobs.delete_job"))  # type: ignore[union-attr]


@cached_view(60, vary_on=())
def name_for_all(request: HttpRequest) -> HttpResponse:
    return said(request, getattr(request.user, "username", "") or "nobody")


@cached_view(60, vary_on=())
def industries(request: HttpRequest) -> HttpResponse:
    return said(request, [each.name for each in Industry.objects.order_by("pk")])


@cached_view(60, vary_on=())
def routed(request: HttpRequest) -> HttpResponse:
    return said(request, [each.name for each in Industry.objects.order_by("pk")])


@cached_view(60, vary_on=())
async def routed_in_async(request: HttpRequest) -> HttpResponse:
    return said(request, [each.name async for each in Industry.objects.order_by("pk")])


@cached_view(60, vary_on=())
def routed_in_part(request: HttpRequest) -> HttpResponse:
    """What is read by the router's choice comes from a part that is cached by itself."""
    rows = cached_queryset(Industry.objects.order_by("pk"), 60)
    return said(request, [each.name for each in rows])


@cached_view(60, vary_on=())
def industry(request: HttpRequest, pk: int) -> HttpResponse:
    return said(request, Industry.objects.get(pk=pk).name)


@cached_view(60, vary_on=())
def lazy_template(request: HttpRequest) -> TemplateResponse:
    runs.append("lazy_template")
    template = engines["django"].from_string("{% for each in rows %}{{ each.name }},{% endfor %}")
    return TemplateResponse(request, template, {"rows": Industry.objects.order_by("pk")})


@cached_view(60, vary_on=())
def with_user_in_context(request: HttpRequest) -> TemplateResponse:
    runs.append("with_user_in_context")
    text = "hello{% if shown %}{{ user.username }}{% endif %}"
    return TemplateResponse(
        request, engines["django"].from_string(text), {"shown": request.GET.get("shown")}
    )


@cached_view(60)
def session(request: HttpRequest) -> HttpResponse:
    return said(request, request.session.get("cart", "empty"))


@cached_view(60, vary_on=())
def session_for_all(request: HttpRequest) -> HttpResponse:
    return said(request, request.session.get("cart", "empty"))


@cached_view(60)
def session_write(request: HttpRequest) -> HttpResponse:
    request.session["seen"] = 1
    return said(request, "seen")


@cached_view(60, vary_on=("session",))
def by_session(request: HttpRequest) -> HttpResponse:
    return said(request, request.session.get("cart", "empty"))


@cached_view(60)
def cookie(request: HttpRequest) -> HttpResponse:
    return said(request, request.COOKIES.get("colour", "none"))


@cached_view(60, vary_on=("cookie:colour",))
def by_cookie(request: HttpRequest) -> HttpResponse:
    return said(request, request.COOKIES.get("colour", "none"))


@cached_view(60)
def all_cookies(request: HttpRequest) -> HttpResponse:
    return said(request, sorted(request.COOKIES.items()))


@cached_view(60)
def signed_cookie(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.get_signed_cookie("colour", ""))


@cached_view(60)
def cookie_header(request: HttpRequest) -> HttpResponse:
    return said(request, request.META.get("HTTP_COOKIE", ""))


@cached_view(60)
def sets_cookie(request: HttpRequest) -> HttpResponse:
    response = said(request, "set")
    response.set_cookie("mine", "1")
    return response


@cached_view(60)
def header(request: HttpRequest) -> HttpResponse:
    return said(request, request.headers.get("X-Team", "none"))


@cached_view(60)
def meta(request: HttpRequest) -> HttpResponse:
    return said(request, request.META.get("HTTP_X_TEAM", "none"))


@cached_view(60)
def environ(request: HttpRequest) -> HttpResponse:
    return said(request, getattr(request, "environ", request.META).get("HTTP_X_TEAM", "none"))


@cached_view(60)
def all_headers(request: HttpRequest) -> HttpResponse:
    return said(request, sorted(dict(request.headers).items()))


@cached_view(60, vary_on=("header:X-Team",))
def by_header(request: HttpRequest) -> HttpResponse:
    return said(request, request.headers.get("X-Team", "none"))


@cached_view(60)
@vary_on_headers("X-Team")
def varied(request: HttpRequest) -> HttpResponse:
    return said(request, request.headers.get("X-Team", "none"))


@cached_view(60)
@vary_on_headers("*")
def varied_on_all(request: HttpRequest) -> HttpResponse:
    return said(request, request.headers.get("X-Team", "none"))


@cached_view(60)
def accepts(request: HttpRequest) -> HttpResponse:
    return said(request, "json" if request.accepts("application/json") else "other")


@cached_view(60)
def authorization(request: HttpRequest) -> HttpResponse:
    return said(request, request.headers.get("Authorization", "none"))


@cached_view(60)
def address(request: HttpRequest) -> HttpResponse:
    return said(request, request.META["REMOTE_ADDR"])


@cached_view(60)
def host(request: HttpRequest) -> HttpResponse:
    return said(request, request.build_absolute_uri("/x/"))


@cached_view(60)
def query(request: HttpRequest) -> HttpResponse:
    return said(request, sorted(request.GET.items()))


@cached_view(60, ignore_params=("utm_*", "ref"))
def campaign(request: HttpRequest) -> HttpResponse:
    return said(request, request.GET.get("page", "1"))


@cached_view(60)
def marked(request: HttpRequest) -> HttpResponse:
    return said(request, getattr(request.user, "mark", "none"))


@cached_view(60, vary_on=())
def marked_for_all(request: HttpRequest) -> HttpResponse:
    return said(request, getattr(request.user, "mark", "none"))


@cached_view(60)
def content_type(request: HttpRequest) -> HttpResponse:
    return said(request, f"{request.content_type} {request.GET.get('q', '')}")


@cached_view(60)
def port(request: HttpRequest) -> HttpResponse:
    return said(request, request.get_port())


@cached_view(60)
def protocol(request: HttpRequest) -> HttpResponse:
    return said(request, request.META.get("SERVER_PROTOCOL", "none"))


@cached_view(60)
def site(request: HttpRequest) -> HttpResponse:
    return said(request, get_current_site(request).domain)


@cached_view(60)
@xframe_options_exempt
def framed(request: HttpRequest) -> HttpResponse:
    return said(request, "framed")


@cached_view(60)
def carries(request: HttpRequest) -> HttpResponse:
    response = said(request, "carries")
    response.own = object()  # type: ignore[attr-defined]
    return response


@cached_view(60)
def nonce(request: HttpRequest) -> HttpResponse:
    return said(request, request._csp_nonce)  # type: ignore[attr-defined]


@cached_view(60)
def missing(request: HttpRequest) -> HttpResponse:
    said(request, "")
    raise Http404("nothing here")


@cached_view(60, vary_on=())
def language_of_its_own(request: HttpRequest) -> HttpResponse:
    said(request, "")
    before = translation.get_language()
    translation.activate("de")
    response = HttpResponse(f"{before} then de")
    response["Vary"] = "X-Team"
    return response


@cached_view(60)
def language(request: HttpRequest) -> HttpResponse:
    return said(request, translation.get_language())


@cached_view(60)
def zone(request: HttpRequest) -> HttpResponse:
    return said(request, timezone.get_current_timezone_name())


@cached_view(60)
def csrf_form(request: HttpRequest) -> HttpResponse:
    return said(request, get_token(request))


@cached_view(60)
def message(request: HttpRequest) -> HttpResponse:
    return said(request, [str(each) for each in messages.get_messages(request)])


@cached_view(60)
def adds_message(request: HttpRequest) -> HttpResponse:
    messages.info(request, "added")
    return said(request, "added")


@cached_view(60)
def tenant(request: HttpRequest) -> HttpResponse:
    return said(request, request.tenant)  # type: ignore[attr-defined]


@cached_view(60, vary_on=("user", lambda request: request.tenant))
def by_tenant(request: HttpRequest) -> HttpResponse:
    return said(request, "ours")


@cached_view(60, vary_on=(lambda request: object(),))
def by_nothing_that_can_be_told(request: HttpRequest) -> HttpResponse:
    return said(request, "ours")


@cached_view(60)
def body(request: HttpRequest) -> HttpResponse:
    return said(request, request.body.decode() or request.POST.get("x", "none"))


@cached_view(60)
def stream(request: HttpRequest) -> StreamingHttpResponse:
    said(request, "")
    return StreamingHttpResponse(iter([b"a", b"b"]))


@cached_view(60)
def file(request: HttpRequest) -> FileResponse:
    said(request, "")
    return FileResponse(Path(__file__).open("rb"))  # the response closes it


@cached_view(60, vary_on=())
@cache_control(private=True)
def private(request: HttpRequest) -> HttpResponse:
    return said(request, "private")


@cached_view(60)
@cache_control(no_store=True)
def no_store(request: HttpRequest) -> HttpResponse:
    return said(request, "no store")


@cached_view(60, vary_on=())
@cache_control(max_age=60)
def aged(request: HttpRequest) -> HttpResponse:
    return said(request, "aged")


@cached_view(60, vary_on=())
def failing(request: HttpRequest) -> HttpResponse:
    return HttpResponse(said(request, "no").content, status=500)


@cached_view(60, vary_on=())
def writes(request: HttpRequest) -> HttpResponse:
    Industry.objects.filter(name="one").update(name="written")
    return said(request, "written")


@cached_view(60)
def impersonated(request: HttpRequest) -> HttpResponse:
    return said(request, getattr(request.user, "acting", "nobody"))


@cached_view(60, vary_on=("user",), tags=("front",))
def constant(request: HttpRequest) -> HttpResponse:
    return said(request, "always")


@cached_view(60, vary_on=())
async def in_async(request: HttpRequest) -> HttpResponse:
    return said(request, [each.name async for each in Industry.objects.order_by("pk")])


def hands_team_on(view: Any) -> Any:
    """Look at a header above the cached view."""

    @wraps(view)
    def call(request: HttpRequest) -> Any:
        return view(request, team=request.headers.get("X-Team", "none"))

    return call


@cached_view(60)
def handed(request: HttpRequest, team: str) -> HttpResponse:
    return said(request, team)


class SetUp(View):
    def setup(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().setup(request, *args, **kwargs)
        self.team = request.headers.get("X-Team", "none")


@method_decorator(cached_view(60), name="get")
class SetUpByMethod(SetUp):
    def get(self, request: HttpRequest) -> HttpResponse:
        return said(request, self.team)


@cached_view(60)
class SetUpByClass(SetUp):
    def get(self, request: HttpRequest) -> HttpResponse:
        return said(request, self.team)


class PutsTeam(permissions_of_framework.BasePermission):
    def has_permission(self, request: Any, view: Any) -> bool:
        where = request if request.headers.get("X-Where") == "request" else view
        where.team = request.headers.get("X-Team", "none")
        return True


@method_decorator(cached_view(60), name="get")
class Permitted(APIView):
    renderer_classes = (renderers.JSONRenderer,)
    permission_classes = (PutsTeam,)

    def get(self, request: Any) -> Response:
        runs.append("permitted")
        return Response(vars(request).get("team") or vars(self)["team"])


@method_decorator(cached_view(60), name="get")
class Data(APIView):
    renderer_classes = (renderers.JSONRenderer,)
    parser_classes = (parsers.JSONParser,)

    def get(self, request: Any) -> Response:
        runs.append("data")
        return Response(request.data)


@cached_view(60)
def session_key(request: HttpRequest) -> HttpResponse:
    return said(request, request.session.session_key or "none")


@cached_view(60)
def merged_meta(request: HttpRequest) -> HttpResponse:
    return said(request, (request.META | {"own": 1}).get("HTTP_X_TEAM", "none"))


@cached_view(60)
def printed_headers(request: HttpRequest) -> HttpResponse:
    return said(request, str(request.headers))


@cached_view(60)
def private_tenant(request: HttpRequest) -> HttpResponse:
    return said(request, request._tenant)  # type: ignore[attr-defined]


@cached_view(60)
def csrf_cookie(request: HttpRequest) -> HttpResponse:
    return said(request, request.META.get("CSRF_COOKIE", "none"))


@cached_view(60)
def language_code(request: HttpRequest) -> HttpResponse:
    return said(request, request.LANGUAGE_CODE)  # type: ignore[attr-defined]


@cached_view(60)
def forwarded(request: HttpRequest) -> HttpResponse:
    return said(request, request.headers.get("X-Forwarded-Proto", "none"))


@cached_view(60)
def sent_method(request: HttpRequest) -> HttpResponse:
    return said(request, request.META["REQUEST_METHOD"])


@cached_view(60, vary_on=())
def kept_user(request: HttpRequest) -> HttpResponse:
    return said(request, getattr(kept.user, "username", "") or "nobody")


@cached_view(60)
def lines(request: HttpRequest) -> HttpResponse:
    return said(request, b"".join(request).decode() or "none")


@cached_view(60, vary_on=("cookie:colour",))
def part(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.COOKIES.get("colour", "none"))


@cached_view(60)
def with_a_part(request: HttpRequest) -> HttpResponse:
    return said(request, part(request).content.decode())


@cached_view(60)
def after_a_part(request: HttpRequest) -> HttpResponse:
    part(request)
    return said(request, request.headers.get("X-Team", "none"))


@cached_view(60)
async def name_in_async(request: HttpRequest) -> HttpResponse:
    user = await request.auser()  # type: ignore[attr-defined]
    return said(request, user.get_username() or "nobody")


@cached_view(60, vary_on=())
async def name_for_all_in_async(request: HttpRequest) -> HttpResponse:
    user = await request.auser()  # type: ignore[attr-defined]
    return said(request, user.get_username() or "nobody")


@method_decorator(cached_view(60), name="get")
class ByMethod(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        return said(request, getattr(request.user, "username", "") or "nobody")


@cached_view(60)
class ByClass(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        return said(request, getattr(request.user, "username", "") or "nobody")


class ByMixin(CachedViewMixin, View):
    cache_timeout = 60

    def get(self, request: HttpRequest) -> HttpResponse:
        return said(request, getattr(request.user, "username", "") or "nobody")


class IndustrySerializer(serializers.ModelSerializer[Industry]):
    class Meta:
        model = Industry
        fields = ("id", "name")


class Lines(renderers.BaseRenderer):
    media_type = "text/plain"
    format = "txt"

    def render(self, data: Any, *_: Any, **__: Any) -> bytes:
        return "\n".join(each["name"] for each in data).encode()


class IndustryViewSet(viewsets.ReadOnlyModelViewSet[Industry]):
    queryset = Industry.objects.order_by("pk")
    serializer_class = IndustrySerializer
    renderer_classes = (renderers.JSONRenderer, Lines)

    @method_decorator(cached_view(60, vary_on=()))
    def list(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        runs.append("list")
        return super().list(request, *args, **kwargs)


class Browsed(viewsets.ReadOnlyModelViewSet[Industry]):
    queryset = Industry.objects.order_by("pk")
    serializer_class = IndustrySerializer
    renderer_classes = (renderers.JSONRenderer, renderers.BrowsableAPIRenderer)

    @method_decorator(cached_view(60))
    def list(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        runs.append("browsed")
        return super().list(request, *args, **kwargs)


@api_view(["GET"])
@cached_view(60)
def above_api_view(request: Any) -> Response:
    runs.append("above_api_view")
    return Response({"user": request.user.username or "nobody"})


@cached_view(60)
@api_view(["GET"])
def below_api_view(request: Any) -> Response:
    runs.append("below_api_view")
    return Response({"user": request.user.username or "nobody"})


api = NinjaAPI(urls_namespace="ninja")


class Token(HttpBearer):
    def authenticate(self, request: HttpRequest, token: str) -> str | None:
        return token if token in ("red", "blue") else None


@api.get("/user", auth=django_auth)
@decorate_view(cached_view(60))
def ninja_user(request: HttpRequest) -> str:
    runs.append("ninja_user")
    return request.user.get_username()


@api.get("/token", auth=Token())
@decorate_view(cached_view(60))
def ninja_token(request: HttpRequest) -> str:
    runs.append("ninja_token")
    return str(request.auth)  # type: ignore[attr-defined]


@api.get("/industries")
@decorate_view(cached_view(60, vary_on=()))
def ninja_industries(request: HttpRequest, name: str = "") -> list[str]:
    runs.append("ninja_industries")
    return [each.name for each in Industry.objects.filter(name__startswith=name)]


@method_decorator(cached_view(60, vary_on=()), name="get")
class WhoAmI(APIView):
    renderer_classes = (renderers.JSONRenderer,)

    def get(self, request: Any) -> Response:
        runs.append("whoami")
        return Response({"user": request.user.username or "nobody", "auth": str(request.auth)})


router = routers.SimpleRouter()
router.register("rest", IndustryViewSet)
router.register("browsed", Browsed, basename="browsed")

_views = [
    name, flags, permissions, name_for_all, industries, lazy_template, with_user_in_context,
    session, session_for_all, session_write, by_session, cookie, by_cookie, all_cookies,
    cookie_header, signed_cookie, sets_cookie,
    header, meta, environ, all_headers, by_header, varied, varied_on_all, accepts, authorization,
    address, host, query, campaign, language, zone, csrf_form, message, adds_message, tenant,
    by_tenant, by_nothing_that_can_be_told, body, stream, file, private, no_store, aged, failing,
    writes, impersonated, constant, marked, marked_for_all,
    content_type, port, protocol, site, framed, carries, nonce,
    session_key, merged_meta, printed_headers, private_tenant, csrf_cookie, language_code,
    forwarded, sent_method, kept_user, lines, with_a_part, after_a_part,
    missing, routed, routed_in_async, routed_in_part, language_of_its_own,
    in_async, name_in_async, name_for_all_in_async,
]  # fmt: skip

urlpatterns = [
    *(path(f"{each.__name__}/", each, name=each.__name__) for each in _views),
    path("industry/<int:pk>/", industry, name="industry"),
    path("by_method/", ByMethod.as_view(), name="by_method"),
    path("by_class/", ByClass.as_view(), name="by_class"),
    path("by_mixin/", ByMixin.as_view(), name="by_mixin"),
    path("whoami/", WhoAmI.as_view(), name="whoami"),
    path("handed/", hands_team_on(handed), name="handed"),
    path("set_up_by_method/", SetUpByMethod.as_view(), name="set_up_by_method"),
    path("set_up_by_class/", SetUpByClass.as_view(), name="set_up_by_class"),
    path("permitted/", Permitted.as_view(), name="permitted"),
    path("data/", Data.as_view(), name="data"),
    path("above_api_view/", above_api_view, name="above_api_view"),
    path("below_api_view/", below_api_view, name="below_api_view"),
    path("ninja/", api.urls),
    path("", include(router.urls)),
]
