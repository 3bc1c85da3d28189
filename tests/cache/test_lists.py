"""Lists that a foreign key pins: whose entries a write leaves alone, on each database.

That none is ever stale is proved by ``test_statements``, the orders and the random programs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest
from django.db import IntegrityError, connections, transaction
from django.db.models import F, Q
from django.db.models.functions import Concat, Lower
from django.test.utils import CaptureQueriesContext

from django_querybudget.cache import cached_queryset, fetch_together, tables, tags
from django_querybudget.cache.columns import Columns
from django_querybudget.cache.payload.entries import decoded
from django_querybudget.cache.reading import lists
from django_querybudget.cache.reading.conditions import list_of
from django_querybudget.cache.reading.lists import MOST_ROWS
from django_querybudget.cache.stores.chosen import store_for
from django_querybudget.cache.stores.store import Store
from django_querybudget.cache.transactions.pending import MANY_ROWS
from jobs.models import Application, Job
from tests.cache import world
from tests.cache.relations.models import Author, Book, Chapter, DearBook, Like, Note, Restaurant

pytestmark = pytest.mark.django_db(transaction=True)

List = Callable[[str], Any]
Write = Callable[[str], Any]


@pytest.fixture
def alias(vendor_alias: str, redis_url: str, settings: Any) -> str:
    del redis_url
    settings.QUERYBUDGET = {"CACHE": {"ALIAS": "redis", "CLOCK_SKEW": 0}}
    from django.core.cache import caches

    caches["redis"].clear()
    connections[vendor_alias].close()  # a session in which no other test has SET anything
    world.fill(vendor_alias)
    return vendor_alias


def asks(alias: str, made: List) -> tuple[list[Any], int]:
    """Return the keys of a list's rows, read through the cache, and how many queries that took."""
    with CaptureQueriesContext(connections[alias]) as queries:
        rows = list(cached_queryset(made(alias), 600, cache="redis"))
    assert [*map(shown, rows)] == [*map(shown, made(alias))]
    return [row.pk for row in rows], len(queries)


def shown(row: Any) -> dict[str, Any]:
    """Return what a row holds, and the rows that were joined to it."""
    values = {name: value for name, value in vars(row).items() if not name.startswith("_")}
    joined = row._state.fields_cache.items()
    return values | {name: each if each is None else shown(each) for name, each in joined}


def is_kept(alias: str, made: List, write: Write) -> bool:
    """Whether a list is still read from the cache after a write."""
    asks(alias, made)
    assert asks(alias, made)[1] == 0, "the list was not cached"
    write(alias)
    return asks(alias, made)[1] == 0


def of_author(author: int) -> List:
    return lambda alias: Book.objects.using(alias).filter(author=author).order_by("pk")


def dear(alias: str) -> Any:
    return Book.objects.using(alias).filter(author=1, price__gte=15).order_by("pk")


def dearest(alias: str) -> Any:
    return Book.objects.using(alias).filter(author=1).order_by("-price", "pk")[:1]


def joined(author: int) -> List:
    return lambda alias: of_author(author)(alias).select_related("author", "editor__mentor")


def row_and_author(alias: str) -> Any:
    return Book.objects.using(alias).filter(pk=1).select_related("author")


def no_row_and_author(alias: str) -> Any:
    return Book.objects.using(alias).filter(pk=77).select_related("author")


def of_applicant(alias: str) -> Any:
    """A job's own ``__init__()`` makes the instances: what it was given is noted."""
    return Application.objects.using(alias).filter(applicant=1).select_related("job__client")


def retitle(job: int) -> Write:
    def run(alias: str) -> None:
        found = Job.objects.using(alias).get(pk=job)
        found.title = "new"
        found.save(using=alias)

    return run


def of_authors(**values: Any) -> Write:
    """Save an author: the one with the key that is given, or a new one."""

    def run(alias: str) -> None:
        found = Author.objects.using(alias).filter(pk=values.get("pk")).first() or Author()
        for name, value in values.items():
            setattr(found, name, value)
        found.save(using=alias)

    return run


def create(author: int) -> Write:
    return lambda alias: Book.objects.using(alias).create(title="new", price=50, author_id=author)


def save(pk: int, **values: Any) -> Write:
    def run(alias: str) -> None:
        book = Book.objects.using(alias).get(pk=pk)
        vars(book).update(values)
        book.save(using=alias)

    return run


def update(pk: int, **values: Any) -> Write:
    return lambda alias: Book.objects.using(alias).filter(pk=pk).update(**values)


