"""Random writes, of every form that reaches a table; after each one every list is compared.

The lists are of books, by each of their foreign keys, with every kind of condition, order, limit
and join that :mod:`~django_querybudget.cache.reading.conditions` knows; and single books with their
authors. Each answer holds whole rows.
"""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from django.core.cache import caches
from django.db import IntegrityError, connections, transaction
from django.db.models import BigIntegerField, Case, F, Q, Value, When
from django.db.models.functions import Coalesce

from django_querybudget.cache import cache_stats, cached_queryset
from tests.cache import world
from tests.cache.relations.models import Author, Book, Chapter, Like

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.once]

LONG = int(os.environ.get("QUERYBUDGET_STEPS", "20000")) // 10
FOREIGN = ("author", "editor", "reader")
TITLES = ("book 1", "book 2", "Book 2", "new", "")

Write = Callable[[random.Random, Any], Any]


def _conditions() -> Iterator[Callable[[Any], Any]]:
    yield lambda books: books
    yield lambda books: books.filter(price__gte=15)
    yield lambda books: books.exclude(price__gte=15)
    yield lambda books: books.filter(title__in=["new", "book 2"])
    yield lambda books: books.exclude(title="book 2")
    yield lambda books: books.filter(Q(price=20) | Q(title="new") | Q(price=F("editor")))
    yield lambda books: books.filter(reader__isnull=True)
    yield lambda books: books.filter(editor=2)
    yield lambda books: books.exclude(editor=2)
    yield lambda books: books.filter(~Q(editor=1, price=20), price__range=(1, 40))


def _orders() -> Iterator[Callable[[Any], Any]]:
    yield lambda books: books.order_by("pk")
    yield lambda books: books.order_by("-price", "pk")[:1]
    yield lambda books: books.order_by(F("editor").asc(nulls_first=True), "-pk")[:2]
    yield lambda books: books.order_by("title", "-reader", "pk")[:3]
    yield lambda books: books.order_by("price", "pk")[1:3]


def _joins() -> Iterator[Callable[[Any], Any]]:
    yield lambda books: books
    yield lambda books: books.select_related("author")
    yield lambda books: books.select_related("author__mentor", "editor__mentor__mentor")
    yield lambda books: books.select_related("reader", "editor").only("title", "reader", "editor")


def _lists(books: Any) -> Iterator[Any]:
    pins = [books.filter(**{name: pk}) for name in FOREIGN for pk in (1, 2, 4)]
    pins.append(books.filter(author__in=[1, 4]))
    for condition in _conditions():
        for order in _orders():
            for pinned in pins:
                for join in _joins():
                    yield join(order(condition(pinned)))


def _rows_with_others(books: Any) -> Iterator[Any]:
    for pk in (1, 2, 6):
        for join in _joins():
            yield join(books.filter(pk=pk))
            yield join(books.filter(pk=pk, price__gte=15, author__in=[1, 2, 3]))


# Writes


def _pk(draw: random.Random) -> int:
    return draw.randint(1, 7)


def _values(draw: random.Random) -> dict[str, Any]:
    return {
        "title": draw.choice(TITLES),
        "price": draw.choice((1, 10, 15, 20, 40, 99)),
        "author_id": draw.randint(1, 4),
        "editor_id": draw.choice((None, 1, 2, 4)),
        "reader_id": draw.choice((None, 1, 2, 4)),
    }


def create(draw: random.Random, books: Any) -> None:
    books.create(**_values(draw))


def create_with_its_key(draw: random.Random, books: Any) -> None:
    Book(pk=_pk(draw), **_values(draw)).save(using=books.db)


def save(draw: random.Random, books: Any) -> None:
    book = books.filter(pk=_pk(draw)).first()
    if book is not None:
        vars(book).update(dict(draw.sample(sorted(_values(draw).items()), draw.randint(1, 5))))
        book.save(using=books.db)


