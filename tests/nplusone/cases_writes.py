"""Loops of writes: one call is one finding, however many statements it runs; its fix is honest."""

from __future__ import annotations

from django.db import connection
from django.utils.timezone import now

from .corpus import ONE_STATEMENT, Run, case, write
from .models import Author, Book, Category, Publisher, Review, Setting, Shop, Slugged, Stamped, Tag


def _publishers() -> list[Publisher]:
    """Write three publishers with an author each."""
    found = Publisher.objects.bulk_create([Publisher(name=f"small {n}") for n in range(3)])
    Author.objects.bulk_create([Author(name="new", publisher=publisher) for publisher in found])
    return found


@case(
    write("Publisher", "Publisher.objects.filter(id__in=ids).delete()", operation="delete"),
    after=14,
)
def delete_of_querysets_with_cascades(run: Run) -> None:
    keys = [publisher.pk for publisher in _publishers()]
    if run.fixed:
        run.write(ids=keys)
    else:
        for key in keys:
            Publisher.objects.filter(pk=key).delete()  # N+1
    assert not Publisher.objects.filter(pk__in=keys).exists()


@case(
    write("Book", "Book.objects.filter(author_id__in=author_ids).delete()", operation="delete"),
    after=6,
)
def delete_of_related_rows_with_cascades(run: Run) -> None:
    authors = list(Author.objects.all())
    if run.fixed:
        run.write(author_ids=[author.pk for author in authors])
        return
    for author in authors:
        author.books.all().delete()  # N+1


@case(
    write("Review", "Review.objects.filter(book_id__in=book_ids, stars=1).delete()"),
    after=2,
)
def delete_of_some_related_rows(run: Run) -> None:
    books = list(Book.objects.all())
    if run.fixed:
        run.write(book_ids=[book.pk for book in books])
        return
    for book in books:
        book.reviews.filter(stars=1).delete()  # N+1


# MySQL and MariaDB take any unique field, and the name of none.
_BY = ", unique_fields=[{}]" if connection.vendor != "mysql" else ""
_KEY, _SHELF = '"key"', '"shelf", "number"'
_UPSERT = (
    'Setting.objects.bulk_create(setting_list, update_conflicts=True, update_fields=["value"]'
    f"{_BY.format(_KEY)})"
)


@case(write("Setting", _UPSERT, operation="update_or_create"), after=2)
def update_or_create_loop(run: Run) -> None:
    # Six rows are there, six are not.
    keys = [f"key-{number}" for number in range(12)]
    if run.fixed:
        run.write(setting_list=[Setting(key=key, value="new") for key in keys])
    else:
        for key in keys:
            Setting.objects.update_or_create(key=key, defaults={"value": "new"})  # N+1
    assert Setting.objects.filter(value="new").count() == 12


@case(write("Setting", None, operation="update_or_create", hint=ONE_STATEMENT))
def update_or_create_otherwise_than_it_updates(run: Run) -> None:
    for number in range(4):
        Setting.objects.update_or_create(  # N+1
            key=f"key-{number}", defaults={"value": "old"}, create_defaults={"value": "new"}
        )


@case(write("Tag", None, operation="update_or_create", hint=ONE_STATEMENT))
def update_or_create_by_what_is_not_unique(run: Run) -> None:
    for number in range(4):
        Tag.objects.update_or_create(name=f"other {number}", defaults={"name": "x"})  # N+1


@case(
    write(
        "Stamped",
        "Stamped.objects.bulk_create(stamped_list, update_conflicts=True, "
        f'update_fields=["changed"]{_BY.format(_SHELF)})',
        operation="update_or_create",
    ),
    after=1,
)
def update_or_create_by_two_fields(run: Run) -> None:
    if run.fixed:
        run.write(stamped_list=[Stamped(shelf="a", number=n, changed=now()) for n in range(4)])
        return
    for number in range(4):
        Stamped.objects.update_or_create(  # N+1
            shelf="a", number=number, defaults={"changed": now()}
        )