def delete(pk: int) -> Write:
    return lambda alias: Book.objects.using(alias).get(pk=pk).delete()


def update_of(condition: dict[str, Any], **values: Any) -> Write:
    return lambda alias: Book.objects.using(alias).filter(**condition).update(**values)


def delete_of(**condition: Any) -> Write:
    """Without a look at the rows before; nothing of other tables may refer to them."""

    def run(alias: str) -> None:
        books = Book.objects.using(alias)
        for model in (Like, Book.tags.through, Chapter):
            model._base_manager.using(alias).all().delete()
        books.filter(**condition)._raw_delete(alias)

    return run


def save_of_many(last: int) -> Write:
    """Write as many rows by their keys as one transaction tells apart, and then the ``last``."""

    def run(alias: str) -> None:
        books = Book.objects.using(alias)
        with transaction.atomic(using=alias):
            for pk in range(1000, 1000 + MANY_ROWS):
                books.filter(pk=pk).update(title="none")
            books.filter(pk=last).update(title="other")

    return run


def in_atomic(write: Write) -> Write:
    def run(alias: str) -> None:
        with transaction.atomic(using=alias):
            write(alias)

    return run


def bulk_create(*authors: int) -> Write:
    return lambda alias: Book.objects.using(alias).bulk_create(
        [Book(title="new", price=1, author_id=author) for author in authors]
    )


def bulk_update(pk: int, **values: Any) -> Write:
    def run(alias: str) -> None:
        book = Book.objects.using(alias).get(pk=pk)
        vars(book).update(values)
        Book.objects.using(alias).bulk_update([book], [name.removesuffix("_id") for name in values])

    return run


KEPT = [
    ("an insert with another value", of_author(1), create(2)),
    ("an insert of many with other values", of_author(1), bulk_create(2, 3, 2)),
    ("a save() of another's row", of_author(1), save(3, price=99)),
    ("a save() in atomic()", of_author(1), in_atomic(save(3, price=99))),
    ("an update() of another's row", of_author(1), update(3, price=99)),
    ("an update() of a column that it does not name", dear, update(3, title="other")),
    ("a save() of all columns of another's row", dear, save(3, price=1)),
    ("a bulk_update() of another's row", of_author(1), bulk_update(3, price=99)),
    ("a row that moves between others", of_author(1), save(3, author_id=4)),
    ("a delete of another's row", of_author(1), delete(3)),
    ("an update() of no order", dearest, update(3, title="other")),
    ("an insert elsewhere, of an empty list", of_author(4), create(1)),
    ("an update() elsewhere, of an empty list", of_author(4), update(1, price=1)),
    ("an update() of another's row on a condition", of_author(1),
     update_of({"pk": 3, "price__gte": 1}, price=99)),
    ("an update() of all of another value", of_author(1), update_of({"author": 2}, price=7)),
    ("an update() of all of some values", of_author(1),
     update_of({"author__in": [2, 3], "price__gte": 1}, price=7, editor=4)),
    ("a delete of all of another value", of_author(1), delete_of(author=2)),
    ("a save() of a row that is not joined", joined(1), of_authors(pk=3, name="new")),
    ("an insert into a joined table", joined(1), of_authors(name="new")),
    ("a save() of another's row, with joins", joined(1), save(3, price=99)),
    ("a save() of what is joined to others", joined(2), of_authors(pk=4, name="new")),
    ("a save() of a row that is not joined, of a model with an __init__()", of_applicant,
     retitle(1)),
    ("a save() of another row than the key's", row_and_author, save(2, price=99)),
    ("a save() of a row that is not joined to the key's", row_and_author,
     of_authors(pk=3, name="new")),
]  # fmt: skip

