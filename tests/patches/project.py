"""A project in the styles of real ones, as text: each view has one loop, and one test.

Written to a folder by :func:`write_project`. Its files have what files have: Windows' line ends,
tabs, another encoding than UTF-8.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

__all__ = ["FILES", "STYLES", "commit", "contents", "git", "stand_in", "write_project"]

MANAGE = """\
import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
"""
SETTINGS = """\
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent
SECRET_KEY = "of-a-project-that-lives-for-a-test"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "rest_framework",
    "django_querybudget",
    "shop",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
ROOT_URLCONF = "site_urls"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "db.sqlite3"}}
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STATIC_URL = "static/"
"""
MODELS = """\
from django.conf import settings
from django.db import models


class Publisher(models.Model):
    name = models.CharField(max_length=80)


class Author(models.Model):
    name = models.CharField(max_length=80)
    publisher = models.ForeignKey(Publisher, models.CASCADE, related_name="authors")

    class Meta:
        ordering = ["pk"]

    def __str__(self):
        return self.name

    @property
    def number_of_books(self):
        return self.books.count()


class Tag(models.Model):
    name = models.CharField(max_length=80)


class BookManager(models.Manager):
    def shown(self):
        return self.filter(status="shown")


class BookQuerySet(models.QuerySet):
    def newest(self):
        return self.order_by("-pk")


class Book(models.Model):
    title = models.CharField(max_length=80)
    status = models.CharField(max_length=20, default="shown")
    author = models.ForeignKey(Author, models.CASCADE, related_name="books")
    tags = models.ManyToManyField(Tag, related_name="books")

    objects = BookManager.from_queryset(BookQuerySet)()

    def __str__(self):
        return self.title

    @property
    def author_name(self):
        return self.author.name


class Review(models.Model):
    book = models.ForeignKey(Book, models.CASCADE, related_name="reviews")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)
    stars = models.IntegerField()

    class Meta:
        ordering = ["pk"]
"""
SERVICES = """\
from shop.models import Author, Book


def shown_books():
    return Book.objects.filter(status="shown").order_by("pk")


def titles_by_author():
    return {book.title: book.author.name for book in Book.objects.order_by("pk")}


class Catalogue:
    def __init__(self, status):
        self.status = status

    def rows(self):
        for book in Book.objects.filter(status=self.status).order_by("pk"):
            yield [book.title, book.author.publisher.name]


def authors_of(publisher):
    return [(author.name, author.publisher.name) for author in publisher.authors.all()]


def add_tags(names):
    for name in names:
        Tag.objects.create(name=name)


def close_all():
    books = list(Book.objects.order_by("pk"))
    for book in books:
        book.status = "closed"
        book.save(update_fields=["status"])


def drop_tags():
    for tag in Tag.objects.all():
        tag.delete()


from shop.models import Tag  # noqa: E402
"""
VIEWS = """\
from django.core.paginator import Paginator
from django.db.models import Prefetch
from django.http import JsonResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.generic import ListView

from shop import services
from shop.models import Author, Book, Publisher, Review, Tag


def answer(rows):
    return JsonResponse({"rows": list(rows)})


def plain_loop(request):
    rows = []
    for book in Book.objects.order_by("pk"):
        rows.append([book.title, book.author.name])
    return answer(rows)


def comprehension(request):
    return answer([book.author.name for book in Book.objects.order_by("pk")])


def two_relations_deep(request):
    books = Book.objects.filter(status="shown").order_by("pk")
    return answer({"title": book.title, "by": book.author.publisher.name} for book in books)


def managers_method(request):
    return answer([book.author.name for book in Book.objects.shown().order_by("pk")])


def querysets_method(request):
    books = Book.objects.newest()
    return answer([book.author.name for book in books])


def in_a_service(request):
    return answer(services.titles_by_author().items())


def from_a_service(request):
    return answer([book.author.name for book in services.shown_books()])


def in_a_class(request):
    return answer(services.Catalogue("shown").rows())


def of_a_row(request):
    publisher = Publisher.objects.get(pk=request.GET["pk"])
    return answer([book.author.name for book in Book.objects.filter(author__publisher=publisher)])


def paginated(request):
    page = Paginator(Book.objects.order_by("pk"), 10).page(1)
    return answer([book.author.name for book in page])


def sliced(request):
    newest = Book.objects.order_by("-pk")[:5]
    return answer([book.author.name for book in newest])


