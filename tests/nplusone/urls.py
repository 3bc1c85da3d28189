"""Views with and without N+1 queries, for the reactions to them."""

from __future__ import annotations

from collections.abc import Iterator

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path

from django_querybudget import query_budget

from .models import Book, Setting


def naive(request: HttpRequest) -> HttpResponse:
    del request
    return HttpResponse(", ".join(book.author.name for book in Book.objects.all()))


def clean(request: HttpRequest) -> HttpResponse:
    del request
    books = Book.objects.select_related("author")
    return HttpResponse(", ".join(book.author.name for book in books))


def failing(request: HttpRequest) -> HttpResponse:
    return HttpResponse(naive(request).content, status=500)


def streamed(request: HttpRequest) -> StreamingHttpResponse:
    del request

    def names() -> Iterator[str]:
        for book in Book.objects.all():
            yield book.author.name

    return StreamingHttpResponse(names())


def one(request: HttpRequest) -> HttpResponse:
    return HttpResponse(Setting.objects.get(key=request.GET["key"]).value)


@query_budget(nplusone=7, on_exceed="raise")
def budgeted(request: HttpRequest) -> HttpResponse:
    return naive(request)


urlpatterns = [
    path("naive", naive, name="naive"),
    path("one", one, name="one"),
    path("clean", clean, name="clean"),
    path("failing", failing, name="failing"),
    path("streamed", streamed, name="streamed"),
    path("budgeted", budgeted, name="budgeted"),
]
