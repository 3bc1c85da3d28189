"""What is to be read at the loop names the row as its line does, whatever that calls it."""

from __future__ import annotations

from collections.abc import Iterable

from .corpus import IN_PYTHON, ROWS_AT_ONCE, Run, bypassed, case, related
from .models import Author, Book

_NEW = (
    'Author.objects.prefetch_related(Prefetch("books", queryset=Book.objects.filter('
    'status="new"), to_attr="chosen_books"))'
)


@case(
    related("Author.books", _NEW, "a.chosen_books", replaces="a.books.filter(status='new')"),
    after=2,
)
def a_row_of_one_letter(run: Run) -> None:
    for a in run(Author.objects.all()):  # root
        for book in a.chosen_books if run.fixed else a.books.filter(status="new"):  # N+1
            assert book.title


@case(
    related("Author.books", _NEW, "a.chosen_books", replaces="a.books.filter(status='new')"),
    after=2,
)
def a_row_of_a_comprehension(run: Run) -> None:
    authors = run(Author.objects.all())  # root
    if run.fixed:
        assert [len(a.chosen_books) for a in authors]
        return
    assert [[book.title for book in a.books.filter(status="new")] for a in authors]  # N+1


@case(related("Author.books", _NEW, "writer.chosen_books"), after=2)
def a_queryset_in_a_variable(run: Run) -> None:
    for writer in run(Author.objects.all()):  # root
        books = writer.chosen_books if run.fixed else writer.books.filter(status="new")
        assert [book.title for book in books]  # N+1


@case(related("Author.books", None, hint=ROWS_AT_ONCE), blamed="N+1: titles")
def a_row_that_the_line_has_no_name_for(run: Run) -> None:
    """The helper is given a queryset: what its line could read, no other caller would have."""
    for writer in run(Author.objects.all()):
        assert _titles(writer.books.filter(status="new"))


def _titles(books: Iterable[Book]) -> list[str]:
    return [book.title for book in books]  # N+1: titles


@case(
    related(
        "Author.books",
        'Author.objects.prefetch_related(Prefetch("books", queryset=Book.objects.filter('
        'status="new").order_by("-title")[:1], to_attr="chosen_books"))',
        "next(iter(a.chosen_books), None)",
        operation="first",
        replaces="a.books.filter(status='new').order_by('-title').first()",
    ),
    after=2,
)
def first_of_the_chosen(run: Run) -> None:
    for a in run(Author.objects.all()):  # root
        if run.fixed:
            newest = next(iter(a.chosen_books), None)
        else:
            newest = a.books.filter(status="new").order_by("-title").first()  # N+1
        assert newest is not None


@case(
    related(
        "Author.books",
        'Author.objects.prefetch_related(Prefetch("books", queryset=Book.objects.filter('
        'status="sold").order_by("pk")[:1], to_attr="chosen_books"))',
        "next(iter(a.chosen_books), None)",
        operation="first",
    ),
    after=2,
)
def first_of_what_has_no_order(run: Run) -> None:
    for a in run(Author.objects.all()):  # root
        if run.fixed:
            assert next(iter(a.chosen_books), None) is None
        else:
            assert a.books.filter(status="sold").first() is None  # N+1


@case(
    bypassed("Book.tags", '[each for each in b.tags.all() if each.name == "tag 3"]'),
    after=2,
)
def a_bypassed_row_of_one_letter(run: Run) -> None:
    for b in Book.objects.prefetch_related("tags"):
        if run.fixed:
            assert all(tag.name for tag in b.tags.all() if tag.name == "tag 3")
        else:
            assert all(tag.name for tag in b.tags.filter(name="tag 3"))  # N+1


@case(
    related(
        "Book.tags",
        'Book.objects.prefetch_related(Prefetch("tags", queryset=Tag.objects.filter('
        'name="tag 3"), to_attr="chosen_tags"))',
        "for tag in b.chosen_tags",
        replaces="async for tag in b.tags.filter(name='tag 3')",
    ),
    after=2,
)
async def a_row_whose_many_are_iterated_async(run: Run) -> None:
    async for b in run(Book.objects.all()):  # root
        if run.fixed:
            for tag in b.chosen_tags:
                assert tag.name
        else:
            async for tag in b.tags.filter(name="tag 3"):  # N+1
                assert tag.name


_MOST_STARS = 3


def _stars() -> int:
    """What another request would have another value of: its user's key, a query parameter."""
    return 3


@case(related("Book.reviews", None, hint=ROWS_AT_ONCE))
def a_count_by_a_value_of_this_request(run: Run) -> None:
    stars = _stars()
    for book in run(Book.objects.all()):
        assert book.reviews.filter(stars=stars).count() in (0, 1)  # N+1


@case(related("Book.reviews", None, hint=ROWS_AT_ONCE))
def rows_by_a_value_of_this_request(run: Run) -> None:
    stars = _stars()
    for book in run(Book.objects.all()):
        reviews = book.reviews.filter(stars=stars)
        assert len(reviews) in (0, 1)  # N+1


@case(bypassed("Book.reviews", None, hint=IN_PYTHON))
def a_prefetch_bypassed_by_a_value_of_this_request(run: Run) -> None:
    stars = _stars()
    for book in run(Book.objects.prefetch_related("reviews")):
        assert book.reviews.filter(stars=stars).exists() in (True, False)  # N+1


@case(
    related(
        "Book.reviews",
        'Book.objects.annotate(reviews_count=Count("reviews", filter=Q(reviews__stars=3), '
        "distinct=True))",
        "book.reviews_count",
    ),
    after=1,
)
def a_count_by_a_constant_with_a_name(run: Run) -> None:
    for book in run(Book.objects.all()):  # root
        count = (
            book.reviews_count
            if run.fixed
            else book.reviews.filter(stars=_MOST_STARS).count()  # N+1
        )
        assert count in (0, 1)
