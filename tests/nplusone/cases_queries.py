"""Loops of queries that no descriptor runs: what those who patch descriptors do not see."""

from __future__ import annotations

from django.db import connection
from django.db.models import Count, F, Max, prefetch_related_objects

from django_querybudget.nplusone import Cause

from .corpus import (
    ONCE,
    ONE_STATEMENT,
    RANGES,
    Expected,
    Run,
    all_values_of,
    bypassed,
    case,
    lookup,
    related,
    relation,
    write,
)
from .data import ROWS, page_of
from .models import Author, Book, Publisher, Review, Setting, SortedBook, Tag


@case(
    related(
        "Book.reviews",
        'Book.objects.annotate(reviews_count=Count("reviews", distinct=True))',
        "book.reviews_count",
        operation="count",
    ),
    after=1,
)
def count_loop(run: Run) -> None:
    for book in run(Book.objects.all()):  # root
        assert (book.reviews_count if run.fixed else book.reviews.count()) == 3  # N+1


@case(
    related(
        "SortedBook.reviews",
        "SortedBook.objects.annotate(reviews_count=Coalesce(Subquery(Review.objects.filter("
        'book=OuterRef("pk")).order_by().values("book").annotate(value=Count("pk"))'
        '.values("value")), 0))',
        "book.reviews_count",
        operation="count",
    ),
    after=1,
)
def count_loop_over_rows_in_an_order_of_their_model(run: Run) -> None:
    """Django drops ``Meta.ordering`` where an annotation groups."""
    titles = []
    for book in run(SortedBook.objects.all()):  # root
        assert (book.reviews_count if run.fixed else book.reviews.count()) == 3  # N+1
        titles.append(book.title)
    assert titles == sorted(titles, reverse=True)


@case(
    related(
        "Book.tags",
        'Book.objects.annotate(tags_count=Count("tags", distinct=True))',
        "book.tags_count",
        operation="count",
    ),
    after=1,
)
def count_loop_over_many_to_many(run: Run) -> None:
    for book in run(Book.objects.all()):  # root
        assert book.tags_count if run.fixed else book.tags.count()  # N+1


@case(
    related(
        "Book.reviews",
        'Book.objects.annotate(reviews_count=Count("reviews", filter=Q(reviews__stars=3), '
        "distinct=True))",
        "book.reviews_count",
    ),
    after=1,
)
def count_loop_with_a_filter(run: Run) -> None:
    for book in run(Book.objects.all()):  # root
        count = book.reviews_count if run.fixed else book.reviews.filter(stars=3).count()  # N+1
        assert count == 1


@case(
    related(
        "Book.reviews",
        'Book.objects.annotate(has_reviews=Exists(Review.objects.filter(book=OuterRef("pk"), '
        "stars=3)))",
        "book.has_reviews",
        operation="exists",
    ),
    after=1,
)
def exists_loop(run: Run) -> None:
    for book in run(Book.objects.all()):  # root
        assert book.has_reviews if run.fixed else book.reviews.filter(stars=3).exists()  # N+1


@case(
    related(
        "Book.reviews",
        "Book.objects.annotate(reviews_max_stars=Subquery(Review.objects.filter("
        'book=OuterRef("pk")).order_by().values("book").annotate(value=Max("stars"))'
        '.values("value")))',
        '(book.reviews_max_stars if hasattr(book, "reviews_max_stars") '
        "else book.reviews.aggregate(best=Max('stars'))['best'])",
        operation="aggregate",
    ),
    blamed="N+1: best",
    after=1,
)
def aggregate_loop(run: Run) -> None:
    """The helper may be given a book of another queryset: it falls back to its own query."""
    for book in run(Book.objects.all()):  # root
        assert _best(book, run) == 3


def _best(book: Book, run: Run) -> int:
    if run.fixed and hasattr(book, "reviews_max_stars"):
        return int(book.reviews_max_stars)
    value: int = book.reviews.aggregate(best=Max("stars"))["best"]  # N+1: best
    return value


@case(
    related(
        "Author.books",
        'Author.objects.prefetch_related("books")',
        "min(author.books.all(), key=lambda each: each.pk, default=None)",
        operation="first",
    ),
    after=2,
)
def first_loop(run: Run) -> None:
    for author in run(Author.objects.all()):  # root
        if run.fixed:
            assert min(author.books.all(), key=lambda each: each.pk, default=None)
        else:
            assert author.books.first()  # N+1


