"""Querysets that a framework evaluates: the class or function that gives them is named.

What is told to be written into a class is written into it, and must save what it says.
"""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

import graphene
import ninja
import pytest
import strawberry
from django.contrib.admin import AdminSite, ModelAdmin, TabularInline
from django.contrib.auth import get_user_model
from django.db import models
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path
from django.views.generic import ListView
from rest_framework import routers, serializers, viewsets

from django_querybudget import capture_queries
from django_querybudget.nplusone import Finding, find_nplusone
from django_querybudget.nplusone.rendering import render_findings

from .data import fill
from .models import Author, Book, Comment, Publisher, TitledBook, TitledReview

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]


class ByModel(ListView):  # type: ignore[type-arg]
    model = Book  # ByModel
    template_name = "corpus/books.html"
    context_object_name = "books"


class ByQueryset(ByModel):
    queryset = Book.objects.order_by("pk")  # ByQueryset


class ByMethod(ByModel):
    def get_queryset(self) -> QuerySet[Book]:
        return Book.objects.order_by("pk")  # ByMethod


# To mypy what a mixin without View among its bases has is another's than the list view's: [misc].
class Named:
    """What several lists share: none of its lines can be written for one of their models."""

    object_list: Any

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        names = [row.author.name for row in self.object_list]
        return super().get_context_data(names=names, **kwargs)  # type: ignore[misc,no-any-return]

    def render_to_response(self, context: dict[str, Any], **kwargs: Any) -> HttpResponse:
        return HttpResponse("\n".join(map(str, context["names"])))


class NamedByModel(Named, ListView):  # type: ignore[misc,type-arg]
    model = Book  # NamedByModel


class NamedByMethod(Named, ListView):  # type: ignore[misc,type-arg]
    model = Book

    def get_queryset(self) -> QuerySet[Book]:  # NamedByMethod
        return super().get_queryset().order_by("pk")  # type: ignore[no-any-return]


class NamedByQueryset(Named, ListView):  # type: ignore[misc,type-arg]
    queryset = Book.objects.order_by("pk")  # NamedByQueryset
    paginate_by = 4

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = ListView.get_context_data(self, **kwargs)
        return {**context, "names": [row.author.name for row in context["page_obj"]]}


class SameAsModel(NamedByModel):  # type: ignore[misc] # SameAsModel
    pass


class OfReviews(NamedByModel):  # type: ignore[misc]
    """Would be given books, had ``NamedByModel`` a ``queryset``."""

    model = TitledReview


class Counted(Named, ListView):  # type: ignore[misc,type-arg]
    model = Book  # Counted

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = ListView.get_context_data(self, **kwargs)
        return {**context, "names": [row.tags.count() for row in context["book_list"]]}


class OfOthers(Named, ListView):  # type: ignore[misc,type-arg]
    """Its rows are not the view's own."""

    model = Author

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        names = [row.author.name for row in books_in_order()]
        return ListView.get_context_data(self, names=names, **kwargs)


class BookAdmin(ModelAdmin):  # type: ignore[type-arg] # BookAdmin
    list_display = ("title", "by")

    def by(self, obj: Any) -> str:
        return str(obj.author.name)


class Books(TabularInline):  # type: ignore[type-arg] # Books
    model = Book
    extra = 0
    fields = ("title", "labels")
    readonly_fields = ("labels",)

    def labels(self, obj: Any) -> int:
        return int(obj.tags.count())


class WithInlines(ModelAdmin):  # type: ignore[type-arg]
    inlines = (Books,)


class Authors(TabularInline):  # type: ignore[type-arg] # Authors
    model = Author
    extra = 0
    fields = ("name", "taught_by")
    readonly_fields = ("taught_by",)

    def taught_by(self, obj: Any) -> str:
        return "" if obj.mentor is None else str(obj.mentor.name)


class PublisherAdmin(ModelAdmin):  # type: ignore[type-arg]
    inlines = (Authors,)


class CountingAdmin(WithInlines):  # CountingAdmin
    list_display = ("name", "total")

    def total(self, obj: Any) -> int:
        return int(obj.books.count())


class CommentAdmin(ModelAdmin):  # type: ignore[type-arg]
    list_display = ("text", "kind")

    def get_queryset(self, request: HttpRequest) -> Any:  # CommentAdmin
        return super().get_queryset(request).order_by("pk")

    def kind(self, obj: Any) -> str:
        return str(obj.about.title)


