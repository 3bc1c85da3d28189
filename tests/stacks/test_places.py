"""What is blamed where a framework evaluates the project's queryset: never who passes on a request.

``passes_on`` is the project's middleware and the test's client is the test's: each stands on the
stack of every query here, and is the place of none.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ninja
import pytest
import strawberry
from asgiref.sync import async_to_sync
from django.contrib.admin import AdminSite, ModelAdmin
from django.contrib.auth import get_user_model
from django.contrib.auth.admin import GroupAdmin
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, RequestFactory
from django.urls import path
from django.views import View
from django.views.generic import ListView, TemplateView
from rest_framework import generics, serializers, viewsets
from rest_framework.request import Request
from rest_framework.response import Response
from strawberry.django.views import GraphQLView

from django_querybudget import capture_queries
from django_querybudget.nplusone import find_nplusone
from django_querybudget.stacks import HostKind, Origin, call_path, outward
from tests.nplusone.data import fill
from tests.nplusone.models import Author, Book, Publisher

HERE = Path(__file__)
LINES = HERE.read_text().splitlines()
TEMPLATES = HERE.parent.parent / "nplusone" / "templates"
TEMPLATE = str(TEMPLATES / "corpus" / "books.html")


def line_of(mark: str) -> int:
    """Return the number of the line that ends with a comment."""
    (found,) = [number for number, line in enumerate(LINES, 1) if line.endswith(f"  # {mark}")]
    return found


def passes_on(get_response: Callable[[HttpRequest], HttpResponse]) -> Any:
    def middleware(request: HttpRequest) -> HttpResponse:
        return get_response(request)

    return middleware


def decorated(view: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return view(*args, **kwargs)

    return wrapper


class Shown(ListView):  # type: ignore[type-arg]
    template_name = "corpus/books.html"
    context_object_name = "books"
    allow_empty = False


class Books(Shown):
    queryset = Book.objects.order_by("pk")  # attribute

    def dispatch(self, *args: Any, **kwargs: Any) -> Any:
        return super().dispatch(*args, **kwargs)

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return super().get(request, *args, **kwargs)


class Inherited(Books):
    pass


class OfModel(Shown):
    model = Book  # model
    paginate_by = 2
    ordering = "pk"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**kwargs)  # It counts, and slices.


class OwnMethod(Shown):
    def get_queryset(self) -> Any:  # method
        return Book.objects.order_by("pk")


class OwnLine(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(str(Book.objects.order_by("pk").exists()))  # exists


def one(key: int) -> Book:
    return Book.objects.get(pk=key)


def mapped(request: HttpRequest) -> HttpResponse:
    keys = list(Book.objects.values_list("pk", flat=True))
    return HttpResponse(str(list(map(one, keys))))


class InContext(TemplateView):
    template_name = "corpus/books.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return {"books": list(Book.objects.all())}  # context


class BookSerializer(serializers.ModelSerializer[Book]):
    class Meta:
        model = Book
        fields = ("title",)


class BookViewSet(viewsets.ModelViewSet[Book]):
    queryset = (
        Book.objects.all()  # viewset
    )
    serializer_class = BookSerializer

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)

    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        self.get_object()  # get_object
        return Response()


class BookApi(generics.ListAPIView[Book]):
    queryset = Book.objects.filter(pk__gt=0)  # generic
    serializer_class = BookSerializer


class BookAdmin(ModelAdmin):  # type: ignore[type-arg]
    list_display = ("title", "author")

    def get_queryset(self, request: HttpRequest) -> Any:  # admin
        return super().get_queryset(request)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        return super().changelist_view(request, extra_context)


class AuthorAdmin(ModelAdmin):  # type: ignore[type-arg] # class
    list_display = ("name",)


site = AdminSite(name="places_admin")
site.register(Book, BookAdmin)
site.register(Author, AuthorAdmin)
site.register(Publisher)
site.register(Group, GroupAdmin)

api = ninja.NinjaAPI(urls_namespace="places")


class BookOut(ninja.Schema):
    title: str


@api.get("/books", response=list[BookOut])  # operation
def operation(request: HttpRequest) -> Any:
    return Book.objects.all()


@strawberry.type
class BookType:
    title: str


@strawberry.type
class Query:
    @strawberry.field
    def books(self) -> list[BookType]:  # resolver
        return Book.objects.all()  # type: ignore[return-value]  # strawberry takes a queryset


urlpatterns = [
    path("inherited", decorated(Inherited.as_view())),
    path("model", OfModel.as_view()),
    path(
        "as_view",
        ListView.as_view(
            model=Book,
            allow_empty=False,
            paginate_by=2,
            ordering="pk",
            template_name="corpus/books.html",
            context_object_name="books",
        ),
    ),
    path("method", OwnMethod.as_view()),
    path("line", decorated(OwnLine.as_view())),
    path("mapped", mapped),
    path("context", InContext.as_view()),
    path("viewset", decorated(BookViewSet.as_view({"get": "list"}))),
    path("object/<int:pk>", BookViewSet.as_view({"get": "destroy"})),
    path("generic", BookApi.as_view()),
    path("admin/", site.urls),
    path("api/", api.urls),
    path("graphql", GraphQLView.as_view(schema=strawberry.Schema(Query))),
]

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]


@pytest.fixture(autouse=True)
def _stack(db: None, settings: Any) -> None:
    fill()
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.passes_on"]
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [TEMPLATES]}]


@pytest.fixture
def staff(client: Client) -> Client:
    user = get_user_model().objects.create_superuser("boss", "boss@example.com", "secret")
    client.force_login(user)
    return client


def origins_of(client: Client, address: str, table: str = "corpus_book") -> list[Origin | None]:
    with capture_queries() as log:
        response = client.get(address)
        content = b"".join(response) if response.streaming else response.content
    assert response.status_code == 200, content
    return [query.origin for query in log if f'FROM "{table}"' in query.sql]


@pytest.mark.parametrize(
    ("address", "mark", "function"),
    [
        ("/inherited", "attribute", "Inherited.queryset"),
        ("/model", "model", "OfModel.model"),
        ("/method", "method", "OwnMethod.get_queryset"),
        ("/line", "exists", "OwnLine.get"),
        ("/context", "context", "InContext.get_context_data"),
        ("/viewset", "viewset", "BookViewSet.queryset"),
        ("/object/1", "get_object", "BookViewSet.destroy"),
        ("/generic", "generic", "BookApi.queryset"),
        ("/api/books", "operation", "operation operation"),
    ],
)
def test_the_place_is_where_the_project_says_what_is_queried(
    client: Client, address: str, mark: str, function: str
) -> None:
    if address == "/object/1":
        address = f"/object/{Book.objects.values_list('pk', flat=True)[0]}"
    origins = origins_of(client, address)
    assert {(each and each.filename, each and each.line) for each in origins} == {
        (str(HERE), line_of(mark))
    }
    assert {each and each.function for each in origins} == {function}


def test_a_view_made_in_the_urlconf_has_no_place_and_borrows_none(client: Client) -> None:
    *checked, shown = origins_of(client, "/as_view")
    assert set(checked) == {None}  # Whether there are any, and how many pages.
    assert shown is not None
    assert (shown.template, shown.filename) == ("corpus/books.html:3", TEMPLATE)


@pytest.mark.parametrize("visits", list(itertools.permutations(["/as_view", "/line", "/model"])))
def test_what_is_blamed_does_not_depend_on_which_view_ran_before(
    client: Client, visits: tuple[str, ...]
) -> None:
    """Their queries may have one text, and one way through Django up to some frame."""
    expected = {
        "/as_view": {None, 3},  # The template's, where it iterates.
        "/line": {line_of("exists")},
        "/model": {line_of("model")},
    }
    for address in (*visits, *visits):
        lines = {each and each.line for each in origins_of(client, address)}
        assert lines == expected[address], address


def test_an_async_request_passes_on_as_well() -> None:
    """The template is rendered on a worker thread; coroutines of the project wait for it."""

    async def ask() -> Any:
        return await AsyncClient().get("/inherited")

    with capture_queries() as log:
        response = async_to_sync(ask)()
    assert response.status_code == 200
    lines = {query.origin and query.origin.line for query in log if "corpus_" in query.sql}
    assert lines == {line_of("attribute")}


@pytest.mark.parametrize(
    ("address", "table", "label"),
    [
        ("book", "corpus_book", "BookAdmin.get_queryset"),
        ("author", "corpus_author", "ModelAdmin AuthorAdmin"),
        ("publisher", "corpus_publisher", "ModelAdmin ModelAdmin of Publisher"),
    ],
)
def test_the_admin_works_for_a_modeladmin(
    staff: Client, address: str, table: str, label: str
) -> None:
    origins = origins_of(staff, f"/admin/corpus/{address}/", table)
    marks = {"book": "admin", "author": "type: ignore[type-arg] # class", "publisher": None}
    for origin in origins:
        if marks[address] is None:
            assert origin is None  # A ModelAdmin that register() made has no source.
        else:
            assert origin is not None
            assert (origin.filename, origin.line) == (str(HERE), line_of(marks[address]))
            assert origin.function == label
            assert origin.host is not None
            assert origin.host.kind is HostKind.ADMIN
    assert origins


def test_a_modeladmin_of_a_package_is_named_with_its_file(staff: Client) -> None:
    Group.objects.create(name="readers")
    for origin in origins_of(staff, "/admin/auth/group/", "auth_group"):
        assert origin is not None
        assert Path(origin.filename).parts[-3:] == ("contrib", "auth", "admin.py")
        assert origin.function == "ModelAdmin GroupAdmin"
        assert "class GroupAdmin" in Path(origin.filename).read_text().splitlines()[origin.line - 1]


def test_a_graphql_field_is_its_resolver(client: Client) -> None:
    with capture_queries() as log:
        response = client.post(
            "/graphql", {"query": "{ books { title } }"}, content_type="application/json"
        )
    assert len(response.json()["data"]["books"]) == 6
    (origin,) = [query.origin for query in log]
    assert origin is not None
    assert (origin.filename, origin.line) == (str(HERE), line_of("resolver") - 1)
    assert origin.function == "resolver Query.books"


def test_what_djangos_middleware_asks_is_nobodys_line(staff: Client) -> None:
    """The session and the user are loaded for the request; no line of the project asked."""
    assert set(origins_of(staff, "/admin/corpus/author/", "accounts_customuser")) == {None}


def test_who_the_user_is_is_not_what_a_view_queries(staff: Client) -> None:
    """REST framework asks by code of its own, for every view alike."""
    (origin,) = origins_of(staff, "/generic", "accounts_customuser")
    assert origin is None or "site-packages" in origin.filename
    assert origin is None or origin.host is None


def test_the_way_to_a_query_ends_where_the_request_is_answered(rf: RequestFactory) -> None:
    view = OwnLine.as_view()
    with capture_queries() as log:
        view(rf.get("/"))
        view(rf.get("/"))
    first, second = (call_path(raw.trail) for raw in log.raw)
    assert first == second


def test_a_loop_around_requests_is_no_loop_of_the_views(client: Client) -> None:
    with capture_queries() as log:
        for _ in range(2):
            client.get("/mapped")
    findings = find_nplusone(log)
    assert findings
    for finding in findings:
        assert finding.fix is None or finding.fix.place is None or not finding.fix.in_loop


def test_what_is_looked_for_outwards_ends_where_the_request_is_answered(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names that refer to a row, loops and callers: none outside of the request is of its query."""
    met: list[str] = []
    exists = QuerySet.exists

    def look(queryset: Any) -> bool:
        met.extend(frame.f_code.co_name for frame in outward(sys._getframe()))
        return exists(queryset)

    monkeypatch.setattr(QuerySet, "exists", look)
    client.get("/line")
    assert met == ["look", "get"]