@case(
    related(
        "Author.books",
        'Author.objects.prefetch_related(Prefetch("books", '
        'queryset=Book.objects.filter(status="new"), to_attr="chosen_books"))',
        "author.chosen_books",
    ),
    after=2,
)
def filter_loop(run: Run) -> None:
    for author in run(Author.objects.all()):  # root
        books = author.chosen_books if run.fixed else author.books.filter(status="new")
        assert [book.title for book in books]  # N+1


@case(
    related(
        "Author.books",
        'Author.objects.prefetch_related(Prefetch("books", '
        'queryset=Book.objects.order_by("-title"), to_attr="chosen_books"))',
        "author.chosen_books",
    ),
    after=2,
)
def order_by_loop(run: Run) -> None:
    for author in run(Author.objects.all()):  # root
        books = author.chosen_books if run.fixed else author.books.order_by("-title")
        assert list(books)  # N+1


@case(
    related(
        "Author.books",
        'Book.objects.select_related("author").annotate('
        'author_books_count=Count("author__books", distinct=True))',
        "book.author_books_count",
    ),
    Expected(
        "Book.author",
        Cause.RELATION,
        'Book.objects.select_related("author").annotate('
        'author_books_count=Count("author__books", distinct=True))',
    ),
    after=1,
)
def count_below_one(run: Run) -> None:
    for book in run(Book.objects.all()):  # root
        assert (book.author_books_count if run.fixed else book.author.books.count()) == 1  # N+1


@case(bypassed("Author.books", "len(author.books.all())"), after=2)
def count_of_a_filtered_prefetch(run: Run) -> None:
    for author in Author.objects.prefetch_related("books"):
        if run.fixed:
            assert len(author.books.all()) == 1
        else:
            assert author.books.order_by("pk").count() == 1  # N+1


@case(
    bypassed("Author.books", 'bool([each for each in author.books.all() if each.status == "new"])'),
    after=2,
)
def exists_on_a_prefetch(run: Run) -> None:
    for author in Author.objects.prefetch_related("books"):
        if run.fixed:
            assert [each for each in author.books.all() if each.status == "new"]
        else:
            assert author.books.filter(status="new").exists()  # N+1


@case(lookup("Author", "Author.objects.in_bulk(ids)", operation="get"), after=2)
def get_loop(run: Run) -> None:
    keys = list(Book.objects.values_list("author_id", flat=True))
    if run.fixed:
        assert set(run.ask(ids=keys)) == set(keys)
        return
    for pk in keys:
        assert Author.objects.get(pk=pk)  # N+1


@case(lookup("Book", 'Book.objects.in_bulk(isbns, field_name="isbn")', operation="get"), after=1)
def get_loop_by_another_key(run: Run) -> None:
    isbns = [f"isbn-{number}" for number in range(ROWS)]
    if run.fixed:
        assert set(run.ask(isbns=isbns)) == set(isbns)
        return
    for isbn in isbns:
        assert Book.objects.get(isbn=isbn)  # N+1


@case(
    lookup(
        "Review",
        'Review.objects.filter(book_id__in=book_ids).values("book_id").annotate(count=Count("pk"))',
        operation="count",
    ),
    after=2,
)
def count_of_an_unrelated_filter(run: Run) -> None:
    books = list(Book.objects.all())
    if run.fixed:
        rows = run.ask(book_ids=[book.pk for book in books])
        assert {row["book_id"]: row["count"] for row in rows} == {book.pk: 3 for book in books}
        return
    for book in books:
        assert Review.objects.filter(book=book).count() == 3  # N+1


@case(
    lookup(
        "Review",
        'Review.objects.filter(book_id__in=book_ids, stars=3).values_list("book_id", flat=True)'
        ".distinct()",
        operation="exists",
    ),
    after=2,
)
def exists_of_an_unrelated_filter(run: Run) -> None:
    books = list(Book.objects.all())
    if run.fixed:
        assert set(run.ask(book_ids=[book.pk for book in books])) == {book.pk for book in books}
        return
    for book in books:
        assert Review.objects.filter(book_id=book.pk, stars=3).exists()  # N+1