def in_a_property(request):
    return answer([book.author_name for book in Book.objects.order_by("pk")])


def many(request):
    return answer([[tag.name for tag in book.tags.all()] for book in Book.objects.order_by("pk")])


def many_below_many(request):
    rows = []
    for author in Author.objects.all():
        for book in author.books.all():
            rows.append([book.title, len(book.reviews.all())])
    return answer(rows)


def counted(request):
    return answer([[book.title, book.reviews.count()] for book in Book.objects.order_by("pk")])


def counted_in_a_property(request):
    return answer([author.number_of_books for author in Author.objects.all()])


def of_the_user(request):
    rows = []
    for book in Book.objects.order_by("pk"):
        rows.append([book.title, book.reviews.filter(user=request.user).exists()])
    return answer(rows)


def of_a_user_in_a_name(request):
    user = request.user
    books = Book.objects.order_by("pk")
    return answer([book.reviews.filter(user=user).exists() for book in books])


def chosen(request):
    rows = []
    for book in Book.objects.order_by("pk"):
        rows.append([review.stars for review in book.reviews.filter(stars=5)])
    return answer(rows)


def bypassed(request):
    books = Book.objects.order_by("pk").prefetch_related("reviews")
    return answer([book.reviews.filter(stars=5).count() for book in books])


def only(request):
    return answer([[book.title, book.status] for book in Book.objects.only("title").order_by("pk")])


def deferred(request):
    books = Book.objects.defer("status").order_by("pk")
    return answer([[book.title, book.status] for book in books])


def with_a_prefetch(request):
    authors = Author.objects.prefetch_related(
        Prefetch("books", queryset=Book.objects.order_by("-pk"))
    )
    return answer([[author.publisher.name, len(author.books.all())] for author in authors])


def grouped(request):
    rows, names = Book.objects.filter(pk__gt=0), ("shown", "closed", "new")
    return answer({name: rows.filter(status=name).count() for name in names}.items())


def streamed(request):
    def lines():
        for book in Book.objects.order_by("pk"):
            yield f"{book.title}: {book.author.name}\\n"

    return StreamingHttpResponse(lines())


def in_a_template(request):
    return render(request, "shop/books.html", {"books": Book.objects.order_by("pk")})


def many_in_a_template(request):
    books = Book.objects.order_by("pk")
    return render(request, "shop/tags.html", {"books": books})


def creates(request):
    services.add_tags(["a", "b", "c", "d"])
    return answer(Tag.objects.order_by("pk").values_list("name", flat=True))


def saves(request):
    services.close_all()
    return answer(Book.objects.order_by("pk").values_list("status", flat=True))


def deletes(request):
    services.drop_tags()
    return answer([Tag.objects.count()])


async def counted_async(request):
    rows = []
    async for author in Author.objects.all():
        rows.append(await author.books.acount())
    return answer(rows)


class WithModel(ListView):
    model = Book
    template_name = "shop/list.html"
    ordering = "pk"


class WithQueryset(ListView):
    queryset = Book.objects.order_by("pk")
    template_name = "shop/list.html"


class OfStatus:
    status = "shown"

    def get_queryset(self):
        return super().get_queryset().filter(status=self.status)


class WithMixin(OfStatus, ListView):
    model = Book
    template_name = "shop/list.html"
    ordering = ["pk"]


class WithMethod(ListView):
    template_name = "shop/list.html"

    def get_queryset(self):
        return Book.objects.filter(status="shown").order_by("pk")
"""
API = """\
from ninja import NinjaAPI, Schema
from rest_framework import serializers, viewsets
from rest_framework.decorators import api_view
from rest_framework.response import Response

from shop.models import Author, Book


class AuthorSerializer(serializers.ModelSerializer):
    class Meta:
        model = Author
        fields = ["name"]


class BookSerializer(serializers.ModelSerializer):
    author = AuthorSerializer()

    class Meta:
        model = Book
        fields = ["title", "author"]


class CountingSerializer(serializers.ModelSerializer):
    books = serializers.SerializerMethodField()

    class Meta:
        model = Author
        fields = ["name", "books"]

    def get_books(self, author):
        return [book.title for book in author.books.all()]


class BookViewSet(viewsets.ReadOnlyModelViewSet):
    queryset = Book.objects.order_by("pk")
    serializer_class = BookSerializer


class ShownViewSet(viewsets.ReadOnlyModelViewSet):
    serializer_class = BookSerializer

    def get_queryset(self):
        return Book.objects.filter(status="shown").order_by("pk")


