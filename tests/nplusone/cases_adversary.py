"""What an adversary found: suggestions that clashed or lied, a missed loop, false alarms."""

from __future__ import annotations

from typing import Any

from django.db import connection
from django.db.models import Avg, Max, Q

from .corpus import (
    NO_QUERYSET,
    ROWS_AT_ONCE,
    Run,
    case,
    lookup,
    related,
    relation,
    write,
)
from .models import Author, Book, Publisher, Review, Shop


@case(
    related(
        "Book.reviews",
        'Book.objects.annotate(reviews_count=Count("reviews", distinct=True), '
        'reviews_count_2=Count("reviews", filter=Q(reviews__stars=2), distinct=True))',
        "each.reviews_count",
    ),
    related(
        "Book.reviews",
        'Book.objects.annotate(reviews_count=Count("reviews", distinct=True), '
        'reviews_count_2=Count("reviews", filter=Q(reviews__stars=2), distinct=True))',
        "each.reviews_count_2",
    ),
    after=1,
)
def two_counts_of_one_relation(run: Run) -> None:
    for each in run(Book.objects.all()):  # root
        assert (each.reviews_count if run.fixed else each.reviews.count()) == 3  # N+1
        twos = each.reviews_count_2 if run.fixed else each.reviews.filter(stars=2).count()  # N+1
        assert twos == 1


_AUTHORS = 'Book.objects.select_related("author")'
_CHOSEN = (
    'Author.objects.prefetch_related(Prefetch("books", queryset=Book.objects.filter('
    'status="new"), to_attr="chosen_books"), Prefetch("books", queryset=Book.objects.filter('
    'status="sold"), to_attr="chosen_books_2"))'
)


@case(
    related("Author.books", _CHOSEN, "author.chosen_books"),
    related("Author.books", _CHOSEN, "author.chosen_books_2"),
    after=3,
)
def two_choices_of_one_relation(run: Run) -> None:
    for author in run(Author.objects.all()):  # root
        new = author.chosen_books if run.fixed else author.books.filter(status="new")
        sold = author.chosen_books_2 if run.fixed else author.books.filter(status="sold")
        assert len(new) == 1  # N+1
        assert len(sold) == 0  # N+1


@case(
    related(
        "Author.books",
        'Author.objects.prefetch_related(Prefetch("books", queryset=Book.objects.filter('
        'title="\\"a\\"\\nb"), to_attr="chosen_books"))',
        "author.chosen_books",
    ),
    after=2,
)
def a_value_of_two_lines(run: Run) -> None:
    for author in run(Author.objects.all()):  # root
        assert not (
            author.chosen_books if run.fixed else list(author.books.filter(title='"a"\nb'))  # N+1
        )


@case(related("Book.reviews", 'Book.objects.prefetch_related("reviews")'), after=2)
def first_by_index(run: Run) -> None:
    """A plain prefetch: ``.all()[0]`` reads it as it stands, here and wherever else it is read."""
    for book in run(Book.objects.all()):  # root
        assert book.reviews.all()[0]  # N+1


@case(
    related(
        "Book.reviews",
        'Book.objects.prefetch_related(Prefetch("reviews", queryset=Review.objects.order_by('
        '"-stars")[:1], to_attr="chosen_reviews"))',
        "next(iter(book.chosen_reviews), None)",
        operation="first",
    ),
    after=2,
)
def first_of_another_order(run: Run) -> None:
    for book in run(Book.objects.all()):  # root
        if run.fixed:
            assert next(iter(book.chosen_reviews), None)
        else:
            assert book.reviews.order_by("-stars").first()  # N+1


@case(lookup("Review", "Review.objects.filter(book_id__in=book_ids, stars__lt=3)"), after=2)
def newest_before_a_value_for_each_row(run: Run) -> None:
    """All of them at once; which is a book's best is told in Python."""
    keys = list(Book.objects.values_list("pk", flat=True))
    best: dict[int, Any] = {}
    if run.fixed:
        for row in sorted(run.ask(book_ids=keys), key=lambda each: each.stars):
            best[row.book_id] = row
    else:
        for key in keys:
            rows = Review.objects.filter(book_id=key, stars__lt=3)
            best[key] = rows.order_by("-stars").first()  # N+1
    assert [best[key].stars for key in keys] == [2] * 6


