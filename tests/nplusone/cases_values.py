"""Values of a run: what a variable gave is right for that run, and no line may be made of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from django.db.models import Avg, Q, prefetch_related_objects

from django_querybudget.nplusone import Cause

from .corpus import (
    AT_ONCE,
    IN_PYTHON,
    ONE_STATEMENT,
    ROWS_AT_ONCE,
    Expected,
    Run,
    all_values_of,
    bypassed,
    case,
    lookup,
    related,
    write,
)
from .models import FEWEST_STARS, MOST_STARS, Author, Book, Review, Setting, Shelf

_MOST_STARS = 3


def _stars() -> int:
    """What another request would have another value of: its user's key, a query parameter."""
    return 3


def _status() -> str:
    return "new"


_BY_NAME = (
    'Book.objects.annotate(reviews_count=Count("reviews", filter=Q(reviews__stars=stars), '
    "distinct=True))"
)
_BY_VALUE = (
    'Book.objects.annotate(reviews_count=Count("reviews", filter=Q(reviews__stars=3), '
    "distinct=True))"
)


@case(related("Book.reviews", _BY_NAME, "book.reviews_count"), after=1)
def a_count_by_a_value_of_this_request(run: Run) -> None:
    stars = _stars()
    if run.fixed:
        assert {each.reviews_count for each in run(Book.objects.all(), stars=stars)} <= {0, 1}
        return
    for book in run(Book.objects.all()):  # root
        assert book.reviews.filter(stars=stars).count() in (0, 1)  # N+1


@case(
    related(
        "Book.reviews",
        'Book.objects.prefetch_related(Prefetch("reviews", queryset=Review.objects.filter('
        'stars=stars), to_attr="chosen_reviews"))',
        "book.chosen_reviews",
    ),
    after=2,
)
def rows_by_a_value_of_this_request(run: Run) -> None:
    stars = _stars()
    if run.fixed:
        assert all(len(each.chosen_reviews) < 2 for each in run(Book.objects.all(), stars=stars))
        return
    for book in run(Book.objects.all()):  # root
        reviews = book.reviews.filter(stars=stars)
        assert len(reviews) in (0, 1)  # N+1


@case(bypassed("Book.reviews", None, hint=IN_PYTHON))
def a_prefetch_bypassed_by_a_value_of_this_request(run: Run) -> None:
    """``stars`` may be the text of a query parameter, which no number equals."""
    stars = _stars()
    for book in run(Book.objects.prefetch_related("reviews")):
        assert book.reviews.filter(stars=stars).exists() in (True, False)  # N+1


@case(related("Book.reviews", None, hint=ROWS_AT_ONCE))
def a_value_that_only_some_ask_by(run: Run) -> None:
    """Who has no stars never asks: what is asked of all rows would fail for them."""
    stars = _stars()
    for book in run(Book.objects.all()):
        if stars:
            assert book.reviews.filter(stars=stars).count() in (0, 1)  # N+1


@case(related("Book.reviews", None, hint=ROWS_AT_ONCE))
def a_value_that_a_guard_keeps_from_some(run: Run) -> None:
    stars = _stars()
    for book in run(Book.objects.all()):
        if not stars:
            continue
        assert book.reviews.filter(stars=stars).count() in (0, 1)  # N+1


@case(related("Book.reviews", None, hint=ROWS_AT_ONCE))
def a_value_that_comes_after_the_queryset(run: Run) -> None:
    books = run(Book.objects.all())
    stars = _stars()
    for book in books:
        assert book.reviews.filter(stars=stars).count() in (0, 1)  # N+1


@case(related("Book.reviews", None, hint=ROWS_AT_ONCE))
def a_value_that_is_set_again(run: Run) -> None:
    stars = 1
    for book in run(Book.objects.all()):
        stars = _stars()
        assert book.reviews.filter(stars=stars).count() in (0, 1)  # N+1


@case(related("Book.reviews", None, hint=ROWS_AT_ONCE))
def a_value_of_each_row(run: Run) -> None:
    """By a look-up whose values nobody compares: each row's own."""
    for book in run(Book.objects.all()):
        assert book.reviews.filter(stars__gte=book.pk).count() in range(4)  # N+1


def _number_of(book: Book, stars: int) -> int:
    return book.reviews.filter(stars=stars).count()  # N+1: number_of


@case(related("Book.reviews", None, hint=ROWS_AT_ONCE), blamed="N+1: number_of")
def a_value_that_a_helper_was_given(run: Run) -> None:
    for book in run(Book.objects.all()):
        assert _number_of(book, _stars()) in (0, 1)