def save_of_some(draw: random.Random, books: Any) -> None:
    book = books.filter(pk=_pk(draw)).first()
    if book is not None:
        some = dict(draw.sample(sorted(_values(draw).items()), draw.randint(1, 3)))
        vars(book).update(some)
        book.save(using=books.db, update_fields=[name.removesuffix("_id") for name in some])


def save_of_what_was_not_deferred(draw: random.Random, books: Any) -> None:
    book = books.filter(pk=_pk(draw)).only("price", "editor").first()
    if book is not None:
        book.price, book.editor_id = 15, draw.choice((None, 1, 2))
        book.save(using=books.db)


def _some(draw: random.Random) -> dict[str, Any]:
    return dict(draw.sample(sorted(_values(draw).items()), draw.randint(1, 3)))


def update(draw: random.Random, books: Any) -> None:
    books.filter(pk=_pk(draw)).update(**_some(draw))


def update_of_rows(draw: random.Random, books: Any) -> None:
    books.filter(pk__in=[_pk(draw), _pk(draw)]).update(**_some(draw))


def update_of_rows_on_a_condition(draw: random.Random, books: Any) -> None:
    rows = books.filter(draw.choice((Q(pk=_pk(draw)), Q(pk__in=[_pk(draw), _pk(draw)]))))
    rows = draw.choice((rows.filter(author=_pk(draw)), rows.exclude(price__gte=20)))
    rows.update(**draw.choice((_some(draw), {"price": F("price") + 5})))


def _a_list(draw: random.Random, books: Any) -> Any:
    name = draw.choice(FOREIGN)
    one, other = draw.randint(1, 4), draw.randint(1, 4)
    found = books.filter(**draw.choice(({name: one}, {f"{name}__in": [one, other]})))
    more = draw.random()
    if more < 0.2:
        return found.filter(price__gte=draw.choice((1, 15, 99)))
    return found.exclude(title="new") if more < 0.4 else found


def update_of_a_list(draw: random.Random, books: Any) -> None:
    found = _a_list(draw, books)
    found.update(**draw.choice((_some(draw), {"price": F("price") + 5}, {"editor": F("author")})))


def raw_delete_of_a_list(draw: random.Random, books: Any) -> None:
    """As Django deletes rows that nothing depends on: without a look at them."""
    found = _a_list(draw, books)
    if draw.random() < 0.3 and not any(
        model._base_manager.using(books.db).filter(book__in=found).exists()
        for model in (Like, Chapter, Book.tags.through)
    ):
        found._raw_delete(books.db)


def write_of_an_author(draw: random.Random, books: Any) -> None:
    """What is joined to some books changes."""
    authors = Author.objects.using(books.db)
    kind, pk, mentor = draw.random(), draw.randint(1, 5), draw.choice((None, 1, 3, 4))
    if kind < 0.5:
        author = authors.filter(pk=pk).first() or Author(pk=pk)
        author.name, author.mentor_id = draw.choice(TITLES), mentor
        author.save(using=books.db)
    elif kind < 0.8:
        authors.filter(pk=pk).update(mentor=mentor)
    elif kind < 0.9:
        authors.filter(mentor=pk).update(score=F("score") + 1)
    else:
        authors.filter(score__gte=0).update(name=draw.choice(TITLES))


def update_to_an_expression(draw: random.Random, books: Any) -> None:
    row = books.filter(pk=_pk(draw))
    row.update(
        **draw.choice(
            (
                {"price": F("price") + 5},
                {"author": Coalesce("reader_id", "author_id", output_field=BigIntegerField())},
                {"editor": F("author"), "price": 20},
                {"reader": Case(When(price__gte=15, then=Value(None)), default=F("editor_id"))},
            )
        )
    )


def bulk_create(draw: random.Random, books: Any) -> None:
    books.bulk_create([Book(**_values(draw)) for _ in range(draw.randint(1, 3))])


def bulk_create_of_conflicts(draw: random.Random, books: Any) -> None:
    rows = [Book(pk=_pk(draw), **_values(draw))]
    if draw.random() < 0.5 or not connections[books.db].features.supports_update_conflicts:
        books.bulk_create(rows, ignore_conflicts=True)
    else:
        target = connections[books.db].features.supports_update_conflicts_with_target
        books.bulk_create(
            rows,
            update_conflicts=True,
            update_fields=["author", "price"],
            unique_fields=["id"] if target else None,
        )