@case(lookup("Book", "Book.objects.filter(author_id__in=author_ids)", operation="first"), after=2)
def first_of_an_unrelated_filter(run: Run) -> None:
    rows = list(Author.objects.values("pk"))
    if run.fixed:
        found = run.ask(author_ids=[row["pk"] for row in rows])
        assert {book.author_id for book in found} == {row["pk"] for row in rows}
        return
    for row in rows:
        assert Book.objects.filter(author_id=row["pk"]).first()  # N+1


@case(lookup("Author", "Author.objects.in_bulk(ids)"), after=2)
def loop_over_values(run: Run) -> None:
    rows = list(Book.objects.values("title", "author"))
    if run.fixed:
        authors = run.ask(ids=[row["author"] for row in rows])
        assert all(authors.get(row["author"]) for row in rows)
        return
    for row in rows:
        assert Author.objects.filter(pk=row["author"]).first()  # N+1


@case(lookup("", None, hint=ONCE))
def raw_cursor_loop(run: Run) -> None:
    with connection.cursor() as cursor:
        for pk in list(Book.objects.values_list("pk", flat=True)):
            cursor.execute("SELECT title FROM corpus_book WHERE id = %s", [pk])  # N+1
            assert cursor.fetchone()


@case(lookup("", None, hint=ONCE))
def raw_cursor_loop_without_parameters(run: Run) -> None:
    for pk in list(Book.objects.values_list("pk", flat=True)):
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT title FROM corpus_book WHERE id = {int(pk)}")  # N+1
            assert cursor.fetchone()


@case(lookup("Book", None, hint=ONCE))
def raw_queryset_loop(run: Run) -> None:
    for pk in list(Author.objects.values_list("pk", flat=True)):
        assert list(Book.objects.raw("SELECT * FROM corpus_book WHERE author_id = %s", [pk]))  # N+1


@case(write("Book", 'Book.objects.bulk_update(book_list, ["status"])', operation="save"), after=2)
def save_loop(run: Run) -> None:
    books = list(Book.objects.all())
    for book in books:
        book.status = "sold"
        if not run.fixed:
            book.save(update_fields=["status"])  # N+1
    if run.fixed:
        Book.objects.bulk_update(books, ["status"])


@case(write("Tag", "Tag.objects.bulk_create(tag_list)", operation="create"), after=1)
def create_loop(run: Run) -> None:
    names = [f"new {number}" for number in range(4)]
    if run.fixed:
        Tag.objects.bulk_create([Tag(name=name) for name in names])
        return
    for name in names:
        Tag.objects.create(name=name)  # N+1


@case(write("Tag", "Tag.objects.bulk_create(tag_list)", operation="create"), after=1)
def save_of_new_rows_loop(run: Run) -> None:
    tags = [Tag(name=f"new {number}") for number in range(4)]
    if run.fixed:
        Tag.objects.bulk_create(tags)
        return
    for tag in tags:
        tag.save()  # N+1


@case(
    write(
        "Setting",
        "Setting.objects.filter(pk__in=[each.pk for each in setting_list]).delete()",
        operation="delete",
    ),
    after=2,
)
def delete_loop(run: Run) -> None:
    settings = list(Setting.objects.all())
    if run.fixed:
        Setting.objects.filter(pk__in=[each.pk for each in settings]).delete()
        return
    for setting in settings:
        setting.delete()  # N+1


@case(
    write(
        "Publisher",
        "Publisher.objects.filter(pk__in=[each.pk for each in publisher_list]).delete()",
        operation="delete",
    ),
    after=4,
)
def delete_loop_with_cascades(run: Run) -> None:
    names = [f"short-lived {number}" for number in range(3)]
    publishers = Publisher.objects.bulk_create([Publisher(name=name) for name in names])
    if run.fixed:
        Publisher.objects.filter(pk__in=[each.pk for each in publishers]).delete()
        return
    for publisher in publishers:
        publisher.delete()  # N+1