@case(
    write(
        "Setting",
        "Setting.objects.bulk_create(setting_list, ignore_conflicts=True)\n"
        'Setting.objects.in_bulk(keys, field_name="key")',
        operation="get_or_create",
    ),
    after=2,
)
def get_or_create_whose_rows_are_read(run: Run) -> None:
    keys = [f"key-{number}" for number in range(12)]
    if run.fixed:
        run.write(setting_list=[Setting(key=key) for key in keys], keys=keys)
        return
    assert all(Setting.objects.get_or_create(key=key)[0].pk for key in keys)  # N+1


@case(  # The look-up, and save()'s own line.
    write("Slugged", None, hint=ONE_STATEMENT),
    write("Slugged", None, hint=ONE_STATEMENT),
    blamed="N+1: slug",
)
def get_or_create_with_a_save_of_its_own(run: Run) -> None:
    for number in range(4):
        Slugged.objects.get_or_create(name=f"Name {number}")  # N+1


@case(write("Slugged", None, operation="save", hint=ONE_STATEMENT), blamed="N+1: slug")
def save_of_its_own(run: Run) -> None:
    Slugged.objects.bulk_create([Slugged(name=f"Name {number}") for number in range(4)])
    for row in Slugged.objects.all():
        row.save()


@case(
    write(
        "Stamped",
        'Stamped.objects.bulk_update(stamped_list, ["shelf", "number", "changed"])  '
        "# sets no changed: set it first",
        operation="save",
    ),
    after=3,
)
def save_of_what_notes_when(run: Run) -> None:
    Stamped.objects.bulk_create([Stamped(shelf="a", number=number) for number in range(4)])
    rows = list(Stamped.objects.all())
    for row in rows:
        row.shelf = "b"
        row.changed = now()
        if not run.fixed:
            row.save()  # N+1
    if run.fixed:
        run.write(stamped_list=rows)


@case(
    write("Shop", 'Shop.objects.bulk_update(shop_list, ["name", "owner"])', operation="save"),
    after=4,
)
def save_in_two_tables(run: Run) -> None:
    shops = list(Shop.objects.all())
    for shop in shops:
        shop.name = "new"
        if not run.fixed:
            shop.save()  # N+1
    if run.fixed:
        run.write(shop_list=shops)


@case(write("Tag", "Tag.objects.bulk_create(tag_list)", operation="create"), after=1)
def create_of_rows_that_are_alike(run: Run) -> None:
    if run.fixed:
        run.write(tag_list=[Tag(name="again") for _ in range(4)])
        return
    for _ in range(4):
        Tag.objects.create(name="again")  # N+1


@case(
    write("Author.books", "Book.objects.bulk_create(book_list)", operation="create"),
    after=2,
)
def create_of_related_rows(run: Run) -> None:
    authors = list(Author.objects.all())
    if run.fixed:
        run.write(book_list=[Book(isbn=f"new {row.pk}", author=row) for row in authors])
        return
    for author in authors:
        author.books.create(isbn=f"new {author.pk}")  # N+1


_LABELLED = (
    "Tag.objects.bulk_create(tag_list)\n"
    "Book.tags.through.objects.bulk_create(tags_list, ignore_conflicts=True)"
)


@case(write("Book.tags", _LABELLED, operation="create"), after=3)
def create_of_many_to_many_rows(run: Run) -> None:
    books = list(Book.objects.all())
    if run.fixed:
        new = [Tag(name=book.title) for book in books]
        pairs = zip(books, new, strict=True)
        # Of rows that the first statement gives their keys: both are in one text.
        through = (Book.tags.through(book=book, tag=tag) for book, tag in pairs)
        run.write(tag_list=new, tags_list=through)
        return
    for book in books:
        book.tags.create(name=book.title)  # N+1


_THROUGH = "Book.tags.through.objects."


@case(
    write("Book.tags", f"{_THROUGH}bulk_create(tags_list, ignore_conflicts=True)", operation="add"),
    after=3,
)
def add_to_many_to_many(run: Run) -> None:
    tag, books = Tag.objects.get(name="tag 3"), list(Book.objects.all())
    if run.fixed:
        run.write(tags_list=[Book.tags.through(book=book, tag=tag) for book in books])
    else:
        for book in books:
            book.tags.add(tag)  # N+1