def bulk_update(draw: random.Random, books: Any) -> None:
    rows = list(books.filter(pk__in=[_pk(draw), _pk(draw)]))
    fields = draw.sample(("author", "editor", "reader", "price", "title"), 2)
    for row in rows:
        vars(row).update(_values(draw))
    books.bulk_update(rows, fields)


def delete(draw: random.Random, books: Any) -> None:
    book = books.filter(pk=_pk(draw)).first()
    if book is not None:
        book.delete(using=books.db)


def delete_of_a_list(draw: random.Random, books: Any) -> None:
    books.filter(author=draw.randint(1, 4), price__gte=draw.choice((1, 20, 99))).delete()


def delete_of_an_author(draw: random.Random, books: Any) -> None:
    """Its books go, or lose their editor, or get another reader."""
    pk, authors = draw.randint(1, 4), Author.objects.using(books.db)
    if draw.random() < 0.2:
        authors.filter(pk=pk).delete()
        if not authors.filter(pk=1).exists():
            authors.create(pk=1, name="again")  # to whom a deleted reader's books go
        authors.get_or_create(pk=pk, defaults={"name": "again"})


def relation(draw: random.Random, books: Any) -> None:
    author = Author.objects.using(books.db).get(pk=draw.randint(1, 4))
    book = books.filter(pk=_pk(draw)).first()
    if book is None:
        return
    if draw.random() < 0.3:
        author.edited.set([book], bulk=draw.random() < 0.5)
    elif draw.random() < 0.5:
        author.books.add(book, bulk=draw.random() < 0.5)
    else:
        author.edited.remove(*author.edited.filter(pk=book.pk))


def raw_update(draw: random.Random, books: Any) -> None:
    """As the ORM writes it, nearly."""
    connection = connections[books.db]
    quote = connection.ops.quote_name
    names = ["author_id", "price"]
    if connection.vendor != "postgresql" and draw.random() < 0.5:
        names = [draw.choice((name, name.upper(), name.title())) for name in names]
    sign = draw.choice((" = ", "=", "= ", "  =  "))
    values = [str(draw.randint(1, 4)), draw.randint(1, 30)]
    if connection.vendor == "postgresql":
        values[0] = int(values[0])
    terms = [f"{draw.choice((quote, str))(name)}{sign}%s" for name in names]
    text = ("," + draw.choice(("", " ", "  "))).join(terms)
    if connection.vendor != "mysql" and draw.random() < 0.3:
        text = f"({quote('author_id')}, {quote('price')}) = (%s, %s)"
    table = quote("relations_book")
    _execute(
        books.db,
        f"UPDATE {table} SET {text} WHERE {table}.{quote('id')} = %s",
        [*values, _pk(draw)],
    )


def raw_insert(draw: random.Random, books: Any) -> None:
    quote = connections[books.db].ops.quote_name
    columns = ["title", "price", "author_id", "editor_id"]
    draw.shuffle(columns)
    given = _values(draw)
    values = [given[name] for name in columns]
    if connections[books.db].vendor != "postgresql":
        columns = [draw.choice((name, name.upper())) for name in columns]
    _execute(
        books.db,
        f"INSERT INTO {quote('relations_book')} ({', '.join(map(quote, columns))}) "
        "VALUES (%s, %s, %s, %s)",
        values,
    )


def _execute(alias: str, sql: str, params: list[Any]) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute(sql, params)


WRITES: list[Write] = [
    create, create_with_its_key, save, save_of_some, save_of_what_was_not_deferred, update,
    update_of_rows, update_of_rows_on_a_condition, update_of_a_list, raw_delete_of_a_list,
    write_of_an_author, update_to_an_expression, bulk_create, bulk_create_of_conflicts,
    bulk_update, delete, delete_of_a_list, delete_of_an_author, relation, raw_update, raw_insert,
]  # fmt: skip
# Those that drop every list would leave nothing to be wrong.
WEIGHTS = [3, 2, 5, 5, 2, 5, 2, 3, 4, 1, 3, 3, 2, 0.5, 1, 2, 0.3, 0.5, 2, 2, 2]


