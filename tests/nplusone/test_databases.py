"""One line that asks two databases: a loop of each; what two databases hold is never joined."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test.utils import override_settings

from django_querybudget import capture_queries
from django_querybudget.nplusone import find_nplusone
from django_querybudget.nplusone.detection import find_loops

from .models import Author, Book, Publisher, Tag

pytestmark = pytest.mark.django_db(databases=["default", "other"])


def ask(aliases: list[str], times: int) -> None:
    for number in range(times):
        for alias in aliases:
            Tag.objects.using(alias).filter(pk=number).exists()


def test_what_each_database_is_asked_is_counted_by_itself() -> None:
    with capture_queries() as log:
        ask(["default", "other"], 3)
    assert log.count == 6
    assert find_loops(log, 4) == ()
    assert find_nplusone(log, threshold=4) == ()
    loops = find_loops(log, 3)
    assert [(loop.alias, len(loop.records)) for loop in loops] == [("default", 3), ("other", 3)]
    for loop in loops:
        assert {raw.alias for raw in loop.records} == {loop.alias}


def test_a_loop_over_one_of_them_says_which() -> None:
    with capture_queries() as log:
        ask(["default"], 1)
        ask(["other"], 3)
    assert [(loop.alias, len(loop.records)) for loop in find_loops(log, 3)] == [("other", 3)]


class AuthorsElsewhere:
    """A router that asks another database for authors, and says what stands where."""

    migrates = True

    def db_for_read(self, model: type[Any], **_: Any) -> str:
        return "other" if model is Author else "default"

    def allow_migrate(
        self, db: str, app_label: str, model_name: str | None = None, **_: Any
    ) -> Any:
        if not self.migrates:
            return None
        return (db == "other") == (model_name == "author")


class SaysNothing(AuthorsElsewhere):
    """The same, of which it is not known what stands where."""

    migrates = False


def books() -> None:
    """Make books in the one database and, with other names, their authors in the other, too."""
    for number in range(4):
        for alias in ("default", "other"):
            publisher = Publisher.objects.using(alias).create(pk=number, name="any")
            name = f"{alias} {number}"
            Author.objects.using(alias).create(pk=number, name=name, publisher=publisher)
        for more in range(2):
            title = f"{number} {more}"
            Book.objects.using("default").create(title=title, isbn=title, author_id=number)


def line_of(rows: Callable[[Any], list[Any]], queryset: Any) -> tuple[list[Any], str, str | None]:
    """Return what ``rows`` makes of a queryset, the line to write, and what to read there."""
    with capture_queries() as log:
        told = rows(queryset)
    (finding,) = find_nplusone(log, threshold=3)
    assert finding.fix is not None
    return told, finding.fix.code, finding.use


@pytest.mark.parametrize("router", [AuthorsElsewhere(), SaysNothing()])
def test_what_another_database_holds_is_prefetched_and_not_joined(router: Any) -> None:
    books()
    with override_settings(DATABASE_ROUTERS=[router]):
        queryset = Book.objects.order_by("pk")
        names = lambda found: [book.author.name for book in found]  # noqa: E731
        told, code, _ = line_of(names, queryset)
        assert told[0] == "other 0"
        assert code == 'Book.objects.prefetch_related("author")'
        with capture_queries() as log:
            assert names(queryset.prefetch_related("author")) == told
        assert log.count == 2


def test_what_another_database_counts_is_no_annotation() -> None:
    books()
    with override_settings(DATABASE_ROUTERS=[AuthorsElsewhere()]):
        queryset = Author.objects.order_by("pk")
        counts = lambda found: [author.books.count() for author in found]  # noqa: E731
        told, code, use = line_of(counts, queryset)
        assert told == [2] * 4
        assert (code, use) == ('Author.objects.prefetch_related("books")', None)
        with capture_queries() as log:
            assert counts(queryset.prefetch_related("books")) == told
        assert log.count == 2


def test_of_one_database_it_is_joined_as_ever() -> None:
    books()
    queryset = Book.objects.order_by("pk")
    _, code, _ = line_of(lambda found: [book.author.name for book in found], queryset)
    assert code == 'Book.objects.select_related("author")'


def test_a_router_that_fails_is_asked_for_nothing_that_is_certain() -> None:
    class Fails(AuthorsElsewhere):
        def db_for_read(self, model: type[Any], **_: Any) -> str:
            return "default"

        def allow_migrate(self, *_: Any, **hints: Any) -> Any:
            raise LookupError("no such shard")

    books()
    with override_settings(DATABASE_ROUTERS=[Fails()]):
        queryset = Book.objects.order_by("pk")
        _, code, _ = line_of(lambda found: [book.author.name for book in found], queryset)
    assert code == 'Book.objects.prefetch_related("author")'