@case(related("Book.reviews", None, hint=ROWS_AT_ONCE))
def count_of_a_value_that_varies(run: Run) -> None:
    for book in run(Book.objects.all()):
        for stars in (1, 2):
            assert book.reviews.filter(stars=stars).count() == 1  # N+1


@case(
    related(
        "Book.reviews",
        'Book.objects.annotate(reviews_count=Count("reviews", filter=Q(reviews__stars=2), '
        "distinct=True))",
        "the_book.reviews_count",
    ),
    after=1,
)
def call_of_several_lines(run: Run) -> None:
    for the_book in run(Book.objects.all()):  # root
        if run.fixed:
            assert the_book.reviews_count == 1
            continue
        total = (
            the_book.reviews
            # The ones that count.
            .filter(stars=2).count()  # N+1
        )
        assert total == 1


@case(relation("Book.author", 'Book.objects.raw(...).prefetch_related("author")'), after=2)
def rows_of_raw_sql(run: Run) -> None:
    books = Book.objects.raw("SELECT * FROM corpus_book")  # root
    for book in books.prefetch_related("author") if run.fixed else books:
        assert book.author.name  # N+1


@case(relation("Book.author", None, hint=NO_QUERYSET))
def rows_of_a_union(run: Run) -> None:
    new = Book.objects.filter(status="new")
    for book in new.union(Book.objects.filter(status="sold")):
        assert book.author.name  # N+1


_TABLES = (
    "No bulk method creates rows of several tables at once: at least write them in one transaction."
)


@case(write("Shop", None, operation="create", hint=_TABLES))
def create_in_two_tables(run: Run) -> None:
    owner = Author.objects.get(pk=Author.objects.aggregate(last=Max("pk"))["last"])
    for number in range(4):
        Shop.objects.create(name=f"new {number}", owner=owner)  # N+1


@case(
    relation("Book.author", _AUTHORS),
    relation("Author.publisher", 'Author.objects.select_related("publisher")'),
    after=3,
)
def rows_of_a_queryset_that_ran_before(run: Run) -> None:
    for book in run(Book.objects.all()):  # root
        assert book.author.name  # N+1
    assert len(Author.objects.all()) == 6
    for author in run(Author.objects.all()):
        assert author.publisher.name  # N+1


@case()
def progress_of_one_row(run: Run) -> None:
    book = Book.objects.get(isbn="isbn-1")
    for number in range(4):
        book.status = f"step {number}"
        book.save(update_fields=["status"])


@case()
def count_of_one_row_is_polled(run: Run) -> None:
    book = Book.objects.get(isbn="isbn-1")
    for _ in range(4):
        assert book.reviews.count() == 3


@case()
def parameters_that_cannot_be_shown(run: Run) -> None:
    with connection.cursor() as cursor:
        for _ in range(4):
            cursor.execute("SELECT %s", [_HIDDEN])


class _Hidden:
    def __conform__(self, protocol: object) -> int:
        return 1

    def __repr__(self) -> str:
        raise RuntimeError("not to be looked at")


_HIDDEN = _Hidden()


@case(related("Author.books", None, hint=ROWS_AT_ONCE))
def conditions_that_are_no_keyword_arguments(run: Run) -> None:
    for author in run(Author.objects.all()):
        assert list(author.books.filter(Q(status="new") | Q(status="sold")))  # N+1


@case(relation("Book.author", 'Book.objects.prefetch_related("author")'), after=2)
def rows_that_are_locked(run: Run) -> None:
    # Joined, the author would be locked too; and PostgreSQL locks no row that may be missing.
    for book in run(Book.objects.select_for_update()):  # root
        assert book.author.name  # N+1


