"""How many rows a scope's lists had: what fixtures of one or two rows cannot show."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client, override_settings
from django.urls import path

from django_querybudget import capture_queries
from django_querybudget.nplusone.rows import most_rows
from django_querybudget.ratchet import collecting
from django_querybudget.ratchet.text import few_rows

from .data import fill
from .models import Author, Book

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]


def listed(request: HttpRequest) -> HttpResponse:
    books = Book.objects.filter(title__lt=request.GET["before"])
    return HttpResponse(", ".join(book.author.name for book in books))


def one(request: HttpRequest) -> HttpResponse:
    return HttpResponse(Book.objects.get(isbn=request.GET["isbn"]).title)


def deactivate(request: HttpRequest) -> HttpResponse:
    books = list(Book.objects.filter(title__lt="book 2"))
    return HttpResponse(", ".join(book.author.name for book in books))


urlpatterns = [
    path("deactivate", deactivate),
    path("listed", listed, name="listed"),
    path("one", one, name="one"),
]


@pytest.fixture(autouse=True)
def _library(db: None) -> None:
    fill()


def test_the_rows_of_a_list_that_is_alive_when_a_later_query_runs() -> None:
    with capture_queries() as log:
        books = Book.objects.all()[:4]
        assert len(books) == 4
        assert Author.objects.get(name="author 1")
        del books
    assert most_rows(log) == 4


def test_one_row_that_is_asked_for_is_no_list() -> None:
    with capture_queries() as log:
        assert Book.objects.get(isbn="isbn-1")
        assert Book.objects.order_by("pk").first()
        assert Book.objects.order_by("pk")[0]
    assert most_rows(log) is None


def test_what_is_gone_is_not_said_to_be_few() -> None:
    with capture_queries() as log:
        for book in Book.objects.all()[:1]:
            assert book.title
    assert most_rows(log) is None


@override_settings(QUERYBUDGET={"NPLUSONE": "off"})
def test_without_causes_nothing_is_known() -> None:
    with capture_queries() as log:
        books = list(Book.objects.all())
        assert books
    assert most_rows(log) is None


def test_list_views_of_few_rows_are_named(client: Client, tmp_path: Path) -> None:
    collecting.start(tmp_path)
    try:
        client.get("/listed", {"before": "book 2"})
        client.get("/one", {"isbn": "isbn-1"})
        client.post("/deactivate")
        few = collecting.views_of_few_rows(tmp_path, 3)
        assert [name for _, name in few] == ["GET listed 2xx"]
        assert few_rows(few, 3) == (
            "1 list view was only ever tested with fewer than 3 rows, which shows no loop: "
            "GET listed 2xx"
        )
        client.get("/listed", {"before": "book 4"})
        assert collecting.views_of_few_rows(tmp_path, 3) == []
    finally:
        collecting.stop()