@case(
    write(
        "Setting",
        "Setting.objects.bulk_create(setting_list, ignore_conflicts=True)",
        operation="get_or_create",
    ),
    after=1,
)
def get_or_create_loop(run: Run) -> None:
    keys = [f"new {number}" for number in range(4)]
    if run.fixed:
        Setting.objects.bulk_create([Setting(key=key) for key in keys], ignore_conflicts=True)
        return
    for key in keys:
        Setting.objects.get_or_create(key=key)  # N+1


@case(write("Author", None, operation="get_or_create", hint=ONE_STATEMENT))
def get_or_create_loop_of_what_is_not_unique(run: Run) -> None:
    publisher = Publisher.objects.earliest("pk")
    for number in range(4):
        Author.objects.get_or_create(name=f"new {number}", publisher=publisher)  # N+1


@case(lookup("Book", None, hint=all_values_of("id")))
def lists_of_each_rows_own(run: Run) -> None:
    keys = list(Book.objects.values_list("pk", flat=True))
    for own in (keys[:2], keys[1:3], keys[2:4], keys[:2]):
        assert list(Book.objects.filter(pk__in=own, title__gte=""))  # N+1


@case(lookup("Book", None, operation="count", hint=RANGES))
def a_count_for_each_range(run: Run) -> None:
    for start in range(0, 40, 10):
        Book.objects.filter(pk__gte=start, pk__lt=start + 10).count()  # N+1


@case(
    write(
        "Book",
        'Book.objects.filter(isbn__in=isbns).update(status="sold")',
        operation="update",
    ),
    after=1,
)
def update_loop(run: Run) -> None:
    isbns = [f"isbn-{number}" for number in range(4)]
    if run.fixed:
        run.write(isbns=isbns)
        return
    for isbn in isbns:
        Book.objects.filter(isbn=isbn).update(status="sold")  # N+1


@case(write("Book", None, operation="update", hint=ONE_STATEMENT))
def updates_to_another_value_each_time(run: Run) -> None:
    """What is set is each row's own: no filter says which is whose."""
    for number in range(4):
        Book.objects.filter(isbn=f"isbn-{number}").update(status=f"{number}")  # N+1


@case(write("Book", None, operation="update", hint=ONE_STATEMENT))
def updates_by_an_expression(run: Run) -> None:
    """It may be right for all of them at once; it is no value that could be written down."""
    for number in range(4):
        Book.objects.filter(isbn=f"isbn-{number}").update(status=F("title"))  # N+1


@case(
    Expected(
        "Book.tags, author", Cause.PREFETCH, 'prefetch_related_objects(book_list, "tags", "author")'
    ),
    after=3,
)
def prefetch_related_objects_one_by_one(run: Run) -> None:
    """Once, with all rows, before the loop: what the loop calls then finds its work done."""
    books = list(Book.objects.all())
    if run.fixed:
        run.write(book_list=books, prefetch_related_objects=prefetch_related_objects)
    for book in books:
        prefetch_related_objects([book], "tags", "author")  # N+1


_COUNTED = 'Book.objects.select_related("author").prefetch_related("author__books")'


@case(
    relation("Book.author", _COUNTED),
    related("Author.books", _COUNTED, operation="count"),
    blamed="N+1: total",
    after=2,
)
def count_in_a_property_behind_a_relation(run: Run) -> None:
    """The property has no book at hand, and others read it: ``count()`` reads a prefetch."""
    for book in run(Book.objects.all()):  # root
        author = book.author  # N+1
        assert author.book_total == 1


@case(
    lookup(
        "Book",
        'counts = dict(own.order_by().values_list("status").annotate(Count("pk")))',
        use="counts.get(status, 0)",
        operation="count",
    ),
    after=1,
)
def count_for_each_value(run: Run) -> None:
    own = Book.objects.filter(title__startswith="book")
    if run.fixed:
        counts = dict(own.order_by().values_list("status").annotate(Count("pk")))
        assert counts.get("new", 0) == ROWS
        return
    for status in ("new", "sold", "lost"):
        assert own.filter(status=status).count() in (0, ROWS)  # N+1


@case(relation("Book.author", 'Book.objects.select_related("author")'), after=1)
def evaluated_by_a_helper_of_another_module(run: Run) -> None:
    books = run(Book.objects.order_by("pk"))  # root
    for book in page_of(books):
        assert book.author.name  # N+1
