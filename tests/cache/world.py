"""The rows that the cache's tests read and write: few, with known primary keys."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

import django
from django.apps import apps
from django.contrib.contenttypes.models import ContentType
from django.core.management.color import no_style
from django.db import connections, models
from django.utils import timezone

from accounts.models import CustomUser, Profile
from jobs.models import Application, Industry, Job, SavedJob, Subcategory
from payment.models import Payment
from rating.models import Review
from tests.cache.relations.models import (
    Author,
    Bistro,
    Book,
    Chapter,
    Like,
    Named,
    Note,
    Odd,
    Place,
    Receipt,
    Restaurant,
    Seat,
    Tag,
)

DAY = datetime(2026, 3, 1, tzinfo=UTC)


def fill(alias: str) -> None:
    """Make the rows on ``alias``, past every layer that may be under test."""
    book_type = ContentType.objects.db_manager(alias).get_for_model(Book).pk
    with connections[alias].cursor() as cursor:
        for sql, params in _statements(alias, book_type):
            cursor.execute(sql, params)


@cache  # hundreds of tests begin with these rows
def _statements(alias: str, book_type: int) -> list[tuple[str, list[Any] | None]]:
    statements = [_insert(alias, rows) for rows in _rows(book_type)]
    sequences = connections[alias].ops.sequence_reset_sql(no_style(), _models())
    return [*statements, (" ".join(sequences), None)] if sequences else statements


def empty(alias: str) -> None:
    """Take all rows away that :func:`fill` made, and those that came since."""
    connection = connections[alias]
    quote = connection.ops.quote_name
    tables = [quote(model._meta.db_table) for model in _models() if model is not ContentType]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(f"TRUNCATE {', '.join(tables)} CASCADE")
            return
        with connection.constraint_checks_disabled():
            for table in tables:
                cursor.execute(f"DELETE FROM {table}")  # names are the models'


Rows = dict[str, list[tuple[Any, ...]]]


def rows(alias: str) -> Rows:
    """Return the rows of each table by its name, as the driver has them."""
    connection = connections[alias]
    found = {}
    with connection.cursor() as cursor:
        for model in _models():
            table = model._meta.db_table
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            found[table] = list(cursor.fetchall())
    return found


def _rows(book_type: int) -> Iterable[list[models.Model]]:
    yield [
        CustomUser(
            pk=pk, username=f"user{pk}", email=f"user{pk}@example.org", role="client", password="!"
        )
        for pk in (1, 2, 3, 4)
    ]
    yield [Profile(pk=pk, user_id=pk, headline=f"profile {pk}", skills=["a"]) for pk in (1, 2, 3)]
    yield [Industry(pk=1, name="art"), Industry(pk=2, name="law"), Industry(pk=3, name="void")]
    yield [Subcategory(pk=pk, industry_id=1 + pk % 2, name=f"sub {pk}") for pk in (1, 2, 3)]
    yield [
        Job(
            pk=pk,
            client_id=1 + pk % 2,
            industry_id=1 + pk % 2,
            title=f"job {pk}",
            budget=Decimal(100 * pk),
            requirements={"level": pk},
            created_at=DAY,
        )
        for pk in (1, 2, 3, 4)
    ]
    through = Job.subcategories.through
    joined = enumerate([(1, 1), (1, 2), (2, 2)], start=1)
    yield [through(pk=pk, job_id=job, subcategory_id=sub) for pk, (job, sub) in joined]
    yield [
        Application(pk=pk, job_id=1 + pk % 2, applicant_id=pk, offer=Decimal(10 * pk))
        for pk in (1, 2, 3)
    ]
    yield [SavedJob(pk=pk, user_id=pk, job_id=1) for pk in (1, 2)]
    yield [
        Payment(
            pk=pk, payer_id=1 + pk % 2, recipient_id=3, job_id=3, amount=Decimal(5 * pk),
            created_at=DAY,
        )
        for pk in (1, 2, 3)
    ]  # fmt: skip
    yield [Review(pk=pk, reviewed_id=1, reviewer_id=1 + pk, job_id=4, rating=pk) for pk in (1, 2)]
    yield [Place(pk=pk, name=f"place {pk}") for pk in (1, 2, 3)]
    yield [Restaurant(place_ptr_id=pk, name=f"place {pk}", stars=pk) for pk in (2, 3)]
    yield [Bistro(restaurant_ptr_id=3, name="place 3", stars=3)]
    yield [Author(pk=1, name="ann"), Author(pk=2, name="bob"), Author(pk=3, name="cyd")]
    yield [Author(pk=4, name="dan", mentor_id=2)]
    yield [Tag(pk=pk, word=f"tag {pk}") for pk in (1, 2, 3)]
    yield [
        Book(pk=pk, title=f"book {pk}", price=10 * pk, author_id=1, editor_id=2, reader_id=3)
        for pk in (1, 2)
    ]
    yield [Receipt(pk=pk, holder_id=4, payment_id=pk) for pk in (1, 2)]
    yield [Book(pk=3, title="book 3", price=30, author_id=2, editor_id=1)]
    joined = enumerate([(1, 1), (1, 2), (2, 2)], start=1)
    yield [Book.tags.through(pk=pk, book_id=book, tag_id=tag) for pk, (book, tag) in joined]
    yield [Like(pk=pk, book_id=1, author_id=pk, warmth=pk) for pk in (1, 2)]
    yield [Note(pk=pk, content_type_id=book_type, object_id=pk, text=f"note {pk}") for pk in (1, 2)]
    yield [Chapter(pk=pk, book_id=1 + pk % 2, heading=f"{pk}", _order=pk) for pk in (1, 2, 3)]
    yield [Odd(pk=1, value=1), Odd(pk=2, value=2)]
    yield [Seat(line=1, number=number, guest=f"guest {number}") for number in (1, 2)]
    yield [Named(name="first", value=1), Named(name="second", value=2)]
    if django.VERSION >= (6, 1):
        from tests.cache.relations.models import Collar, Kennel, Owner, Pet

        yield [Owner(pk=1, name="olga"), Owner(pk=2, name="omar")]
        yield [Pet(pk=pk, owner_id=1 + pk % 2, name=f"pet {pk}") for pk in (1, 2, 3)]
        yield [Collar(pk=1, pet_id=1, colour="red"), Collar(pk=2, pet_id=2, colour="blue")]
        yield [Kennel(pk=1, owner_id=1, name="north"), Kennel(pk=2, owner_id=2, name="south")]


def _insert(alias: str, rows: list[models.Model]) -> tuple[str, list[Any] | None]:
    """Return what inserts into each row's own table only: a child's parents are there already."""
    for row in rows:
        row._state.adding = False
        row._state.db = alias
    meta = rows[0]._meta
    fields = [field for field in meta.local_concrete_fields if field.column]
    connection = connections[alias]
    quote = connection.ops.quote_name
    columns = ", ".join(quote(field.column) for field in fields)
    one = f"({', '.join(['%s'] * len(fields))})"
    sql = f"INSERT INTO {quote(meta.db_table)} ({columns}) VALUES {', '.join([one] * len(rows))}"
    return sql, [
        field.get_db_prep_save(_value(field, row), connection=connection)
        for row in rows
        for field in fields
    ]


def _value(field: models.Field[Any, Any], row: models.Model) -> Any:
    """Return what is written: a time that Django would take from the clock is the world's own."""
    if isinstance(field, models.DateTimeField) and (
        field.auto_now or field.auto_now_add or field.default is timezone.now
    ):
        return DAY + timedelta(seconds=row.pk)
    return field.pre_save(row, add=True)


def _models() -> list[type[models.Model]]:
    return [
        model
        for model in apps.get_models(include_auto_created=True)
        if model._meta.managed and not model._meta.proxy
    ]