class AuthorViewSet(viewsets.ReadOnlyModelViewSet):
    queryset = Author.objects.all()
    serializer_class = CountingSerializer


@api_view()
def books(request):
    return Response(BookSerializer(Book.objects.order_by("pk"), many=True).data)


class AuthorOut(Schema):
    name: str


class BookOut(Schema):
    title: str
    author: AuthorOut


api = NinjaAPI()


@api.get("/books", response=list[BookOut], url_name="ninja_books")
def ninja_books(request):
    return Book.objects.order_by("pk")


@api.get("/shown", response=list[BookOut], url_name="ninja_shown")
def ninja_shown(request):
    books = Book.objects.filter(status="shown")
    return books.order_by("pk")
"""
ADMIN = """\
from django.contrib import admin

from shop.models import Author, Book, Review


@admin.register(Book)
class BookAdmin(admin.ModelAdmin):
    list_display = ["title", "written_by"]

    def written_by(self, book):
        return book.author.name


@admin.register(Review)
class ReviewAdmin(admin.ModelAdmin):
    list_display = ["stars", "by"]
    list_select_related = ["book"]

    def by(self, review):
        return f"{review.user.username} on {review.book.title}"


@admin.register(Author)
class AuthorAdmin(admin.ModelAdmin):
    list_display = ["name", "shown_books"]

    def shown_books(self, author):
        return ", ".join(book.title for book in author.books.all())
"""
URLS = """\
from django.contrib import admin
from django.urls import include, path
from rest_framework.routers import SimpleRouter

from shop import api, odd_crlf, odd_latin, odd_tabs, views

router = SimpleRouter()
router.register("drf/books", api.BookViewSet, "drf-books")
router.register("drf/shown", api.ShownViewSet, "drf-shown")
router.register("drf/authors", api.AuthorViewSet, "drf-authors")
FUNCTIONS = [
    each
    for module in (views, odd_crlf, odd_latin, odd_tabs)
    for each in vars(module).values()
    if getattr(each, "__module__", "") == module.__name__ and getattr(each, "__code__", None)
    if "request" in each.__code__.co_varnames[:1]
]
urlpatterns = [
    path("admin/", admin.site.urls),
    path("ninja/", api.api.urls),
    path("drf/function", api.books, name="drf-function"),
    path("", include(router.urls)),
    *[path(each.__name__, each, name=each.__name__) for each in FUNCTIONS],
    path("with_model", views.WithModel.as_view(), name="with_model"),
    path("with_queryset", views.WithQueryset.as_view(), name="with_queryset"),
    path("with_mixin", views.WithMixin.as_view(), name="with_mixin"),
    path("with_method", views.WithMethod.as_view(), name="with_method"),
]
"""
TESTS = """\
from django.contrib.auth.models import User
from django.test import TestCase

from shop.models import Author, Book, Publisher, Review, Tag