@case(
    write("Book.tags", f"{_THROUGH}filter(book_id__in=book_ids, tag_id__in=tag_ids).delete()"),
    after=3,
)
def remove_from_many_to_many(run: Run) -> None:
    tag, books = Tag.objects.get(name="tag 3"), list(Book.objects.all())
    if run.fixed:
        run.write(book_ids=[book.pk for book in books], tag_ids=[tag.pk])
    else:
        for book in books:
            book.tags.remove(tag)  # N+1


@case(write("Tag.books", None, operation="remove", hint=ONE_STATEMENT))
def remove_of_another_one_each_time(run: Run) -> None:
    books = list(Book.objects.order_by("pk"))
    for tag, book in zip(Tag.objects.order_by("pk"), books, strict=True):
        tag.books.remove(book)  # N+1


@case(
    write("Book.tags", f"{_THROUGH}filter(book_id__in=book_ids).delete()", operation="clear"),
    after=2,
)
def clear_many_to_many(run: Run) -> None:
    books = list(Book.objects.all())
    if run.fixed:
        run.write(book_ids=[book.pk for book in books])
        return
    for book in books:
        book.tags.clear()  # N+1


@case(write("Book.tags", None, operation="set", hint=ONE_STATEMENT))
def set_many_to_many(run: Run) -> None:
    # What is removed and what is added is another for each book: no statement does it for all.
    tags = list(Tag.objects.all()[:2])
    for book in Book.objects.all():
        book.tags.set(tags)  # N+1


@case(
    write("Author.books", 'Book.objects.bulk_update(book_list, ["author"])', operation="add"),
    after=3,
)
def add_to_the_other_end_of_a_foreign_key(run: Run) -> None:
    author, books = Author.objects.earliest("pk"), list(Book.objects.all())
    if run.fixed:
        for book in books:
            book.author = author
        run.write(book_list=books)
        return
    for book in books:
        author.books.add(book)  # N+1


@case(
    write("Review", "Review.objects.bulk_create(review_list)", operation="bulk_create"),
    after=2,
)
def bulk_create_for_each_row(run: Run) -> None:
    books = list(Book.objects.all())
    if run.fixed:
        run.write(review_list=[Review(book=book, stars=n) for book in books for n in (1, 2)])
        return
    for book in books:
        Review.objects.bulk_create([Review(book=book, stars=n) for n in (1, 2)])  # N+1


@case(
    write(
        "Review",
        'Review.objects.bulk_update(review_list, ["stars"])',
        operation="bulk_update",
    ),
    after=3,
)
def bulk_update_for_each_row(run: Run) -> None:
    books = Book.objects.prefetch_related("reviews")
    if run.fixed:
        run.write(review_list=[review for book in books for review in book.reviews.all()])
        return
    for book in books:
        Review.objects.bulk_update(book.reviews.all(), ["stars"])  # N+1


@case()
def bulk_create_of_slices(run: Run) -> None:
    tags = [Tag(name=f"new {number}") for number in range(11)]
    for start in range(0, 11, 3):
        Tag.objects.bulk_create(tags[start : start + 3])


@case()
def bulk_create_whose_last_batch_is_shorter(run: Run) -> None:
    # Two texts, none of them three times.
    Tag.objects.bulk_create([Tag(name=f"new {number}") for number in range(5)], batch_size=2)


@case()
def bulk_update_whose_last_batch_is_shorter(run: Run) -> None:
    tags = list(Tag.objects.all()[:5])
    Tag.objects.bulk_update(tags, ["name"], batch_size=2)


@case()
def delete_of_many_rows_at_once(run: Run) -> None:
    Category.objects.bulk_create([Category(name=f"{number}") for number in range(350)])
    Category.objects.all().delete()


@case()
def delete_of_a_tree(run: Run) -> None:
    stem = last = Category.objects.create(name="stem")
    for name in ("branch", "twig"):
        last = Category.objects.create(name=name, parent=last)
    Category.objects.bulk_create([Category(name="leaf", parent=last)])
    stem.delete()


@case(
    write(
        "Category",
        "Category.objects.filter(pk__in=[each.pk for each in category_list]).delete()",
        operation="delete",
    ),
    after=4,
)
def delete_of_instances_of_a_tree(run: Run) -> None:
    rows = Category.objects.bulk_create([Category(name=str(number)) for number in range(4)])
    if run.fixed:
        run.write(category_list=rows)
        return
    for row in rows:
        row.delete()  # N+1
