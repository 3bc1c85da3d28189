"""What a server runs: no frame of the project around a late template, DEBUG off, the admin."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin import AdminSite, ModelAdmin, TabularInline
from django.contrib.auth import get_user_model
from django.db import connections
from django.http import HttpRequest, HttpResponse
from django.template import Context, Engine
from django.template.response import TemplateResponse
from django.test import Client, override_settings
from django.urls import path
from django.views.generic import DetailView, ListView, TemplateView

from django_querybudget import capture_queries
from django_querybudget.nplusone import Finding, find_nplusone
from django_querybudget.nplusone.rendering import render_findings
from django_querybudget.reports import QueryReport
from django_querybudget.signals import nplusone_found

from .data import fill
from .models import Author, Book, Publisher, Review

TEMPLATES = Path(__file__).parent / "templates" / "corpus"


class LateList(ListView):  # type: ignore[type-arg]
    queryset = Book.objects.order_by("pk")
    template_name = "corpus/books.html"
    context_object_name = "books"


class Front(TemplateView):
    template_name = "corpus/books.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        books = Book.objects.order_by("pk")  # root: front
        return super().get_context_data(books=books, number=Book.objects.count(), **kwargs)


class Later(Front):
    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(authors=Author.objects.all(), **kwargs)


class OfPublisher(DetailView):  # type: ignore[type-arg]
    model = Publisher
    template_name = "corpus/mentors.html"

    def get_queryset(self) -> Any:
        return super().get_queryset().order_by("pk")

    def get_object(self, queryset: Any = None) -> Any:
        return self.get_queryset()[0]

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        rows = self.object.authors.order_by("pk")  # root: of_publisher
        return super().get_context_data(authors=rows, **kwargs)


class Either(TemplateView):
    template_name = "corpus/books.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        books = Book.objects.all()
        if "new" in self.request.GET:
            books = Book.objects.filter(status="new")
        return super().get_context_data(books=books, **kwargs)


def late(request: HttpRequest) -> HttpResponse:
    return TemplateResponse(request, "corpus/books.html", {"books": Book.objects.all()})


def accepted(request: HttpRequest) -> HttpResponse:
    return TemplateResponse(request, "corpus/accepted.html", {"books": Book.objects.all()})


class Reviews(TabularInline):  # type: ignore[type-arg]
    model = Review
    extra = 0


class BookAdmin(ModelAdmin):  # type: ignore[type-arg]
    list_display = ("title", "written_by", "labels", "author")
    list_select_related = False
    inlines = (Reviews,)

    def written_by(self, obj: Any) -> str:
        return str(obj.author.name)

    def labels(self, obj: Any) -> int:
        return int(obj.tags.count())


site = AdminSite(name="corpus_admin")
site.register(Book, BookAdmin)
urlpatterns = [
    path("list", LateList.as_view()),
    path("front", Front.as_view()),
    path("later", Later.as_view()),
    path("publisher", OfPublisher.as_view()),
    path("either", Either.as_view()),
    path("late", late),
    path("accepted", accepted),
    path("admin/", site.urls),
]

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]


@pytest.fixture(autouse=True)
def _library(db: None) -> None:
    fill()


@pytest.fixture
def found() -> Iterator[list[Finding]]:
    heard: list[Finding] = []

    def hear(sender: Any, report: QueryReport, findings: Any, **kwargs: Any) -> None:
        heard.extend(findings)

    nplusone_found.connect(hear)
    yield heard
    nplusone_found.disconnect(hear)


def _ask(address: str) -> bytes:
    """Return what a server's thread answers: none of the project's frames calls the handler."""
    with override_settings(DEBUG=False), ThreadPoolExecutor(1) as executor:
        response = executor.submit(Client().get, address).result()
        executor.submit(connections.close_all).result()
    content: bytes = response.content
    return content


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("address", "filename", "line"),
    [
        # What the template iterates, where the class gives it; else there is the template alone.
        ("/list", __file__, inspect.getsourcelines(LateList)[1] + 1),
        ("/late", str(TEMPLATES / "books.html"), 5),
    ],
)
def test_a_template_rendered_after_its_view_is_named(
    address: str, filename: str, line: int, found: list[Finding]
) -> None:
    assert b"author 3" in _ask(address)
    (finding,) = found
    assert finding.relation == "Book.author"
    assert finding.origin is not None
    assert finding.origin.template == "corpus/books.html:5"
    assert (finding.origin.filename, finding.origin.line) == (filename, line)
    text = "\n".join(render_findings(found))
    assert "at corpus/books.html:5 (" in text
    assert 'Book.objects.select_related("author")' in text


def _marked(name: str) -> int:
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    (line,) = (number for number, text in enumerate(lines, 1) if text.endswith(f"# root: {name}"))
    return line


@pytest.mark.parametrize(
    ("address", "code", "name", "function"),
    [
        ("/front", 'Book.objects.select_related("author")', "front", "Front.get_context_data"),
        ("/later", 'Book.objects.select_related("author")', "front", "Front.get_context_data"),
        # The rows of its one object's relation, not of the view's own model.
        (
            "/publisher",
            'self.object.authors.select_related("mentor")',
            "of_publisher",
            "OfPublisher.get_context_data",
        ),
    ],
)
def test_what_a_views_context_holds_is_changed_in_the_method_that_makes_it(
    address: str, code: str, name: str, function: str, found: list[Finding]
) -> None:
    Author.objects.update(publisher=Publisher.objects.order_by("pk")[0])
    assert b"author 3" in Client().get(address).content
    assert [each.fix.code for each in found if each.fix is not None] == [code]
    (place,) = [each.fix.place for each in found if each.fix is not None]
    assert place is not None
    assert (place.filename, place.line, place.function) == (__file__, _marked(name), function)


def test_a_context_of_two_lines_is_told_of_neither(found: list[Finding]) -> None:
    Client().get("/either")
    (finding,) = found
    assert finding.fix is not None
    assert (finding.fix.code, finding.fix.built, finding.fix.where) == (
        'Book.objects.select_related("author")', False, "",
    )  # fmt: skip


@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.parametrize(
    ("name", "node"), [("books", "corpus/books.html:5"), ("authors", "corpus/_author.html:2")]
)
def test_a_line_of_a_template_is_named_whatever_debug_is(debug: bool, name: str, node: str) -> None:
    model: Any = {"books": Book, "authors": Author}[name]
    template = Engine(dirs=[TEMPLATES.parent], debug=debug).get_template(f"corpus/{name}.html")
    with capture_queries() as log:
        template.render(Context({name: model.objects.all()}))
    (finding,) = find_nplusone(log)
    assert finding.origin is not None
    assert finding.origin.template == node
    assert finding.origin.filename == __file__


@pytest.mark.django_db(transaction=True)
def test_a_comment_in_the_template_accepts_it(found: list[Finding]) -> None:
    assert b"author 3" in _ask("/accepted")
    assert found == []


def test_so_it_does_where_a_view_renders_it() -> None:
    template = Engine(dirs=[TEMPLATES.parent]).get_template("corpus/accepted.html")
    with capture_queries() as log:
        template.render(Context({"books": Book.objects.all()}))
    assert log.count == 7
    assert find_nplusone(log) == ()


@pytest.fixture
def staff(db: None) -> Client:
    model: Any = get_user_model()
    user = model(**{model.USERNAME_FIELD: "staff@example.org"}, is_staff=True, is_superuser=True)
    user.save()
    client = Client()
    client.force_login(user)
    return client


def test_a_changelist(staff: Client, found: list[Finding]) -> None:
    assert staff.get("/admin/corpus/book/").status_code == 200
    assert {(each.relation, each.operation, each.use) for each in found} == {
        ("Book.tags", "count", None),
    }
    (fix,) = {each.fix for each in found}
    assert fix is not None
    assert fix.code == (  # count() reads it as it stands.
        "def get_queryset(self, request):\n"
        '    return super().get_queryset(request).prefetch_related("tags")'
    )
    assert fix.place is not None
    assert fix.place.function == "ModelAdmin BookAdmin"


def test_a_change_form_with_an_inline(staff: Client, found: list[Finding]) -> None:
    book = Book.objects.earliest("pk")
    assert staff.get(f"/admin/corpus/book/{book.pk}/change/").status_code == 200
    assert found == []
