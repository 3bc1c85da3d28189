"""Projects of strangers, in folders: none of them has this library in its settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.core.management import call_command

from tests.ratchet.project import run_python

MODELS = """
from django.contrib.auth.models import User
from django.db import models

class Author(models.Model):
    name = models.CharField(max_length=50, unique=True)

class Book(models.Model):
    title = models.CharField(max_length=50)
    slug = models.SlugField(unique=True)
    author = models.ForeignKey(Author, models.CASCADE)

    class Meta:
        indexes = [models.Index(fields=["author"], name="book_author_again")]

class Shelf(models.Model):
    user = models.OneToOneField(User, models.CASCADE)
    room = models.CharField(max_length=20)

class Sign(models.Model):
    room = models.BooleanField(unique=True)
"""
VIEWS = """
from django.http import JsonResponse
from django.urls import path
from .models import Book, Shelf, Sign

def books(request):
    found = Book.objects.filter(title__gte="b").order_by("title")
    return JsonResponse({"books": [[book.title, book.author.name] for book in found]})

def shelves(request):
    return JsonResponse({"users": [shelf.user.username for shelf in Shelf.objects.all()]})

def signs(request):
    return JsonResponse({"rooms": [sign.room for sign in Sign.objects.all()]})

urlpatterns = [
    path("books/", books, name="books"),
    path("shelves/", shelves, name="shelves"),
    path("signs/", signs, name="signs"),
]
"""
TESTS = """
from django.conf import settings
from django.contrib.auth.models import User
from django.test import TestCase, override_settings
from .models import Author, Book, Shelf, Sign

class BookTests(TestCase):
    @classmethod
    def setUpTestData(cls):
        for number in range(5):
            author = Author.objects.create(name=f"author {number}")
            Book.objects.create(title=f"book {number}", slug=f"book-{number}", author=author)

    def test_books(self):
        response = self.client.get("/books/")
        self.assertEqual(len(response.json()["books"]), 5)
        self.assertNotIn("X-Query-Count", response)

class ShelfTests(TestCase):
    def test_shelves(self):
        Shelf.objects.create(user=User.objects.create(username="reader"), room="attic")
        with override_settings(MIDDLEWARE=["django.middleware.common.CommonMiddleware"]):
            self.assertEqual(self.client.get("/shelves/").json(), {"users": ["reader"]})
        self.assertEqual(list(Shelf.objects.filter(room="cellar")), [])  # no view asks that

    def test_signs(self):
        Sign.objects.create(room=True)
        self.assertEqual(self.client.get("/signs/").json(), {"rooms": [True]})
"""
PLAIN_SETTINGS = """
SECRET_KEY = "a stranger's"
ROOT_URLCONF = "shop.views"
INSTALLED_APPS = ("django.contrib.auth", "django.contrib.contenttypes", "shop")
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
MIDDLEWARE = ()
USE_TZ = True
"""


class StrangersProject:
    """A folder with the app ``shop``, and what it is run by."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("shop/__init__.py", "")
        self.write("shop/models.py", MODELS)
        self.write("shop/views.py", VIEWS)
        self.write("shop/tests.py", TESTS)

    def write(self, name: str, text: str) -> None:
        """Write a file of the project."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def start(self) -> None:
        """Make it a project as ``startproject`` does."""
        call_command("startproject", "mysite", str(self.folder))
        settings = self.folder / "mysite" / "settings.py"
        text = settings.read_text().replace("INSTALLED_APPS = [", 'INSTALLED_APPS = ["shop", ')
        settings.write_text(text.replace("mysite.urls", "shop.views"))

    def try_(self, *arguments: str, **variables: str) -> tuple[int, str, dict[str, Any]]:
        """Try it; return the exit status, all that was printed, and the JSON."""
        before = self.files()
        document = self.folder.parent / f"{self.folder.name}.json"
        document.unlink(missing_ok=True)
        status, text = run_python(
            self.folder, "-m", "django_querybudget", "try", f"--json={document}", *arguments,
            **variables,
        )  # fmt: skip
        assert self.files() == before
        data = json.loads(document.read_text(encoding="utf-8")) if document.exists() else {}
        return status, text, data

    def files(self) -> dict[str, bytes]:
        """Return all of the project's files."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in self.folder.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
