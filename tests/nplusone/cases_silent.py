"""What is no N+1, however much it looks like one."""

from __future__ import annotations

from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.paginator import Paginator
from django.db import IntegrityError, connection, transaction

from .corpus import Run, case, relation
from .models import Author, Book, Comment, Publisher, Setting, Tag


@case()
def single_get(run: Run) -> None:
    assert Book.objects.get(isbn="isbn-1").author.name


@case()
def two_rows_below_the_threshold(run: Run) -> None:
    for book in Book.objects.all()[:2]:
        assert book.author.name


@case()
def one_shape_from_unrelated_lines(run: Run) -> None:
    assert Book.objects.get(isbn="isbn-1")
    assert Book.objects.get(isbn="isbn-2")
    assert Book.objects.get(isbn="isbn-3")
    assert Book.objects.get(isbn="isbn-4")


@case()
def helper_called_from_unrelated_lines(run: Run) -> None:
    first = _setting("key-1")
    second = _setting("key-2")
    third = _setting("key-3")
    assert all((first, second, third, _setting("key-4")))


@case()
def helper_called_once_and_then_in_a_loop_of_two(run: Run) -> None:
    assert _setting("key-1")
    for key in ("key-2", "key-3"):
        assert _setting(key)


def _setting(key: str) -> str:
    return Setting.objects.get(key=key).value


@case()
def one_line_on_different_tables(run: Run) -> None:
    for model in (Author, Book, Publisher, Tag):
        assert model.objects.filter(pk=model.objects.first().pk).exists()


@case()
def retries_of_one_query(run: Run) -> None:
    for _ in range(5):
        assert not Setting.objects.filter(key="not yet there").exists()


@case()
def failed_tries(run: Run) -> None:
    for number in range(4):
        try:
            with transaction.atomic():
                Setting.objects.create(key=f"key-{number}", value="again")
        except IntegrityError:
            continue


@case()
def pages_by_offset(run: Run) -> None:
    paginator = Paginator(Book.objects.order_by("pk"), 1)
    for number in paginator.page_range:
        assert list(paginator.page(number))


@case()
def pages_after_the_last_key(run: Run) -> None:
    last, seen = 0, 0
    while rows := list(Book.objects.filter(pk__gt=last).order_by("pk")[:2]):
        last, seen = rows[-1].pk, seen + len(rows)
    assert seen == 6


@case()
def bulk_create_in_batches(run: Run) -> None:
    Tag.objects.bulk_create([Tag(name=f"new {number}") for number in range(8)], batch_size=2)


@case()
def bulk_update_in_batches(run: Run) -> None:
    books = list(Book.objects.all())
    for book in books:
        book.status = "sold"
    Book.objects.bulk_update(books, ["status"], batch_size=1)


@case()
def in_bulk_in_batches(run: Run) -> None:
    for chunk in range(0, 6, 2):
        assert len(Book.objects.in_bulk([f"isbn-{chunk}"], field_name="isbn")) == 1


@case()
def chunks_cut_by_hand(run: Run) -> None:
    keys = list(Book.objects.values_list("pk", flat=True))
    for start in range(0, len(keys), 2):
        assert list(Book.objects.filter(pk__in=keys[start : start + 2], status__gte=""))


@case()
def chunks_cut_by_hand_and_updated(run: Run) -> None:
    keys = list(range(1, 12))
    for start in range(0, len(keys), 3):
        Book.objects.filter(pk__in=keys[start : start + 3]).update(status="sold")


@case()
def ranges_of_the_key(run: Run) -> None:
    for start in range(0, 40, 10):
        list(Book.objects.filter(pk__gte=start, pk__lt=start + 10))
        list(Book.objects.filter(pk__range=(start, start + 9)))


@case()
def chunks_of_an_iterator_with_prefetch(run: Run) -> None:
    for book in Book.objects.prefetch_related("tags").iterator(chunk_size=1):
        assert list(book.tags.all())


@case()
def permissions_of_different_codenames(run: Run) -> None:
    for codename in ("add_book", "change_book", "delete_book", "view_book"):
        Permission.objects.filter(codename=codename).exists()


@case()
def content_types_by_id(run: Run) -> None:
    for pk in ContentType.objects.values_list("pk", flat=True)[:5]:
        assert ContentType.objects.get(pk=pk)


@case()
def savepoints(run: Run) -> None:
    for _ in range(4):
        with transaction.atomic():
            pass


@case()
def raw_savepoints(run: Run) -> None:
    with connection.cursor() as cursor, transaction.atomic():
        for number in range(4):
            cursor.execute(f"SAVEPOINT mine_{number}")


@case()
def select_related_already_there(run: Run) -> None:
    for book in Book.objects.select_related("author__publisher"):
        assert book.author.publisher.name


@case()
def prefetch_already_there(run: Run) -> None:
    for book in Book.objects.prefetch_related("tags", "comments"):
        assert len(book.tags.all()) >= 1
        assert book.comments.count() == 1


@case()
def generic_prefetch_already_there(run: Run) -> None:
    for comment in Comment.objects.prefetch_related("about"):
        assert comment.about.title


@case(allow=["corpus.Book.author"])
def allowed_by_relation(run: Run) -> None:
    for book in Book.objects.all():
        assert book.author.name


@case(allow=["Book.*"])
def allowed_by_a_pattern(run: Run) -> None:
    for book in Book.objects.all():
        assert book.author.name


@case(allow=["*/nplusone/cases_silent.py"])
def allowed_by_file(run: Run) -> None:
    for book in Book.objects.all():
        assert book.author.name


@case()
def ignored_at_the_line(run: Run) -> None:
    for book in Book.objects.all():
        assert book.author.name  # querybudget: ignore[six rows at most]


@case()
def ignored_by_the_line_above(run: Run) -> None:
    for book in Book.objects.all():
        # querybudget: ignore[six rows at most]
        assert book.author.name


@case(relation("Book.author", 'Book.objects.select_related("author")'), after=1)
def ignored_without_a_reason(run: Run) -> None:
    for book in run(Book.objects.all()):  # root
        book.author.name  # querybudget: ignore[] # N+1


@case()
def same_instance_again_and_again(run: Run) -> None:
    book = Book.objects.get(isbn="isbn-1")
    for _ in range(5):
        assert book.author.name