@case(lookup("Author", "Author.objects.select_for_update().in_bulk(ids)", operation="get"), after=2)
def rows_that_are_locked_one_by_one(run: Run) -> None:
    keys = list(Author.objects.values_list("pk", flat=True))
    if run.fixed:
        assert list(run.ask(ids=keys)) == sorted(keys)
        return
    for key in keys:
        assert Author.objects.select_for_update().get(pk=key)  # N+1


_BOOKS = 'Author.objects.prefetch_related("books")'


@case(
    related("Author.books", _BOOKS),
    relation("Author.books", _BOOKS),
    after=2,
)
def a_variable_that_is_asked_and_then_read(run: Run) -> None:
    """One prefetch answers both, and no line of the loop changes."""
    for writer in run(Author.objects.all()):  # root
        books = writer.books.all()
        if books.exists():  # N+1
            assert [book.title for book in books]  # N+1


@case(
    related("Author.books", _BOOKS),
    related("Author.books", _BOOKS),
    relation("Author.books", _BOOKS),
    after=2,
)
def counted_asked_and_read(run: Run) -> None:
    """A page that counts, asks and lists: prefetched once, the code as it is."""
    for writer in run(Author.objects.order_by("pk")):  # root
        assert writer.books.count() == 1  # N+1
        assert writer.books.exists()  # N+1
        assert [book.title for book in writer.books.all()]  # N+1


@case(
    related(
        "Book.reviews",
        "Book.objects.annotate(reviews_avg_stars=Subquery(Review.objects.filter("
        'book=OuterRef("pk")).order_by().values("book").annotate(value=Avg("stars"))'
        '.values("value")))',
        "b.reviews_avg_stars",
        operation="aggregate",
        replaces="b.reviews.aggregate(Avg('stars'))['stars__avg']",
    ),
    after=1,
)
def an_aggregate_without_a_name(run: Run) -> None:
    for b in run(Book.objects.all()):  # root
        if run.fixed:
            assert b.reviews_avg_stars == 2
        else:
            assert b.reviews.aggregate(Avg("stars"))["stars__avg"] == 2  # N+1


@case(
    lookup("Author", "Author.objects.in_bulk(ids)", operation="get"),
    blamed="N+1: looked_up",
    after=2,
)
def look_up_in_a_helper(run: Run) -> None:
    # The helper has no loop: what is asked at once is asked before the one that calls it.
    keys = list(Author.objects.values_list("pk", flat=True))
    authors = run.ask(ids=keys) if run.fixed else {}
    for key in keys:
        assert _author(key, authors).pk == key  # root


def _author(key: int, authors: dict[int, Author]) -> Author:
    if key in authors:
        return authors[key]
    return Author.objects.get(pk=key)  # N+1: looked_up


_NEW_AUTHORS = (
    'Publisher.objects.prefetch_related(Prefetch("authors", queryset=Author.objects.filter('
    'name__startswith="a").prefetch_related("books"), to_attr="chosen_authors"))'
)


@case(
    related("Publisher.authors", _NEW_AUTHORS, "p.chosen_authors"),
    relation("Author.books", _NEW_AUTHORS),
    after=3,
)
def loops_below_a_filtered_one(run: Run) -> None:
    """Asked for where the authors are chosen, the books are one query for all publishers."""
    for p in run(Publisher.objects.all()):  # root
        authors = p.chosen_authors if run.fixed else p.authors.filter(name__startswith="a")
        for author in authors:  # N+1
            assert [book.title for book in author.books.all()]  # N+1


_AUTHORS_BOOKS = 'Author.objects.prefetch_related("books")'


@case(
    relation("Author.books", _AUTHORS_BOOKS),
    relation("Author.books", _AUTHORS_BOOKS),
    after=2,
)
def one_relation_read_by_two_lines(run: Run) -> None:
    # One prefetch for both.
    for author in run(Author.objects.all()):  # root
        assert [book.title for book in author.books.all()]  # N+1
        assert [book.isbn for book in author.books.all()]  # N+1