class ReviewAdmin(ModelAdmin):  # type: ignore[type-arg] # ReviewAdmin
    fields = ("book", "stars")

    def formfield_for_foreignkey(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        field = super().formfield_for_foreignkey(db_field, request, **kwargs)
        if db_field.name == "book" and "book" not in self.raw_id_fields:
            field.queryset = TitledBook.objects.all()
        return field


site = AdminSite(name="hosts_admin")
for model, admin in (
    (Book, BookAdmin),
    (Author, CountingAdmin),
    (Comment, CommentAdmin),
    (Publisher, PublisherAdmin),
    (TitledReview, ReviewAdmin),
):
    site.register(model, admin)


class BookSerializer(serializers.ModelSerializer[Book]):
    author = serializers.StringRelatedField()

    class Meta:
        model = Book
        fields: ClassVar = ["title", "author"]


class BookViewSet(viewsets.ModelViewSet[Book]):
    queryset = Book.objects.all()  # BookViewSet
    serializer_class = BookSerializer


class NewBookViewSet(BookViewSet):
    def get_queryset(self) -> QuerySet[Book]:  # NewBookViewSet
        return super().get_queryset().filter(status="new")


class AuthorOut(ninja.Schema):
    name: str


class BookOut(ninja.Schema):
    title: str
    author: AuthorOut


api = ninja.NinjaAPI(urls_namespace="hosts")


@api.get("/books", response=list[BookOut])
def operation(request: HttpRequest) -> Any:
    return Book.objects.order_by("pk")  # operation


def books_in_order() -> QuerySet[Book]:
    return Book.objects.order_by("pk")  # service


@api.get("/served", response=list[BookOut])
def served(request: HttpRequest) -> Any:
    return books_in_order()


@strawberry.type
class AuthorType:
    name: str


@strawberry.type
class BookType:
    title: str
    author: AuthorType


@strawberry.type
class Query:
    @strawberry.field
    def books(self) -> list[BookType]:
        return Book.objects.order_by("pk")  # type: ignore[return-value] # resolver


schema = strawberry.Schema(Query)


class AuthorNode(graphene.ObjectType):  # type: ignore[misc]
    name = graphene.String()


class BookNode(graphene.ObjectType):  # type: ignore[misc]
    title = graphene.String()
    author = graphene.Field(AuthorNode)


class GrapheneQuery(graphene.ObjectType):  # type: ignore[misc]
    books = graphene.List(BookNode)

    def resolve_books(self, info: Any) -> Any:
        return Book.objects.order_by("pk")  # resolve_books


def by_graphene(request: HttpRequest) -> HttpResponse:
    result = graphene.Schema(GrapheneQuery).execute("{ books { title author { name } } }")
    assert result.errors is None, result.errors
    return HttpResponse(str(result.data))


def graphql(request: HttpRequest) -> HttpResponse:
    result = schema.execute_sync("{ books { title author { name } } }")
    assert result.errors is None, result.errors
    return HttpResponse(str(result.data))


router = routers.SimpleRouter()
router.register("viewset", BookViewSet)
router.register("new", NewBookViewSet, basename="new")
urlpatterns = [
    path("model", ByModel.as_view()),
    path("queryset", ByQueryset.as_view()),
    path("method", ByMethod.as_view()),
    path("named/model", NamedByModel.as_view()),
    path("named/method", NamedByMethod.as_view()),
    path("named/queryset", NamedByQueryset.as_view()),
    path("named/same", SameAsModel.as_view()),
    path("named/counted", Counted.as_view()),
    path("named/others", OfOthers.as_view()),
    path("admin/", site.urls),
    path("api/", api.urls),
    path("graphql", graphql),
    path("graphene", by_graphene),
    *router.urls,
]


@pytest.fixture(autouse=True)
def _library(db: None) -> None:
    fill()


@pytest.fixture
def staff(db: None) -> Client:
    user_model: Any = get_user_model()
    name = user_model.USERNAME_FIELD
    user = user_model(**{name: "staff@example.org"}, is_staff=True, is_superuser=True)
    user.save()
    client = Client()
    client.force_login(user)
    return client


def _ask(client: Client, address: str) -> tuple[int, tuple[Finding, ...]]:
    author = Author.objects.earliest("pk")
    if author.books.count() == 1:
        for number in range(3):
            author.books.create(title=f"more {number}", isbn=f"more {number}")
    if "{publisher}" in address:
        Author.objects.update(publisher=author.publisher)
    address = address.format(author=author.pk, publisher=author.publisher_id)
    client.get(address)  # Content types are asked for once a process.
    with capture_queries() as log:
        response = client.get(address)
    assert response.status_code == 200, response
    assert response.content
    return log.count, find_nplusone(log)


def _line(marker: str) -> int:
    lines = inspect.getsource(inspect.getmodule(_line)).split("\n")  # type: ignore[arg-type]
    (found,) = [n for n, line in enumerate(lines, 1) if line.endswith(f"# {marker}")]
    return found


_JOIN = 'Book.objects.select_related("author")'
_PREFETCHED = (
    "def get_queryset(self, request):\n"
    '    return super().get_queryset(request).prefetch_related("books")'
)


@pytest.mark.parametrize(
    ("address", "code", "marker", "where"),
    [
        ("/model", f"queryset = {_JOIN}", "ByModel", "in the class at"),
        ("/queryset", _JOIN, "ByQueryset", ""),
        ("/method", _JOIN, "ByMethod", ""),
        ("/named/model", f"queryset = {_JOIN}", "NamedByModel", "in the class at"),
        ("/named/method", 'super().get_queryset().select_related("author")', "NamedByMethod", "at"),
        ("/named/queryset", _JOIN, "NamedByQueryset", ""),
        (
            "/named/same",
            f"queryset = {_JOIN}",
            "type: ignore[misc] # SameAsModel",
            "in the class at",
        ),
        (
            "/named/counted",
            'queryset = Book.objects.prefetch_related("tags")',
            "Counted",
            "in the class at",
        ),
        ("/named/others", _JOIN, "service", ""),
        ("/viewset/", _JOIN, "BookViewSet", ""),
        ("/new/", 'super().get_queryset().select_related("author")', "NewBookViewSet", "at"),
        ("/api/books", _JOIN, "operation", ""),
        ("/api/served", _JOIN, "service", ""),
        ("/graphql", _JOIN, "type: ignore[return-value] # resolver", ""),
        ("/graphene", _JOIN, "resolve_books", ""),
        (
            "/admin/corpus/book/",
            'list_select_related = ("author",)',
            "type: ignore[type-arg] # BookAdmin",
            "in the class at",
        ),
        (
            "/admin/corpus/author/",
            _PREFETCHED,
            "CountingAdmin",
            "in the class at",
        ),
        (
            "/admin/corpus/author/{author}/change/",
            _PREFETCHED.replace("books", "tags"),
            "type: ignore[type-arg] # Books",
            "in the class at",
        ),
        # An inline has no list_select_related.
        (
            "/admin/corpus/publisher/{publisher}/change/",
            _PREFETCHED.replace('prefetch_related("books")', 'select_related("mentor")'),
            "type: ignore[type-arg] # Authors",
            "in the class at",
        ),
        (
            "/admin/corpus/comment/",
            'super().get_queryset(request).prefetch_related("about")',
            "CommentAdmin",
            "at",
        ),
        (
            "/admin/corpus/titledreview/add/",
            'raw_id_fields = ("book",)  # or autocomplete_fields',
            "type: ignore[type-arg] # ReviewAdmin",
            "in the class at",
        ),
    ],
)
def test_what_gives_the_queryset_is_named(
    staff: Client, address: str, code: str, marker: str, where: str
) -> None:
    _, (finding,) = _ask(staff, address)
    fix = finding.fix
    assert fix is not None
    assert (fix.code, fix.where) == (code, where)
    assert fix.place is not None
    assert (fix.place.filename, fix.place.line) == (__file__, _line(marker))
    assert f"{where or 'at'} tests/nplusone/test_hosts.py" in "\n".join(render_findings([finding]))


@pytest.mark.parametrize(
    ("address", "owner"),
    [
        ("/model", ByModel),
        ("/named/model", NamedByModel),
        ("/named/same", SameAsModel),
        ("/named/counted", Counted),
        ("/admin/corpus/book/", BookAdmin),
        ("/admin/corpus/author/", CountingAdmin),
        ("/admin/corpus/author/{author}/change/", Books),
        ("/admin/corpus/publisher/{publisher}/change/", Authors),
        ("/admin/corpus/titledreview/add/", ReviewAdmin),
    ],
)
def test_what_is_written_into_the_class_saves_what_it_says(
    staff: Client, address: str, owner: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, (finding,) = _ask(staff, address)
    assert finding.fix is not None
    base = owner.__mro__[1]
    code = finding.fix.code.replace("super()", "super(owner, self)")
    written: dict[str, Any] = {}
    exec(code, {**globals(), "models": models, "owner": owner, "base": base}, written)  # noqa: S102 - the line under test is run
    for name, value in written.items():
        monkeypatch.setattr(owner, name, value, raising=False)
    after, findings = _ask(staff, address)
    assert findings == ()
    # Without its choices a form asks for none at all.
    assert before - after in (finding.saves, finding.saves + 1)
