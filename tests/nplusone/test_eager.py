"""Eager loading that no one read, and what is not to be taken for it."""

from __future__ import annotations

import sys
from copy import copy

import pytest
from django.db.models import Prefetch, QuerySet

from django_querybudget import capture_queries
from django_querybudget.nplusone import Cause
from django_querybudget.nplusone.eager import watch_eager_loads
from django_querybudget.nplusone.rendering import render_findings

from .data import fill
from .models import Author, Book, Comment, Tag, Ticket

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _library(db: None) -> None:
    fill()


def test_a_joined_relation_that_nobody_reads() -> None:
    with watch_eager_loads() as loads:
        for book in Book.objects.select_related("author__publisher"):
            assert book.author.name
    (finding,) = loads.unread
    assert finding.cause is Cause.UNUSED_EAGER_LOAD
    assert (finding.relation, finding.operation) == ("Author.publisher", "select_related")
    assert finding.origin is not None
    assert finding.origin.filename == __file__
    assert "Author.publisher, which nobody reads" in "\n".join(render_findings([finding]))


def test_a_prefetch_that_nobody_reads_is_a_query_saved() -> None:
    with watch_eager_loads() as loads, capture_queries() as log:
        assert [book.title for book in Book.objects.prefetch_related("tags")]
    (finding,) = loads.unread
    assert (finding.relation, finding.operation) == ("Book.tags", "prefetch_related")
    with capture_queries() as without:
        assert [book.title for book in Book.objects.all()]
    assert log.count - without.count == finding.saves


@pytest.mark.parametrize("relation", ["biography", "books", "publisher", "mentor"])
def test_what_is_read_is_not_named(relation: str) -> None:
    with watch_eager_loads() as loads:
        for author in Author.objects.prefetch_related(relation):
            related = getattr(author, relation)
            assert relation != "books" or related.all()
    assert loads.unread == ()


def test_many_to_many_both_ways_and_generic_relations() -> None:
    with watch_eager_loads() as loads:
        for book in Book.objects.prefetch_related("tags", "comments", "author"):
            assert book.tags.all()
            assert book.comments.all()
        for tag in Tag.objects.prefetch_related("books"):
            assert list(tag.books.all()) is not None
    assert [finding.relation for finding in loads.unread] == ["Book.author"]


def test_a_reverse_one_to_one_that_was_joined() -> None:
    with watch_eager_loads() as loads:
        for author in Author.objects.select_related("biography"):
            assert author.biography.text
    assert loads.unread == ()


def test_a_to_attr_is_never_named() -> None:
    with watch_eager_loads() as loads:
        list(Author.objects.prefetch_related(Prefetch("books", to_attr="shelf")))
    assert loads.unread == ()


def test_nothing_is_left_behind() -> None:
    with watch_eager_loads(), pytest.raises(RuntimeError, match="on purpose"):
        raise RuntimeError("on purpose")
    with watch_eager_loads() as loads:
        list(Comment.objects.all())
    assert loads.unread == ()
    if sys.version_info >= (3, 12):
        assert sys.monitoring.get_tool(4) is None
    else:
        assert sys.getprofile() is None


def test_one_of_two_paths_to_a_model_that_nobody_reads() -> None:
    """The reporter's publisher is read, the reviewer's is not: of one relation, by its path."""
    with watch_eager_loads() as loads:
        tickets = Ticket.objects.select_related("reporter__publisher", "reviewer__publisher")
        for ticket in tickets:
            assert ticket.reporter.publisher.name
            assert ticket.reviewer.name
    (finding,) = loads.unread
    assert (finding.relation, finding.count) == ("Author.publisher", 0)
    assert finding.fix is not None
    assert finding.fix.code == 'Ticket.objects.select_related("reporter__publisher", "reviewer")'


def _tickets() -> QuerySet[Ticket]:
    return Ticket.objects.select_related("reporter", "assignee")


def test_what_one_caller_of_a_queryset_reads_is_read() -> None:
    with watch_eager_loads() as loads:
        assert [ticket.reporter.name for ticket in _tickets()]
        assert [ticket.assignee.name for ticket in _tickets()]
    assert loads.unread == ()
    assert str(loads) == "Each relation that was loaded eagerly was read."


def test_a_lazy_read_elsewhere_does_not_hide_it() -> None:
    with watch_eager_loads() as loads:
        assert [book.title for book in Book.objects.select_related("author")]
        assert Book.objects.order_by("pk")[0].author.name
    (finding,) = loads.unread
    assert finding.relation == "Book.author"
    assert "seems to load Book.author, which nobody reads" in str(loads)
    assert str(finding) in str(loads)


def test_a_copy_of_a_row_is_read_for_all() -> None:
    with watch_eager_loads() as loads:
        assert [copy(book).author.name for book in Book.objects.select_related("author")]
    assert loads.unread == ()


def test_rows_that_are_gone_are_not_kept() -> None:
    with watch_eager_loads() as loads:
        for _ in range(3):
            assert list(Book.objects.select_related("author"))
    assert not loads._held