@case(related("Book.reviews", None, hint=ROWS_AT_ONCE))
def a_value_by_keywords_that_nobody_reads(run: Run) -> None:
    chosen = {"stars": _stars()}
    for book in run(Book.objects.all()):
        assert book.reviews.filter(**chosen).count() in (0, 1)  # N+1


@case(related("Shelf.items", None, hint=ROWS_AT_ONCE))
def a_flag_in_a_condition_that_nobody_reads(run: Run) -> None:
    """No manager leaves out the others: the variable does."""
    chosen = Q(is_gone=bool(_stars() > 3))
    for shelf in run(Shelf.objects.all()):
        assert shelf.items.filter(chosen).count() in (0, 1)  # N+1


@case(related("Book.reviews", _BY_VALUE, "book.reviews_count"), after=1)
def a_count_by_a_constant_with_a_name(run: Run) -> None:
    for book in run(Book.objects.all()):  # root
        if run.fixed:
            assert book.reviews_count in (0, 1)
        else:
            assert book.reviews.filter(stars=_MOST_STARS).count() in (0, 1)  # N+1


@case(related("Book.reviews", _BY_VALUE, "book.reviews_count"), after=1)
def a_count_by_a_constant_of_another_module(run: Run) -> None:
    for book in run(Book.objects.all()):  # root
        if run.fixed:
            assert book.reviews_count in (0, 1)
        elif book.pk:
            assert book.reviews.filter(stars=MOST_STARS).count() in (0, 1)  # N+1


@case(related("Book.reviews", None, hint=ROWS_AT_ONCE))
def a_count_by_a_setting(run: Run) -> None:
    """Its name is in capitals, and yet it is another in the next deployment."""
    for book in run(Book.objects.all()):
        if book.pk:
            assert book.reviews.filter(stars=FEWEST_STARS).count() in (0, 1)  # N+1


class _Ranking:
    stars: ClassVar[int] = 2
    kind: ClassVar[str] = "any"

    def __init__(self, stars: int) -> None:
        self.least = stars

    def numbers(self, books: Iterable[Book]) -> list[int]:
        return [each.reviews.filter(stars=self.stars).count() for each in books]  # N+1: numbers

    def some(self, books: Iterable[Book]) -> list[int]:
        return [each.reviews.filter(stars=self.least).count() for each in books]  # N+1: some


class _OtherRanking(_Ranking):
    stars = 3


@case(related("Book.reviews", None, hint=ROWS_AT_ONCE), blamed="N+1: numbers")
def a_value_that_a_subclass_has_another_of(run: Run) -> None:
    assert _OtherRanking(1).numbers(run(Book.objects.all()))


@case(related("Book.reviews", None, hint=ROWS_AT_ONCE), blamed="N+1: some")
def a_value_of_an_object(run: Run) -> None:
    assert _Ranking(3).some(run(Book.objects.all()))


@case(related("Book.reviews", _BY_VALUE, "book.reviews_count"), after=1)
def a_method_with_a_constant(run: Run) -> None:
    for book in run(Book.objects.all()):  # root
        count = book.reviews_count if run.fixed else book.reviews.best().count()  # N+1
        assert count in (0, 1)


@case(related("Book.reviews", None, hint=ROWS_AT_ONCE))
def a_method_with_a_value_of_this_request(run: Run) -> None:
    stars = _stars()
    for book in run(Book.objects.all()):
        assert book.reviews.rated(stars).count() in (0, 1)  # N+1


@case(related("Book.reviews", None, hint=ROWS_AT_ONCE))
def an_order_of_this_request(run: Run) -> None:
    order = "-stars" if _stars() else "stars"
    for book in run(Book.objects.all()):
        assert book.reviews.order_by(order).first()  # N+1


@case(related("Book.reviews", None, hint=ROWS_AT_ONCE))
def a_page_of_this_request(run: Run) -> None:
    size = _stars()
    for book in run(Book.objects.all()):
        assert list(book.reviews.order_by("stars")[:size])  # N+1


@case(related("Book.reviews", None, hint=ROWS_AT_ONCE))
def a_column_of_this_request(run: Run) -> None:
    column = "stars" if _stars() else "pk"
    for book in run(Book.objects.all()):
        assert book.reviews.aggregate(mean=Avg(column))["mean"]  # N+1


@case(
    lookup(
        "Book",
        "Book.objects.filter(author_id__in=author_ids, status=status)",
        operation="first",
    ),
    after=2,
)
def a_look_up_by_a_value_of_this_request_too(run: Run) -> None:
    status = _status()
    authors = list(Author.objects.values("pk"))
    if run.fixed:
        assert len(run.ask(author_ids=[row["pk"] for row in authors], status=status)) == 6
        return
    for row in authors:
        assert Book.objects.filter(author_id=row["pk"], status=status).first()  # N+1


