"""A small project, quick to start, that has what is hard to patch: :func:`write_small`."""

from __future__ import annotations

from pathlib import Path

from django_querybudget.patches.fixing import Wanted, fix
from django_querybudget.patches.rehearsals import Suite

from .project import commit

__all__ = ["Told", "write_small"]

_SETTINGS = """\
from pathlib import Path

SECRET_KEY = "of-a-project-that-lives-for-a-test"
INSTALLED_APPS = ["django_querybudget", "shop"]
ROOT_URLCONF = "shop.urls"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
"""
_MANAGE = """\
import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "small_settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
"""
_MODELS = """\
from django.db import models


class Author(models.Model):
    name = models.CharField(max_length=80)


class Book(models.Model):
    title = models.CharField(max_length=80)
    author = models.ForeignKey(Author, models.CASCADE, related_name="books")


class Review(models.Model):
    book = models.ForeignKey(Book, models.CASCADE, related_name="reviews")


class Tag(models.Model):
    book = models.ForeignKey(Book, models.CASCADE, related_name="tags")
"""
ODD = """\
# -*- coding: latin-1 -*-
from django.http import JsonResponse

from shop.models import Book


def odd(request):
    \"\"\"Größe.\"\"\"
    rows = []
    for book in Book.objects.order_by("pk"):  # für alle
        rows.append([book.title, "ä", book.author.name, book.reviews.count(), book.tags.count()])
    return JsonResponse({"rows": rows})
"""
_VIEWS = """\
import uuid

import outside
from django.http import JsonResponse

from shop.models import Book

namespace = {"Book": Book}
exec("def names():\\n    return [book.author.name for book in Book.objects.all()]", namespace)


def generated(request):
    return JsonResponse({"rows": namespace["names"]()})


def elsewhere(request):
    return JsonResponse({"rows": outside.names(Book)})


def read(request):
    names = [book.author.name for book in Book.objects.all()]
    return JsonResponse({"id": str(uuid.uuid4()), "names": names})


def vain(request):
    books = Book.objects.select_related("author").prefetch_related("tags", "reviews")
    return JsonResponse({"rows": [[book.title, len(book.reviews.all())] for book in books]})


def joined():
    return Book.objects.select_related("author").order_by("pk")


def titles(request):
    return JsonResponse({"rows": [book.title for book in joined()]})


def authors(request):
    return JsonResponse({"rows": [book.author.name for book in joined()]})
"""
OUTSIDE = """\
def names(model):
    return [book.author.name for book in model.objects.all()]
"""
_URLS = """\
from django.urls import path

from shop import odd, views

urlpatterns = [
    path("odd", odd.odd, name="odd"),
    path("generated", views.generated, name="generated"),
    path("elsewhere", views.elsewhere, name="elsewhere"),
    path("read", views.read, name="read"),
    path("vain", views.vain, name="vain"),
    path("titles", views.titles, name="titles"),
    path("authors", views.authors, name="authors"),
]
"""
TESTS = """\
from django.test import TestCase

from shop.models import Author, Book


class Tests(TestCase):
    def setUp(self):
        for number in range(4):
            author = Author.objects.create(name=f"author {number}")
            book = Book.objects.create(title=f"book {number}", author=author)
            book.reviews.create()
            book.tags.create()

    def test_all(self):
        for name in ("odd", "generated", "elsewhere", "read", "vain", "titles", "authors"):
            self.assertEqual(self.client.get(f"/{name}").status_code, 200)
"""


def write_small(folder: Path) -> None:
    """Write the project to ``folder``, all of it committed; a module that it uses stands above."""
    shop = folder / "shop"
    shop.mkdir(parents=True)
    files = {"models": _MODELS, "views": _VIEWS, "urls": _URLS, "tests": TESTS, "__init__": ""}
    for name, text in files.items():
        (shop / f"{name}.py").write_text(text, encoding="utf-8")
    odd = ODD.replace("    ", "\t").replace("\n", "\r\n")
    (shop / "odd.py").write_bytes(odd.encode("latin-1"))
    (folder / "small_settings.py").write_text(_SETTINGS, encoding="utf-8")
    (folder / "manage.py").write_text(_MANAGE, encoding="utf-8")
    (folder.parent / "outside.py").write_text(OUTSIDE, encoding="utf-8")
    commit(folder)


class Told:
    """What ``fix`` said, and how it ended."""

    def __init__(self, wanted: Wanted) -> None:
        self.out: list[str] = []
        self.err: list[str] = []
        suite = Suite("test", (), (str(Path("manage.py").resolve()),))
        self.status = fix(suite, wanted, out=self.out.append, err=self.err.append)

    @property
    def text(self) -> str:
        return "\n".join(self.out)