RENEWED = [
    ("an insert with its value", of_author(1), create(1)),
    ("an insert with its value, of an empty list", of_author(4), create(4)),
    ("an insert of many", of_author(1), bulk_create(2, 1)),
    ("a save() of a row", of_author(1), save(1, price=99)),
    ("a row that comes", of_author(1), save(3, author_id=1)),
    ("a row that goes", of_author(1), save(1, author_id=4)),
    ("a row that comes by update()", of_author(1), update(3, author=1)),
    ("a row that comes by an expression", of_author(1), update(3, author=F("editor"))),
    ("a row that comes by bulk_update()", of_author(1), bulk_update(3, author_id=1)),
    ("a row that comes to meet its condition", dear, update(1, price=20)),
    ("a row that comes to meet its condition by bulk_update()", dear, bulk_update(1, price=20)),
    ("a row that comes before its limit", dearest, update(1, price=99)),
    ("a write of unknown extent", of_author(1),
     lambda alias: Book.objects.using(alias).filter(price=30).update(title="raw")),
    ("an update() of a row on a condition", of_author(1),
     update_of({"pk": 1, "price__gte": 1}, price=99)),
    ("a row that comes by an update() on a condition", of_author(1),
     update_of({"pk": 3, "author": 2}, author=1)),
    ("an update() of all of its value", of_author(1), update_of({"author": 1}, price=7)),
    ("an update() of all of its value that adds a row", dear, update_of({"author": 1}, price=16)),
    ("an update() of all of another key's value", of_author(2), update_of({"editor": 1}, price=7)),
    ("an update() of all of another key's value that adds a row", of_author(4),
     update_of({"editor": 2}, author=4)),
    ("an update() of all of another key's value that takes rows", of_author(1),
     update_of({"editor": 2}, author=4)),
    ("a delete of all of its value", of_author(1), delete_of(author=1)),
    ("a delete of all of another key's value", of_author(1), delete_of(editor=2)),
    ("a save() of a joined row", joined(1), of_authors(pk=1, name="new")),
    ("a save() of an outer joined row", joined(1), of_authors(pk=2, name="new")),
    ("a save() of a joined row of a model with an __init__()", of_applicant, retitle(2)),
    ("a joined row that joins another", joined(1), of_authors(pk=2, mentor_id=4)),
    ("another joined row", joined(1), save(1, editor_id=3)),
    ("a write of unknown extent to joined rows", joined(1),
     lambda alias: Author.objects.using(alias).filter(score=0).update(name="new")),
    ("an update() of joined rows by a foreign key of theirs", joined(1),
     lambda alias: Author.objects.using(alias).filter(mentor=2).update(score=1)),
    ("an insert with its value, with joins", joined(1), create(1)),
    ("a save() of the key's row", row_and_author, save(1, price=99)),
    ("a save() of the row that is joined to the key's", row_and_author,
     of_authors(pk=1, name="new")),
    ("another row that is joined to the key's", row_and_author, save(1, author_id=3)),
    ("the key's row, that was not there", no_row_and_author,
     lambda alias: Book(pk=77, title="new", author_id=1).save(using=alias)),
    ("more rows in one transaction than are told apart", of_author(1), save_of_many(1)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "made", "write"), KEPT, ids=[each[0] for each in KEPT])
def test_a_write_leaves_a_list_alone(alias: str, name: str, made: List, write: Write) -> None:
    assert is_kept(alias, made, write), name


@pytest.mark.parametrize(("name", "made", "write"), RENEWED, ids=[each[0] for each in RENEWED])
def test_a_write_renews_a_list(alias: str, name: str, made: List, write: Write) -> None:
    assert not is_kept(alias, made, write), name