@case(
    lookup("Book", 'Book.objects.filter(author_id__in=author_ids, status="new")'),
    after=2,
)
def a_look_up_by_a_constant_too(run: Run) -> None:
    authors = list(Author.objects.values("pk"))
    if run.fixed:
        assert len(run.ask(author_ids=[row["pk"] for row in authors])) == 6
        return
    for row in authors:
        assert Book.objects.filter(author_id=row["pk"], status="new").first()  # N+1


def _book_of(author: int, status: str) -> Book | None:
    return Book.objects.filter(author_id=author, status=status).first()  # N+1: book_of


@case(lookup("Book", None, hint=all_values_of("author_id")), blamed="N+1: book_of")
def a_look_up_by_what_a_helper_was_given(run: Run) -> None:
    for row in list(Author.objects.values("pk")):
        assert _book_of(row["pk"], _status())


@case(lookup("Review", None, operation="aggregate", hint=all_values_of("book_id")))
def a_look_up_of_a_column_of_this_request(run: Run) -> None:
    column = "stars" if _stars() else "pk"
    for row in list(Book.objects.values("pk")):
        assert Review.objects.filter(book_id=row["pk"]).aggregate(mean=Avg(column))  # N+1


@case(
    write("Book", "Book.objects.filter(isbn__in=isbns).update(status=status)", operation="update"),
    after=1,
)
def an_update_to_a_value_of_this_request(run: Run) -> None:
    isbns, status = [f"isbn-{number}" for number in range(4)], _status()
    if run.fixed:
        run.write(isbns=isbns, status=status)
        return
    for isbn in isbns:
        Book.objects.filter(isbn=isbn).update(status=status)  # N+1


def _set(isbn: str, status: str) -> None:
    Book.objects.filter(isbn=isbn).update(status=status)  # N+1: set


@case(write("Book", None, operation="update", hint=ONE_STATEMENT), blamed="N+1: set")
def an_update_to_what_a_helper_was_given(run: Run) -> None:
    for number in range(4):
        _set(f"isbn-{number}", _status())


@case(
    write("Book", 'Book.objects.filter(isbn__in=isbns, status="new").update(status="sold")'),
    after=1,
)
def an_update_by_a_constant_too(run: Run) -> None:
    isbns = [f"isbn-{number}" for number in range(4)]
    if run.fixed:
        run.write(isbns=isbns)
        return
    for isbn in isbns:
        Book.objects.filter(isbn=isbn, status="new").update(status="sold")  # N+1


@case(write("Book", None, operation="save", hint=ONE_STATEMENT))
def a_save_of_fields_of_this_request(run: Run) -> None:
    names = ["status"] if _stars() else ["title"]
    for book in list(Book.objects.all()):
        book.save(update_fields=names)  # N+1


@case(write("Book", None, operation="save", hint=ONE_STATEMENT))
def a_save_of_fields_that_are_added_to(run: Run) -> None:
    names = ["status"]
    if not _stars():
        names.append("title")
    for book in list(Book.objects.all()):
        book.save(update_fields=names)  # N+1


@case(write("Setting", None, operation="update_or_create", hint=ONE_STATEMENT))
def an_update_or_create_by_fields_of_this_request(run: Run) -> None:
    given = dict.fromkeys(["value"], _status())
    for number in range(4):
        Setting.objects.update_or_create(key=f"key-{number}", defaults=given)  # N+1


@case(
    write(
        "Setting",
        'Setting.objects.bulk_create(setting_list, update_conflicts=True, update_fields=["value"], '
        'unique_fields=["key"])',
        operation="update_or_create",
    ),
    after=2,
)
def an_update_or_create_by_named_fields(run: Run) -> None:
    given = {"value": _status()}
    if run.fixed:
        run.write(setting_list=[Setting(key=f"key-{number}", **given) for number in range(4)])
        Setting.objects.count()
        return
    for number in range(4):
        Setting.objects.update_or_create(key=f"key-{number}", defaults=given)  # N+1
    Setting.objects.count()


@case(Expected("Book.tags", Cause.PREFETCH, None, hint=AT_ONCE))
def a_prefetch_of_relations_of_this_request(run: Run) -> None:
    names = ["tags"] if _stars() else ["author"]
    for book in list(Book.objects.all()):
        prefetch_related_objects([book], *names)  # N+1


@case(
    lookup("Book", None, operation="count", hint=all_values_of("author_id")),
)
def a_count_that_cannot_stand_before_the_loop(run: Run) -> None:
    """What would be grouped is each row's own."""
    status = _status()
    for author in Author.objects.values_list("pk", flat=True):
        assert Book.objects.filter(author_id=author).filter(status=status.lower()).count()  # N+1