@contextmanager
def _transaction(draw: random.Random, alias: str) -> Iterator[None]:
    """In autocommit, in ``atomic()``, or rolled back, as a whole or to a savepoint."""
    kind = draw.random()
    if kind < 0.5:
        yield
    elif kind < 0.7:
        with transaction.atomic(using=alias):
            yield
    elif kind < 0.85:
        with transaction.atomic(using=alias):
            yield
            transaction.set_rollback(True, using=alias)
    else:
        with transaction.atomic(using=alias):
            with transaction.atomic(using=alias):
                yield
                transaction.set_rollback(True, using=alias)
            Book.objects.using(alias).filter(pk=_pk(draw)).update(price=draw.randint(1, 40))


WATCHED = 25
"""How many lists are compared after each write: others each :data:`FOR` writes."""
FOR = 8


def _program(alias: str, steps: int, draw: random.Random) -> int:
    """Write, and compare lists, so many times; return how many were compared."""
    caches[_cache(alias)].clear()
    connections[alias].close()
    world.fill(alias)
    compared = 0
    for step in range(steps):
        if step % FOR == 0:
            # As many rows at most as a list may have, and every one that the writes name.
            Book.objects.using(alias).filter(pk__gt=20).delete()
            for pk in range(1, 8):
                Book.objects.using(alias).get_or_create(pk=pk, defaults=_values(draw))
            watched = draw.sample(list(_lists(Book.objects.using(alias))), WATCHED)
            watched += draw.sample(list(_rows_with_others(Book.objects.using(alias))), 5)
            _compare(alias, watched)
        write = draw.choices(WRITES, WEIGHTS)[0]
        # A foreign key to none, or a second row with a key.
        with suppress(IntegrityError), _transaction(draw, alias):
            write(draw, Book.objects.using(alias))
        try:
            compared += _compare(alias, watched)
        except AssertionError as error:
            error.add_note(f"after {step} steps: {write.__name__}")
            raise
    return compared


def _compare(alias: str, watched: list[Any]) -> int:
    for queryset in watched:
        seen = list(cached_queryset(queryset.all(), 600, cache=_cache(alias)))
        assert _rows(seen) == _rows(queryset.all()), str(queryset.query)
    return len(watched)


def _rows(books: Any) -> list[tuple[Any, ...]]:
    return [_shown(each) for each in books]


def _shown(row: Any) -> dict[str, Any]:
    """Return what a row holds, and the rows that were joined to it."""
    values = {name: value for name, value in vars(row).items() if not name.startswith("_")}
    joined = row._state.fields_cache.items()
    return values | {name: each if each is None else _shown(each) for name, each in joined}


def _cache(alias: str) -> str:
    return "default" if alias == "default" else "redis"


@pytest.fixture
def alias(vendor_alias: str, redis_url: str, settings: Any) -> str:
    del redis_url
    settings.QUERYBUDGET = {"CACHE": {"ALIAS": _cache(vendor_alias), "CLOCK_SKEW": 0}}
    return vendor_alias


@pytest.mark.parametrize(
    "steps", [pytest.param(70, id="short"), pytest.param(LONG, id="long", marks=pytest.mark.slow)]
)
def test_every_list_is_the_databases_after_each_write(
    alias: str, steps: int, record_property: Any
) -> None:
    seed = int(os.environ.get("QUERYBUDGET_SEED") or secrets.randbits(32))
    cache_stats(reset=True)
    try:
        compared = _program(alias, steps, random.Random(seed))  # noqa: S311
    except AssertionError as error:
        error.add_note(f"QUERYBUDGET_SEED={seed}")
        raise
    record_property("steps", steps)
    assert cache_stats().hits > compared // 5, "what is compared has to come from the cache"