class Tests(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.user = User.objects.create_superuser("ann", "ann@example.com", "x")
        users = [cls.user, User.objects.create_user("bob")]
        for number in range(6):
            publisher = Publisher.objects.create(name=f"publisher {number}")
            author = Author.objects.create(name=f"author {number}", publisher=publisher)
            status = "closed" if number == 3 else "shown"
            book = Book.objects.create(title=f"book {number}", author=author, status=status)
            book.tags.add(*[Tag.objects.create(name=f"tag {number} {each}") for each in range(2)])
            Review.objects.create(book=book, user=users[number % 2], stars=5 - number % 3)
            Review.objects.create(book=book, user=users[0], stars=1)

    def ask(self, path):
        self.client.force_login(self.user)
        response = self.client.get(path)
        self.assertEqual(response.status_code, 200)
        if response.streaming:
            self.assertTrue(list(response))
"""

STYLES = {
    "plain_loop": "/plain_loop",
    "comprehension": "/comprehension",
    "two_relations_deep": "/two_relations_deep",
    "managers_method": "/managers_method",
    "querysets_method": "/querysets_method",
    "in_a_service": "/in_a_service",
    "from_a_service": "/from_a_service",
    "in_a_class": "/in_a_class",
    "paginated": "/paginated",
    "sliced": "/sliced",
    "in_a_property": "/in_a_property",
    "many": "/many",
    "many_below_many": "/many_below_many",
    "counted": "/counted",
    "counted_in_a_property": "/counted_in_a_property",
    "of_the_user": "/of_the_user",
    "of_a_user_in_a_name": "/of_a_user_in_a_name",
    "chosen": "/chosen",
    "bypassed": "/bypassed",
    "only": "/only",
    "deferred": "/deferred",
    "with_a_prefetch": "/with_a_prefetch",
    "grouped": "/grouped",
    "streamed": "/streamed",
    "in_a_template": "/in_a_template",
    "many_in_a_template": "/many_in_a_template",
    "creates": "/creates",
    "saves": "/saves",
    "deletes": "/deletes",
    "counted_async": "/counted_async",
    "with_model": "/with_model",
    "with_queryset": "/with_queryset",
    "with_mixin": "/with_mixin",
    "with_method": "/with_method",
    "drf_queryset": "/drf/books/",
    "drf_get_queryset": "/drf/shown/",
    "drf_method_field": "/drf/authors/",
    "drf_function": "/drf/function",
    "ninja_books": "/ninja/books",
    "ninja_shown": "/ninja/shown",
    "admin_list": "/admin/shop/book/",
    "admin_joined": "/admin/shop/review/",
    "admin_many": "/admin/shop/author/",
    "windows_lines": "/windows_lines",
    "latin": "/latin",
    "tabs": "/tabs",
}
"""The view of each style, by the name of its test."""

FILES: dict[str, str] = {
    "manage.py": MANAGE,
    "site_settings.py": SETTINGS,
    "site_urls.py": URLS,
    "shop/__init__.py": "",
    "shop/models.py": MODELS,
    "shop/services.py": SERVICES,
    "shop/views.py": VIEWS,
    "shop/api.py": API,
    "shop/admin.py": ADMIN,
    "shop/templates/shop/books.html": (
        "{% for book in books %}{{ book.title }}: {{ book.author.name }}\n{% endfor %}"
    ),
    "shop/templates/shop/list.html": (
        "{% for book in object_list %}{{ book.title }}: {{ book.author.name }}\n{% endfor %}"
    ),
    "shop/templates/shop/tags.html": (
        "{% for book in books %}{% for tag in book.tags.all %}{{ tag.name }},{% endfor %}"
        "\n{% endfor %}"
    ),
}
ODD = '''\
from django.http import JsonResponse

from shop.models import Book


def {name}(request):
    """Größe, naïve."""
    rows = []
    for book in Book.objects.order_by("pk"):  # für alle
        rows.append([book.title, "ä", book.author.name])
    return JsonResponse({{"rows": rows}})
'''


def tests_of(styles: dict[str, str]) -> str:
    """Return the text of a suite with one test for each style."""
    methods = (
        f'\n    def test_{name}(self):\n        self.ask("{path}")\n'
        for name, path in styles.items()
    )
    return TESTS + "".join(methods)


def write_project(folder: Path, styles: dict[str, str] = STYLES) -> None:
    """Write the project, with the tests of some of its styles."""
    for name, text in {**FILES, "shop/tests.py": tests_of(styles)}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    shop = folder / "shop"
    crlf = ODD.format(name="windows_lines").replace("\n", "\r\n")
    (shop / "odd_crlf.py").write_bytes(crlf.encode())
    latin = f"# -*- coding: latin-1 -*-\n{ODD.format(name='latin')}"
    (shop / "odd_latin.py").write_bytes(latin.encode("latin-1"))
    tabs = ODD.format(name="tabs").replace("    ", "\t")
    (shop / "odd_tabs.py").write_bytes(b"\xef\xbb\xbf" + tabs.encode())


def commit(folder: Path, ignored: str = "*.sqlite3\n__pycache__/\n") -> None:
    """Make the folder a git repository with all of it committed."""
    (folder / ".gitignore").write_text(ignored, encoding="utf-8")
    who = ["-c", "user.name=A", "-c", "user.email=a@example.com"]
    for command in (["init", "-q"], ["add", "-A"], [*who, "commit", "-qm", "All"]):
        git(folder, *command)


def git(folder: Path, *arguments: str) -> str:
    """Return what git says."""
    done = subprocess.run(
        ["git", *arguments],  # noqa: S607 - the developer's own git
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return done.stdout.decode()


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files by their paths, without git's own."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".git" not in path.parts
    }


def stand_in(folder: Path, settings: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process be where a person calls ``fix``: in the project, its settings chosen."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", settings)
    # This process has modules of the repository, which a person's has not.
    paths = [str(Path(__file__).parents[2]), str(folder.parent)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each])
