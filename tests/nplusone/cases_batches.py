"""One list in pieces is no loop; a list of each row's own is one, however alike they look."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from django.db import connection
from django.db.models import F

from .corpus import ONCE, Run, all_values_of, case, lookup
from .models import Author, Book, Review


def _keys() -> list[int]:
    return list(Book.objects.order_by("pk").values_list("pk", flat=True))


def _pieces(keys: Sequence[int], size: int) -> Iterator[list[int]]:
    left = iter(keys)
    while piece := list(islice(left, size)):
        yield piece


@case(lookup("Review", None, hint=all_values_of("id")))
def lists_of_each_rows_own_and_as_long(run: Run) -> None:
    for book in Book.objects.prefetch_related("reviews"):
        keys = [review.pk for review in book.reviews.all()]
        assert list(Review.objects.filter(pk__in=keys, stars__lt=9))  # N+1


@case(lookup("Review", None, hint=ONCE))
def lists_of_each_dict_of_values(run: Run) -> None:
    own = {book.pk: [each.pk for each in book.reviews.all()] for book in Book.objects.all()[:2]}
    for row in Book.objects.values("pk", "title"):
        keys = own.setdefault(row["pk"], [row["pk"] * 1000, row["pk"] * 1000 + 1])
        assert len(Review.objects.filter(pk__in=keys)) in (0, 3)  # N+1


@case(lookup("Review", None, hint=all_values_of("id")), blamed="N+1: listed")
def lists_of_rows_behind_a_helper(run: Run) -> None:
    for author in Author.objects.prefetch_related("books__reviews"):
        assert _reviews(author)


def _reviews(author: Author) -> list[Review]:
    keys = [review.pk for book in author.books.all() for review in book.reviews.all()]
    return list(Review.objects.filter(pk__in=keys))  # N+1: listed


@case(lookup("Review", None, hint=all_values_of("id")))
def lists_of_each_key_of_a_mapping(run: Run) -> None:
    reviews = Review.objects.order_by("book_id", "pk").values_list("book_id", "pk")
    keys_of_books: dict[int, list[int]] = {}
    for book_id, key in reviews:
        keys_of_books.setdefault(book_id, []).append(key)
    found = {
        book_id: list(Review.objects.filter(pk__in=keys))  # N+1
        for book_id, keys in keys_of_books.items()
    }
    assert all(found.values())


@case(lookup("Author", None, operation="in_bulk", hint=all_values_of("id")))
def in_bulk_for_each_row(run: Run) -> None:
    for book in Book.objects.all():
        assert Author.objects.in_bulk([book.author_id])  # N+1


@case()
def pieces_of_an_iterator(run: Run) -> None:
    for piece in _pieces(_keys(), 2):
        assert list(Book.objects.filter(pk__in=piece))


@case()
def pieces_whose_last_is_shorter(run: Run) -> None:
    # Two texts, none of them three times.
    for piece in _pieces(_keys()[:5], 2):
        assert list(Book.objects.filter(pk__in=piece))


@case()
def pieces_behind_a_helper(run: Run) -> None:
    for piece in _pieces(_keys(), 2):
        assert _books(piece)


def _books(keys: list[int]) -> list[Book]:
    return [book for book in Book.objects.filter(pk__in=keys) if book.title]


@case()
def pieces_of_rows_in_a_loop_over_one_row(run: Run) -> None:
    # A row is at hand, and the list is cut all the same.
    for author in Author.objects.order_by("pk")[:1]:
        keys = _keys()
        for start in range(0, len(keys), 2):
            assert Book.objects.filter(pk__in=keys[start : start + 2]).exclude(author=author) != []


@case()
def raw_pieces(run: Run) -> None:
    with connection.cursor() as cursor:
        for piece in _pieces(_keys(), 2):
            places = ",".join(["%s"] * len(piece))
            cursor.execute(f"SELECT title FROM corpus_book WHERE id IN ({places})", piece)
            assert len(cursor.fetchall()) == len(piece)


@case()
def raw_pieces_whose_last_is_shorter(run: Run) -> None:
    with connection.cursor() as cursor:
        for piece in _pieces(_keys()[:5], 2):
            places = ", ".join(["%s"] * len(piece))
            cursor.execute(f"DELETE FROM corpus_comment WHERE id IN ({places})", tuple(piece))


@case()
def raw_pieces_in_the_text(run: Run) -> None:
    with connection.cursor() as cursor:
        for piece in _pieces(_keys(), 2):
            keys = ", ".join(map(str, piece))
            cursor.execute(f"SELECT title FROM corpus_book WHERE id IN ({keys})")


@case()
def raw_ranges(run: Run) -> None:
    with connection.cursor() as cursor:
        for start in range(0, 40, 10):
            cursor.execute(
                "SELECT title FROM corpus_book WHERE id >= %s AND id < %s", [start, start + 10]
            )


@case()
def raw_querysets_of_pieces(run: Run) -> None:
    for piece in _pieces(_keys(), 2):
        assert list(Book.objects.raw("SELECT * FROM corpus_book WHERE id IN (%s, %s)", piece))


@case(lookup("", None, hint=ONCE))
def raw_lists_of_each_rows_own(run: Run) -> None:
    with connection.cursor() as cursor:
        for book in Book.objects.prefetch_related("reviews"):
            keys = [review.pk for review in book.reviews.all()]
            cursor.execute("SELECT id FROM corpus_review WHERE id IN (%s, %s, %s)", keys)  # N+1


@case()
def chunks_whose_prefetches_differ_in_length(run: Run) -> None:
    # Keys that chunks share: each chunk's list is as long as it happens to be.
    first = Author.objects.earliest("pk")
    Book.objects.filter(pk__lte=Book.objects.earliest("pk").pk + 1).update(author=first)
    for book in Book.objects.prefetch_related("author", "tags").iterator(chunk_size=2):
        assert book.author.name


@case()
def chunks_whose_last_prefetch_is_shorter(run: Run) -> None:
    for book in Book.objects.prefetch_related("author")[:5].iterator(chunk_size=2):
        assert book.author.name


@case()
async def chunks_of_an_async_iterator(run: Run) -> None:
    async for book in Book.objects.prefetch_related("author").aiterator(chunk_size=1):
        assert book.author.name


@case(lookup("Book", 'Book.objects.filter(author_id__in=author_ids, status="new")'), after=2)
def the_second_condition_varies(run: Run) -> None:
    authors = list(Author.objects.all())
    if run.fixed:
        books = run.ask(author_ids=[author.pk for author in authors])
        assert {book.author_id for book in books} == {author.pk for author in authors}
        return
    for author in authors:
        assert Book.objects.filter(status="new", author_id=author.pk).first()  # N+1


@case(lookup("Book", None, hint=all_values_of("isbn, title")))
def two_conditions_vary(run: Run) -> None:
    for book in Book.objects.all():
        assert Book.objects.filter(title=book.title, isbn=book.isbn).first()  # N+1


@case()
def one_counter_is_raised(run: Run) -> None:
    for _ in range(4):
        Review.objects.filter(stars=1).update(stars=F("stars") + 0)
