"""The fetch mode of Django 6.1: the number of peers, the line, and FETCH_PEERS measured."""

from __future__ import annotations

import pickle

import django
import pytest

from django_querybudget import capture_queries
from django_querybudget.nplusone import find_nplusone
from django_querybudget.nplusone.fetch_mode import PeersMeasured, measure_fetch_peers, traced
from django_querybudget.nplusone.rendering import render_findings

from .data import fill
from .models import Author, Book

pytestmark = pytest.mark.django_db


if django.VERSION < (6, 1):

    def test_it_says_which_django_it_needs() -> None:
        with pytest.raises(RuntimeError, match=r"needs Django 6\.1"):
            traced()

else:

    @pytest.fixture(autouse=True)
    def _library(db: None) -> None:
        fill()

    def _books() -> list[Book]:
        return list(Book.objects.filter(status="new").fetch_mode(traced()))  # built

    def _names() -> list[str]:
        return [book.author.publisher.name for book in _books()]

    def test_the_peers_and_the_line_are_exact() -> None:
        with capture_queries() as log:
            _names()
        book, author = find_nplusone(log)
        assert (book.relation, book.peers) == ("Book.author", 6)
        assert author.relation == "Author.publisher"
        assert book.fix is author.fix
        assert book.fix is not None
        assert book.fix.built
        assert book.fix.place is not None
        assert book.fix.place.line == _books.__code__.co_firstlineno + 1
        assert "6 queries load Book.author row by row (6 of 6 rows)" in "\n".join(
            render_findings([book])
        )

    def test_some_of_many_peers() -> None:
        with capture_queries() as log:
            for book in Book.objects.fetch_mode(traced()):
                if book.isbn in ("isbn-1", "isbn-2", "isbn-3"):
                    assert book.author
        (finding,) = find_nplusone(log)
        assert (finding.count, finding.peers) == (3, 6)

    def test_fetch_peers_is_measured() -> None:
        assert measure_fetch_peers(_names) == PeersMeasured(one_by_one=13, with_peers=3)

    def test_deferred_fields_are_fetched_for_peers_too() -> None:
        def blurbs() -> list[str]:
            books = Book.objects.only("title").fetch_mode(traced())
            return [book.blurb for book in books]

        assert measure_fetch_peers(blurbs) == PeersMeasured(one_by_one=7, with_peers=2)

    def test_instances_can_be_pickled() -> None:
        author = Author.objects.fetch_mode(traced())[0]
        assert pickle.loads(pickle.dumps(author)).publisher.name  # noqa: S301 - of our own making
