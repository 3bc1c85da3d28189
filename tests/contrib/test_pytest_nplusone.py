"""What pytest shows of an N+1, in a suite of its own."""

from __future__ import annotations

import pytest

from tests.ratchet.project import Project

pytestmark = pytest.mark.once

MODELS = """
from django.db import models

class Author(models.Model):
    name = models.CharField(max_length=20)

class Book(models.Model):
    author = models.ForeignKey(Author, models.CASCADE)
"""
URLS = """
from django.http import HttpResponse
from django.urls import path
from host.models import Book

def books(request):
    rows = Book.objects.all()
    return HttpResponse("".join(book.author.name for book in rows))

urlpatterns = [path("books", books, name="books")]
"""
TESTS = """
import pytest
from host.models import Author, Book

@pytest.fixture(autouse=True)
def rows(db):
    for number in range(4):
        Book.objects.create(author=Author.objects.create(name=str(number)))

def test_books(client):
    client.get("/books")

def test_books_again(client, assert_max_queries):
    with assert_max_queries(2):
        client.get("/books")
"""


def write(project: Project, reaction: str) -> None:
    host = project.folder / "host"
    settings = host / "settings.py"
    settings.write_text(
        f"{settings.read_text()}\nQUERYBUDGET = {{'NPLUSONE': {reaction!r}}}\n"
        "MIDDLEWARE = ['django_querybudget.middleware.QueryBudgetMiddleware']\n"
        "DEFAULT_AUTO_FIELD = 'django.db.models.BigAutoField'\n"
    )
    (host / "models.py").write_text(MODELS)
    (host / "urls.py").write_text(URLS)
    (host / "test_views.py").write_text(TESTS)


def test_the_failure_has_the_line_and_what_to_write(project: Project) -> None:
    write(project, "raise")
    status, text = project.pytest("-k", "test_books and not again")
    assert status == 1, text
    shown = [line.removeprefix("E").strip() for line in text.splitlines()]
    assert "4 queries load Book.author row by row" in shown, text
    assert "at host/urls.py:8 in books.<locals>.<genexpr>" in shown, text
    assert "Write, at host/urls.py:7 in books (saves 4 queries):" in shown, text
    assert 'Book.objects.select_related("author")' in shown, text
    assert any("NPlusOneError" in line for line in shown)


def test_a_budget_that_is_exceeded_says_it_too(project: Project) -> None:
    write(project, "off")
    status, text = project.pytest("-k", "again")
    assert status == 1, text
    assert "QueryBudgetExceeded" in text
    write(project, "log")
    status, text = project.pytest("-k", "again")
    assert status == 1, text
    assert "at host/urls.py:8 in books.<locals>.<genexpr>" in text
    assert 'Book.objects.select_related("author")' in text


def test_a_suite_that_only_logs_passes(project: Project) -> None:
    write(project, "log")
    status, text = project.pytest("-k", "not again")
    assert status == 0, text


def test_a_marked_test_is_held_to_its_own_threshold_whatever_the_setting(project: Project) -> None:
    write(project, "off")
    tests = project.folder / "host" / "test_views.py"
    tests.write_text(
        f"{tests.read_text()}\n@pytest.mark.query_budget(nplusone=2)\ndef test_marked():\n"
        "    [book.author for book in Book.objects.all()]\n"
    )
    status, text = project.pytest("-k", "marked")
    assert status == 1, text
    assert "test_marked: N+1 queries" in text
    assert 'Book.objects.select_related("author")' in text
    line = tests.read_text().splitlines().index("@pytest.mark.query_budget(nplusone=2)") + 1
    assert f"host/test_views.py:{line}: in test_marked" in text


def test_a_recorded_run_names_the_lists_that_were_too_short_to_show_a_loop(
    project: Project,
) -> None:
    write(project, "log")
    tests = project.folder / "host" / "test_views.py"
    few = tests.read_text().replace("range(4)", "range(2)")
    tests.write_text(few)
    said = (
        "1 list view was only ever tested with fewer than 3 rows, which shows no loop: "
        "GET books 2xx"
    )
    status, text = project.pytest("--querybudget=record", "-k", "test_books and not again")
    assert status == 0, text
    assert said in text
    tests.write_text(few.replace("range(2)", "range(3)"))
    status, text = project.pytest("--querybudget=record", "-k", "test_books and not again")
    assert status == 0, text
    assert "only ever tested" not in text
