"""Suggestions beside what a queryset has: they replace it, keep it, and do not change its rows."""

from __future__ import annotations

from django.db.models import Count, Prefetch

from .corpus import Run, case, related, relation
from .models import Author, Book, Comment

_COUNTED_BOOKS = (
    'Author.objects.prefetch_related(Prefetch("books", queryset=Book.objects.annotate('
    'reviews_count=Count("reviews", distinct=True))))'
)


@case(
    related(
        "Book.reviews",
        _COUNTED_BOOKS,
        "b.reviews_count",
        operation="count",
        instead_of=('"books"',),
    ),
    after=2,
)
def count_behind_a_prefetch(run: Run) -> None:
    # Two lookups of one relation, one of them with a queryset: Django refuses them.
    for author in run(Author.objects.prefetch_related("books")):  # root
        for b in author.books.all():
            assert (b.reviews_count if run.fixed else b.reviews.count()) == 3  # N+1


@case(
    related(
        "Book.reviews",
        'Author.objects.prefetch_related(Prefetch("books", queryset=Book.objects.annotate('
        'reviews_count=Count("reviews", distinct=True))), "books__tags")',
        "b.reviews_count",
        operation="count",
        instead_of=('"books__tags"',),
    ),
    after=4,
)
def count_behind_a_prefetch_that_leads_further(run: Run) -> None:
    for author in run(Author.objects.prefetch_related("books__tags", "shops")[:4]):  # root
        for b in author.books.all():
            assert (b.reviews_count if run.fixed else b.reviews.count()) == 3  # N+1
            assert b.tags.all()


@case(
    related(
        "Author.books",
        'Book.objects.prefetch_related("author__books")',
        operation="count",
    ),
    blamed="N+1: total",
    after=3,
)
def count_in_a_property_behind_a_prefetch(run: Run) -> None:
    """The property is read by others, too: it stays, and ``count()`` reads a prefetch."""
    for book in run(Book.objects.prefetch_related("author")):  # root
        assert book.author.book_total == 1


@case(
    relation("Author.publisher", 'Author.objects.select_related("publisher")'),
    related(
        "Book.tags",
        'Book.objects.annotate(tags_count=Count("tags", distinct=True))',
        "b.tags_count",
        operation="count",
    ),
    after=2,
)
def below_a_prefetch_with_a_queryset(run: Run) -> None:
    """The books' author is the row that they were prefetched for: its publisher is joined there."""
    books = Prefetch("books", queryset=run(Book.objects.order_by("title")))  # root
    for author in run(Author.objects.prefetch_related(books)):  # root
        for b in author.books.all():
            assert b.author.publisher.name  # N+1
            assert b.tags_count if run.fixed else b.tags.count()  # N+1


@case(
    related(
        "Author.books",
        'Author.objects.prefetch_related(Prefetch("books", queryset=Book.objects.filter('
        'status="sold"), to_attr="chosen_books_2"))',
        "a.chosen_books_2",
    ),
    after=3,
)
def beside_a_to_attr_of_that_name(run: Run) -> None:
    new = Prefetch("books", queryset=Book.objects.filter(status="new"), to_attr="chosen_books")
    for a in run(Author.objects.prefetch_related(new)):  # root
        assert [book.title for book in a.chosen_books]
        sold = a.chosen_books_2 if run.fixed else a.books.filter(status="sold")
        assert not list(sold)  # N+1


_TAGS = (
    'tags_count{}=Coalesce(Subquery(Tag.objects.filter(books=OuterRef("pk")).order_by()'
    '.values("books").annotate(value=Count("pk")).values("value")), 0)'
)


@case(
    related(
        "Book.tags",
        f"Book.objects.annotate({_TAGS.format('_2')})",
        "book.tags_count_2",
        operation="count",
    ),
    after=1,
)
def count_beside_an_aggregate(run: Run) -> None:
    # A second join would multiply what the first one counts.
    for book in run(Book.objects.annotate(stars=Count("reviews"), tags_count=Count("pk"))):  # root
        assert book.stars == 3
        assert book.tags_count_2 if run.fixed else book.tags.count()  # N+1


@case(
    related(
        "Book.tags",
        f"Book.objects.annotate({_TAGS.format('')})",
        "book.tags_count",
        operation="count",
    ),
    after=1,
)
def count_beside_a_filter_of_the_relation(run: Run) -> None:
    # Grouped, it would count the tags that the filter left, and each book once.
    found = Book.objects.filter(tags__name__in=["tag 3", "tag 4"])  # root
    counts = [
        book.tags_count if run.fixed else book.tags.count()  # N+1
        for book in run(found.order_by("pk"))
    ]
    assert counts == [3, 3, 3, 3, 3, 2]


@case(
    relation(
        "Book.author",
        'Comment.objects.prefetch_related(GenericPrefetch("about", '
        '[Book.objects.select_related("author")]))',
        instead_of=('"about"',),
    ),
    after=2,
)
def behind_a_generic_prefetch(run: Run) -> None:
    # Rows of another model may come tomorrow: a plain lookup would raise at them.
    for comment in run(Comment.objects.prefetch_related("about")):  # root
        assert comment.about.author.name  # N+1