def test_a_hit_is_one_trip_when_the_rows_are_known(
    alias: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asks(alias, of_author(1))
    trips: list[int] = []
    store = store_for("redis")
    read = type(store)._read_many
    monkeypatch.setattr(type(store), "_read_many", lambda *args: (trips.append(1), read(*args))[1])
    assert asks(alias, of_author(1))[1] == 0
    assert len(trips) == 1


def test_lists_of_a_group_are_refined_too(alias: str) -> None:
    def both() -> int:
        with CaptureQueriesContext(connections[alias]) as queries:
            fetch_together(*(cached_queryset(of_author(n)(alias), cache="redis") for n in (1, 2)))
        return len(queries)

    assert [both(), both()] == [2, 0]
    create(2)(alias)
    assert both() == 1


@pytest.mark.parametrize("over", [0, 1])
def test_an_entry_has_the_tags_of_fifty_rows_at_most(
    alias: str, over: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    Book.objects.using(alias).filter(author=4).delete()
    rows = [Book(title=str(n), author_id=4) for n in range(MOST_ROWS + over)]
    Book.objects.using(alias).bulk_create(rows)
    stored = entries_stored(monkeypatch)
    asks(alias, of_author(4))
    found = [tag for tag in stored[-1] if tags.is_row(tag)]
    assert len(found) == (0 if over else MOST_ROWS)
    assert is_kept(alias, of_author(4), save(1, price=7)) is not bool(over)


def entries_stored(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """Return the tokens of the entries that are stored from now on."""
    stored: list[dict[str, str]] = []
    write = Store.write

    def noting(store: Any, key: str, entry: bytes, *others: Any, **more: Any) -> bool:
        stored.append(dict(decoded(key, entry).tokens))
        return write(store, key, entry, *others, **more)

    monkeypatch.setattr(Store, "write", noting)
    return stored


# Writers that know other foreign keys


@contextmanager
def knowing(*names: str) -> Iterator[None]:
    """In the block, this process writes as one to which only these columns are foreign keys."""
    of = Columns.of

    def less(model: Any) -> Columns:
        columns = of(model)
        pins = {name: column for name, column in columns.pins.items() if name in names}
        return replace(columns, pins=pins)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Columns, "of", less)
        tables.forget()
        yield
    tables.forget()


def with_older_code(write: Write, *names: str) -> Write:
    def run(alias: str) -> None:
        with knowing(*names):
            write(alias)

    return run


OLDER = {"no foreign key": (), "another": ("editor_id", "reader_id")}


@pytest.mark.parametrize("known", OLDER.values(), ids=list(OLDER))
@pytest.mark.parametrize(
    ("name", "made", "write"),
    [
        ("an insert", of_author(1), create(1)),
        ("an insert, of an empty list", of_author(4), create(4)),
        ("a row that comes", of_author(1), save(3, author_id=1)),
        ("a row that comes to meet its condition", dear, save(1, price=20)),
        ("a row that comes before its limit", dearest, save(1, price=99)),
        ("a save() in atomic()", of_author(1), in_atomic(save(3, author_id=1))),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_write_of_who_does_not_know_the_foreign_key_renews_a_list(
    alias: str, name: str, made: List, write: Write, known: tuple[str, ...]
) -> None:
    assert not is_kept(alias, made, with_older_code(write, *known)), name
    # What is stored now is kept by those who know it, and by them alone.
    assert is_kept(alias, made, create(2)), name
    assert not is_kept(alias, made, with_older_code(create(2), *known)), name


def test_what_was_stored_before_does_not_come_back(alias: str) -> None:
    """Neither when a list is read after a write of older code, nor when another one writes."""
    asks(alias, of_author(1))
    with_older_code(create(1))(alias)
    asks(alias, of_author(2))
    assert asks(alias, of_author(1))[1] == 1
    with_older_code(create(1))(alias)
    save(3, title="other")(alias)
    assert asks(alias, of_author(1))[1] == 1


@pytest.mark.parametrize("made", [of_author(1), of_author(4)], ids=["rows", "no rows"])
def test_none_is_stored_while_a_writer_of_older_code_is_in_flight(alias: str, made: List) -> None:
    """It has marked what it knows: the table. Its row may come into any list when it commits."""
    table = tags.table_tag(tags.database_name(alias), "relations_book")
    asks(alias, made)
    assert store_for("redis").mark({table}, "older", 60.0)
    assert [asks(alias, made)[1] for _ in range(3)] == [1, 1, 1]
    assert store_for("redis").renew({table}, "older")
    asks(alias, made)
    assert asks(alias, made)[1] == 0


@pytest.mark.parametrize("together", [False, True])
def test_a_twin_is_not_looked_at_after_a_tag_that_its_repair_renews(
    alias: str, monkeypatch: pytest.MonkeyPatch, together: bool
) -> None:
    """A process that knows yet others asks for an entry's twin in a second look."""
    asks(alias, of_author(1))
    book = tables.tables().tables["relations_book"]
    twin = tags.twin_tag(tags.database_name(alias), book.name, book.known)
    with_older_code(create(1))(alias)
    store = store_for("redis")
    looks: list[Any] = []

    def repaired_between(name: str) -> Any:
        read = getattr(store, name)

        def look(key: Any, wanted: Any) -> Any:
            looks.append(wanted)
            if twin in wanted:
                store.ensure([twin])
            return read(key, wanted)

        return look

    for name in ("read", "read_many"):
        monkeypatch.setattr(store, name, repaired_between(name))
    with knowing("author_id"):
        queryset = cached_queryset(of_author(1)(alias), 600, cache="redis")
        rows = fetch_together(queryset)[0] if together else list(queryset)
    assert [row.pk for row in rows] == [row.pk for row in of_author(1)(alias)]
    assert any(twin in wanted for wanted in looks)


def is_list(made: Any, alias: str) -> bool:
    sql, params = (
        made.query.sql_with_params() if alias is None else made.query.get_compiler(alias).as_sql()
    )
    return list_of(sql, params, connections[alias]) is not None


LISTS: list[tuple[str, Callable[[Any], Any]]] = [
    ("one value", lambda books: books.filter(author=1)),
    ("some values", lambda books: books.filter(author__in=[1, 2])),
    ("more conditions", lambda books: books.filter(author=1, price__range=(1, 5), title="a")),
    ("either of two conditions", lambda books: books.filter(Q(price=1) | Q(title="a"), author=1)),
    ("not a condition", lambda books: books.filter(author=1).exclude(title="a")),
    ("null", lambda books: books.filter(author=1, reader=None)),
    ("a column", lambda books: books.filter(author=1, price__gt=F("editor"))),
    ("a limit", lambda books: books.filter(author=1).order_by("-title")[:5]),
    ("a foreign key to itself", lambda books: Author.objects.using(books.db).filter(mentor=1)),
    ("a join", lambda books: books.filter(author=1).select_related("author")),
    ("joins", lambda books: books.filter(editor=1).select_related("author__mentor", "reader")),
    ("a row and a join", lambda books: books.filter(pk=1).select_related("author")),
    ("a row, a join and a condition",
     lambda books: books.filter(pk=1, title__gt="a").select_related("author")),
    ("a joined order of all rows",
     lambda books: books.filter(author=1).select_related("author").order_by("author__name")),
    ("a proxy", lambda books: DearBook.objects.using(books.db).filter(author=1)),
]  # fmt: skip

NO_LISTS: list[tuple[str, Callable[[Any], Any]]] = [
    ("no foreign key", lambda books: books.filter(title="a")),
    ("either of two keys", lambda books: books.filter(Q(author=1) | Q(editor=1))),
    ("not a value", lambda books: books.exclude(author=1)),
    ("a range of values", lambda books: books.filter(author__gte=1)),
    ("no value", lambda books: books.filter(reader=None)),
    ("an offset", lambda books: books.filter(author=1)[1:3]),
    ("a join by another column than the primary key",
     lambda books: Author.objects.using(books.db).filter(mentor=1, books__title="a")),
    ("a row without a join", lambda books: books.filter(pk=1)),
    ("a join that the database does not see to",
     lambda books: Note.objects.using(books.db).filter(content_type=1)
     .select_related("content_type")),
    ("a join of a parent's row", lambda books: Restaurant.objects.using(books.db).filter(pk=1)),
    ("a joined condition", lambda books: books.filter(author=1, author__name="a")),
    ("a joined order and a limit",
     lambda books: books.filter(author=1).select_related("author").order_by("author__name")[:5]),
    ("a joined order by a column that both tables have, and a limit",
     lambda books: Application.objects.using(books.db).filter(applicant=1).select_related("job")
     .order_by("job__status")[:5]),
    ("an annotation", lambda books: books.filter(author=1).annotate(low=Lower("title"))),
    ("a function", lambda books: books.alias(low=Lower("title")).filter(author=1, low="a")),
    ("an order by a function", lambda books: books.filter(author=1).order_by(Lower("title"))),
    ("a subquery", lambda books: books.filter(author=1, pk__in=Chapter.objects.values("book"))),
    ("a distinct", lambda books: books.filter(author=1).distinct()),
    ("a union", lambda books: books.filter(author=1).union(books.filter(author=2))),
    ("many values", lambda books: books.filter(author__in=range(1, 30))),
    ("text of the host's", lambda books: books.filter(author=1).extra(where=["price = 1"])),
    ("an expression for a value", lambda books: books.filter(author=F("editor"))),
    ("a pattern", lambda books: books.filter(author=1, title__startswith="a")),
    ("a concatenation", lambda books: books.filter(author=1, title=Concat("title", "title"))),
    ("a row lock", lambda books: books.filter(author=1).select_for_update()),
]  # fmt: skip


def test_a_joined_row_that_is_missing_may_come(alias: str) -> None:
    """An outer join finds the list's row without it; the database has been told not to look."""
    connection = connections[alias]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE relations_book DISABLE TRIGGER ALL")
            cursor.execute("UPDATE relations_book SET editor_id = 99 WHERE id = 1")
            cursor.execute("ALTER TABLE relations_book ENABLE TRIGGER ALL")
    else:
        with connection.constraint_checks_disabled():
            save(1, editor_id=99)(alias)
    try:
        assert not is_kept(alias, joined(1), of_authors(pk=99, name="comes"))
        assert is_kept(alias, joined(1), of_authors(pk=98, name="other"))
    finally:
        save(1, editor_id=2)(alias)


def test_a_list_with_many_joined_rows_depends_on_its_tables(
    alias: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = entries_stored(monkeypatch)
    monkeypatch.setattr(lists, "MOST_WITH_JOINED", 4)
    asks(alias, joined(1))
    assert sum(map(tags.is_row, stored[-1])) == 4  # two books, their author and editor
    monkeypatch.setattr(lists, "MOST_WITH_JOINED", 3)
    create(1)(alias)
    asks(alias, joined(1))
    assert not any(map(tags.is_row, stored[-1]))


def test_rows_that_know_what_is_joined_to_them_are_not_told_apart(alias: str) -> None:
    """Of ``author.books`` each book has the author that it was asked of, whichever is joined."""
    author = Author.objects.using(alias).get(pk=1)

    def joining(name: str) -> List:
        return lambda _: author.books.order_by("pk").select_related(name)

    assert not is_kept(alias, joining("author"), of_authors(pk=3, name="new"))
    assert is_kept(alias, joining("editor"), of_authors(pk=3, name="newer"))


@pytest.mark.parametrize(("name", "made"), LISTS, ids=[each[0] for each in LISTS])
def test_what_is_such_a_list(vendor_alias: str, db: None, name: str, made: Any) -> None:
    del db
    assert is_list(made(Book.objects.using(vendor_alias)), vendor_alias), name


@pytest.mark.parametrize(("name", "made"), NO_LISTS, ids=[each[0] for each in NO_LISTS])
def test_what_is_no_such_list(vendor_alias: str, db: None, name: str, made: Any) -> None:
    del db
    if name == "a row lock" and not connections[vendor_alias].features.has_select_for_update:
        return
    with transaction.atomic(using=vendor_alias):
        assert not is_list(made(Book.objects.using(vendor_alias)), vendor_alias), name


def test_a_time_that_mysql_may_change_by_itself_limits_no_list(vendor_alias: str, db: None) -> None:
    del db
    vendor = connections[vendor_alias].vendor
    jobs = Job.objects.using(vendor_alias).filter(client=1).order_by("-created_at")
    assert is_list(jobs, vendor_alias)
    assert is_list(jobs[:5], vendor_alias) is (vendor != "mysql")


def test_a_value_beyond_the_column_is_none(vendor_alias: str, db: None) -> None:
    del db
    sql = str(Like.objects.using(vendor_alias).filter(book=1).query).replace("= 1", "= %s")
    connection = connections[vendor_alias]
    quoted = connection.ops.quote_name
    sql = sql.replace('"', quoted("a")[0])
    assert list_of(sql, (1,), connection) is not None
    for value in (2**63, -(2**63) - 1, 1.0, True, None, "a", "1_0"):
        assert list_of(sql, (value,), connection) is None
    # What MySQL makes of NULL, in a column that takes none, where it is not strict.
    assert (list_of(sql, (0,), connection) is None) is (connection.vendor == "mysql")
    assert list_of(sql, (1, 2), connection) is None
    assert list_of(sql, {"a": 1}, connection) is None


def test_a_null_that_mysql_makes_a_zero_of_is_seen(alias: str) -> None:
    is_mysql = connections[alias].vendor == "mysql"
    none = Note.objects.using(alias).filter(content_type=0).order_by("pk")
    try:
        if is_mysql:
            with connections[alias].cursor() as cursor:
                cursor.execute("SET SESSION sql_mode = ''")
        assert asks(alias, lambda _: none.all()) == ([], 1)
        with suppress(IntegrityError):
            Note.objects.using(alias).filter(pk=1).update(content_type=None)
        assert asks(alias, lambda _: none.all())[0] == ([1] if is_mysql else [])
    finally:
        connections[alias].close()


# What a reading of the text does not tell


def table_and_key(alias: str) -> tuple[str, str]:
    quote = connections[alias].ops.quote_name
    return quote("relations_book"), quote("id")


@pytest.mark.parametrize(
    "text", ["author_id = %s", "{0}=%s", "{0}  = %s", "price = 7, {0} = %s", "{0}\n= %s"]
)
def test_a_row_that_comes_by_an_update_that_is_nearly_the_orms(alias: str, text: str) -> None:
    table, key = table_and_key(alias)
    text = text.format(connections[alias].ops.quote_name("author_id"))

    def write(alias: str) -> None:
        with connections[alias].cursor() as cursor:
            cursor.execute(f"UPDATE {table} SET {text} WHERE {table}.{key} = %s", [1, 3])

    assert not is_kept(alias, of_author(1), write)
