"""Every kind of write, each a function of the database's alias.

A kind changes what at least one of ``READS`` answers, unless it says ``changes_nothing``.
``vendors`` names the databases that know the statement.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import django
from asgiref.sync import async_to_sync
from django.core import serializers
from django.core.management import call_command
from django.db import connections, migrations
from django.db.migrations.state import ProjectState
from django.db.models import F, Value
from django.db.models.functions import Concat
from django.db.models.signals import post_save

from accounts.models import CustomUser, Profile
from jobs.models import Application, Industry, Job, SavedJob, Subcategory
from payment.models import Payment
from rating.models import Review
from tests.cache.relations.models import (
    Author,
    Bistro,
    Book,
    Chapter,
    DearBook,
    Like,
    Named,
    Note,
    Odd,
    Place,
    Restaurant,
    Seat,
    Tag,
)

EVERY_VENDOR = ("sqlite", "postgresql", "mysql")


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of write."""

    name: str
    run: Callable[[str], Any]
    vendors: tuple[str, ...] = EVERY_VENDOR
    in_atomic: bool = True  # False: the statement ends a transaction, or may not be in one
    changes_nothing: bool = False


KINDS: dict[str, Kind] = {}


def kind(
    *vendors: str, in_atomic: bool = True, changes_nothing: bool = False
) -> Callable[[Callable[[str], Any]], Callable[[str], Any]]:
    def register(function: Callable[[str], Any]) -> Callable[[str], Any]:
        name = function.__name__
        KINDS[name] = Kind(
            name=name,
            run=function,
            vendors=vendors or EVERY_VENDOR,
            in_atomic=in_atomic,
            changes_nothing=changes_nothing,
        )
        return function

    return register


def execute(using: str, sql: str, params: Any = None) -> list[Any]:
    """Run a statement; return its rows, if it has any."""
    with connections[using].cursor() as cursor:
        cursor.execute(sql, params)
        return list(cursor.fetchall()) if cursor.description else []


def quoted(using: str, name: str) -> str:
    return connections[using].ops.quote_name(name)


def new_job(**values: Any) -> Job:
    defaults = {"client_id": 1, "industry_id": 1, "title": "new", "budget": Decimal(7)}
    return Job(**{**defaults, **values})


# One instance


@kind()
def save(using: str) -> None:
    job = Job.objects.using(using).get(pk=1)
    job.title = "saved"
    job.save(using=using)


@kind()
def save_of_some_fields(using: str) -> None:
    job = Job.objects.using(using).get(pk=1)
    job.title = "saved"
    job.save(using=using, update_fields=["title"])


@kind()
def save_of_an_instance_never_read(using: str) -> None:
    payment = Payment(pk=2, payer_id=2, recipient_id=3, job_id=3, amount=Decimal(9))
    payment.save(using=using)


@kind()
def save_that_moves_a_row_between_scopes(using: str) -> None:
    payment = Payment.objects.using(using).get(pk=1)
    payment.payer_id = 1
    payment.save(using=using)


@kind()
def save_that_moves_a_deferred_row_between_scopes(using: str) -> None:
    payment = Payment.objects.using(using).only("amount").get(pk=1)
    payment.payer_id = 1
    payment.save(using=using, update_fields=["payer"])


@kind()
def save_twice_between_scopes(using: str) -> None:
    payment = Payment.objects.using(using).get(pk=1)
    for payer in (4, 1):
        payment.payer_id = payer
        payment.save(using=using)


@kind()
def save_of_two_copies_of_a_row(using: str) -> None:
    first, second = (Payment.objects.using(using).get(pk=1) for _ in range(2))
    first.payer_id = 1
    first.save(using=using)
    second.payer_id = 4  # its copy still says the payer is 2
    second.save(using=using)


@kind()
def create(using: str) -> None:
    new_job().save(using=using)


@kind()
def create_with_a_known_key(using: str) -> None:
    new_job(pk=50).save(using=using, force_insert=True)


@kind()
def create_of_a_scoped_row(using: str) -> None:
    Payment.objects.using(using).create(payer_id=1, recipient_id=3, job_id=3, amount=Decimal(1))


@kind()
def create_through_a_relation(using: str) -> None:
    Job.objects.using(using).get(pk=2).applications.create(applicant_id=4, offer=Decimal(1))


@kind()
def save_with_an_f_expression(using: str) -> None:
    job = Job.objects.using(using).get(pk=1)
    job.budget = F("budget") + 1
    job.save(using=using)


@kind()
def save_with_an_f_expression_in_a_scope(using: str) -> None:
    payment = Payment.objects.using(using).get(pk=3)
    payment.payer_id = F("payer_id") - 1
    payment.save(using=using)


@kind()
def save_base_raw(using: str) -> None:
    job = Job.objects.using(using).get(pk=1)
    job.title = "raw"
    job.save_base(raw=True, using=using)


@kind()
def save_under_another_key(using: str) -> None:
    job = Job.objects.using(using).get(pk=1)
    job.pk = 50
    job.save(using=using)


@kind()
def save_with_a_receiver_that_updates(using: str) -> None:
    """The receiver's update is a write of its own, inside the instance's save()."""

    def on_save(**_: Any) -> None:
        Job.objects.using(using).filter(pk=2).update(title="by a receiver")

    post_save.connect(on_save, sender=Payment)
    try:
        payment = Payment.objects.using(using).get(pk=1)
        payment.save(using=using)
    finally:
        post_save.disconnect(on_save, sender=Payment)


@kind()
def save_with_a_receiver_that_updates_its_own_table(using: str) -> None:
    def on_save(**_: Any) -> None:
        Payment.objects.using(using).exclude(pk=1).update(amount=Decimal(77))

    post_save.connect(on_save, sender=Payment)
    try:
        Payment.objects.using(using).get(pk=1).save(using=using)
    finally:
        post_save.disconnect(on_save, sender=Payment)


@kind()
def asave(using: str) -> None:
    job = Job.objects.using(using).get(pk=1)
    job.title = "async"
    async_to_sync(job.asave)(using=using)


@kind()
def get_or_create(using: str) -> None:
    Industry.objects.using(using).get_or_create(name="new")


@kind()
def update_or_create_that_updates(using: str) -> None:
    Profile.objects.using(using).update_or_create(user_id=1, defaults={"headline": "updated"})


@kind()
def update_or_create_that_creates(using: str) -> None:
    Profile.objects.using(using).update_or_create(user_id=4, defaults={"headline": "created"})


@kind()
def delete_of_an_instance(using: str) -> None:
    Payment.objects.using(using).get(pk=1).delete(using=using)


@kind()
def delete_of_an_instance_that_cascades(using: str) -> None:
    Job.objects.using(using).get(pk=1).delete(using=using)


@kind()
def refresh_from_db(using: str) -> None:
    """A write and a refresh: the refresh must not be answered from the cache."""
    job = Job.objects.using(using).get(pk=1)
    Job.objects.using(using).filter(pk=1).update(title="behind its back")
    job.refresh_from_db(using=using)
    assert job.title == "behind its back"


@kind(changes_nothing=True)
def save_that_changes_nothing(using: str) -> None:
    Job.objects.using(using).get(pk=1).save(using=using)


# Querysets


@kind()
def update(using: str) -> None:
    Job.objects.using(using).filter(pk=1).update(title="updated")


@kind()
def update_of_all(using: str) -> None:
    Job.objects.using(using).update(budget=F("budget") * 2)


@kind()
def update_of_a_primary_key(using: str) -> None:
    Named.objects.using(using).filter(pk="first").update(name="third")


@kind()
def update_between_scopes(using: str) -> None:
    Payment.objects.using(using).filter(pk=1).update(payer=1)


@kind()
def update_across_a_join(using: str) -> None:
    Profile.objects.using(using).filter(user__username="user1").update(headline="joined")


@kind()
def aupdate(using: str) -> None:
    async_to_sync(Job.objects.using(using).filter(pk=1).aupdate)(title="async")


@kind()
def bulk_create(using: str) -> None:
    Job.objects.using(using).bulk_create([new_job(), new_job(pk=50)])


@kind()
def bulk_create_ignoring_conflicts(using: str) -> None:
    rows = [Industry(name="art"), Industry(name="new")]
    Industry.objects.using(using).bulk_create(rows, ignore_conflicts=True)


@kind("sqlite", "postgresql")
def bulk_create_updating_conflicts(using: str) -> None:
    Tag.objects.using(using).bulk_create(
        [Tag(pk=2, word="upserted")],
        update_conflicts=True,
        unique_fields=["pk"],
        update_fields=["word"],
    )


@kind("mysql")
def bulk_create_on_duplicate_key(using: str) -> None:
    Tag.objects.using(using).bulk_create(
        [Tag(pk=2, word="upserted")], update_conflicts=True, update_fields=["word"]
    )


@kind()
def bulk_create_of_scoped_rows(using: str) -> None:
    Payment.objects.using(using).bulk_create(
        [Payment(payer_id=1, recipient_id=3, job_id=3, amount=Decimal(1))]
    )


@kind()
def bulk_update(using: str) -> None:
    payments = list(Payment.objects.using(using).filter(pk__in=[1, 3]))
    for payment in payments:
        payment.payer_id = 1
    Payment.objects.using(using).bulk_update(payments, ["payer"])


@kind()
def delete(using: str) -> None:
    Payment.objects.using(using).filter(payer=2).delete()


@kind()
def delete_that_cascades(using: str) -> None:
    Review.objects.using(using).all().delete()
    Job.objects.using(using).filter(pk__in=[1, 2]).delete()


@kind()
def delete_that_is_fast(using: str) -> None:
    Chapter.objects.using(using).filter(book=2).delete()


@kind()
def delete_that_cascades_fast(using: str) -> None:
    Book.objects.using(using).filter(pk=2).delete()


@kind()
def delete_that_sets_null(using: str) -> None:
    Author.objects.using(using).filter(pk=2).delete()


@kind()
def delete_that_sets_a_value(using: str) -> None:
    Author.objects.using(using).filter(pk=3).delete()


@kind()
def raw_delete(using: str) -> None:
    queryset = Chapter.objects.using(using).filter(book=2)
    queryset._raw_delete(using)


# Relations


@kind()
def reverse_foreign_key_add(using: str) -> None:
    book = Book.objects.using(using).get(pk=3)
    Author.objects.using(using).get(pk=1).books.add(book)


@kind()
def reverse_foreign_key_set(using: str) -> None:
    book = Book.objects.using(using).get(pk=3)
    Author.objects.using(using).get(pk=2).edited.set([book])


@kind()
def reverse_foreign_key_clear(using: str) -> None:
    Author.objects.using(using).get(pk=2).edited.clear()


@kind()
def m2m_add(using: str) -> None:
    Job.objects.using(using).get(pk=1).subcategories.add(3)


@kind()
def m2m_remove(using: str) -> None:
    Job.objects.using(using).get(pk=1).subcategories.remove(2)


@kind()
def m2m_set(using: str) -> None:
    Job.objects.using(using).get(pk=1).subcategories.set([3])


@kind()
def m2m_clear(using: str) -> None:
    Job.objects.using(using).get(pk=1).subcategories.clear()


@kind()
def m2m_create(using: str) -> None:
    Job.objects.using(using).get(pk=1).subcategories.create(name="new", industry_id=1)


@kind()
def m2m_add_from_the_other_side(using: str) -> None:
    Subcategory.objects.using(using).get(pk=2).jobs.add(3)


@kind()
def m2m_remove_from_the_other_side(using: str) -> None:
    Subcategory.objects.using(using).get(pk=2).jobs.remove(1)


@kind()
def m2m_set_from_the_other_side(using: str) -> None:
    Subcategory.objects.using(using).get(pk=2).jobs.set([3])


@kind()
def m2m_clear_from_the_other_side(using: str) -> None:
    Subcategory.objects.using(using).get(pk=2).jobs.clear()


@kind()
def m2m_through_a_model_of_its_own(using: str) -> None:
    Book.objects.using(using).get(pk=1).likes.add(3, through_defaults={"warmth": 9})


@kind()
def m2m_row_of_the_through_model(using: str) -> None:
    Like.objects.using(using).filter(pk=1).update(warmth=8)


@kind()
def m2m_row_of_the_through_model_saved(using: str) -> None:
    like = Like.objects.using(using).get(pk=1)
    like.book_id = 2
    like.save(using=using)


@kind()
def generic_relation_create(using: str) -> None:
    Book.objects.using(using).get(pk=1).notes.create(text="new")


@kind()
def generic_relation_add(using: str) -> None:
    note = Note.objects.using(using).get(pk=2)
    Book.objects.using(using).get(pk=1).notes.add(note, bulk=True)


@kind()
def generic_relation_clear(using: str) -> None:
    Book.objects.using(using).get(pk=1).notes.clear()


@kind()
def generic_relation_cascade(using: str) -> None:
    Book.objects.using(using).get(pk=2).delete()


@kind()
def set_order(using: str) -> None:
    Book.objects.using(using).get(pk=2).set_chapter_order([3, 1], using=using)


# Several tables, one row


@kind()
def save_of_a_multi_table_child(using: str) -> None:
    restaurant = Restaurant.objects.using(using).get(pk=3)
    restaurant.name, restaurant.stars = "renamed", 9
    restaurant.save(using=using)


@kind()
def save_of_a_multi_table_grandchild(using: str) -> None:
    bistro = Bistro.objects.using(using).get(pk=3)
    bistro.name, bistro.stars, bistro.wine = "renamed", 9, "red"
    bistro.save(using=using)


@kind()
def save_of_a_multi_table_parent(using: str) -> None:
    place = Place.objects.using(using).get(pk=3)
    place.name = "renamed"
    place.save(using=using)


@kind()
def update_of_a_multi_table_child(using: str) -> None:
    Bistro.objects.using(using).filter(pk=3).update(name="renamed", stars=9)


@kind()
def update_of_a_multi_table_parent(using: str) -> None:
    Place.objects.using(using).filter(pk=3).update(name="renamed")


@kind()
def create_of_a_multi_table_child(using: str) -> None:
    Restaurant.objects.using(using).create(name="new", stars=1)


@kind()
def create_of_a_child_over_its_parent(using: str) -> None:
    Restaurant(place_ptr_id=1, stars=1).save_base(raw=True, using=using)


@kind()
def delete_of_a_multi_table_child(using: str) -> None:
    Bistro.objects.using(using).get(pk=3).delete()


@kind()
def delete_of_a_child_that_keeps_its_parents(using: str) -> None:
    Restaurant.objects.using(using).get(pk=2).delete(keep_parents=True)


@kind()
def delete_of_a_multi_table_parent(using: str) -> None:
    Place.objects.using(using).filter(pk=3).delete()


@kind()
def save_of_a_proxy(using: str) -> None:
    book = DearBook.objects.using(using).get(pk=2)
    book.title = "by proxy"
    book.save(using=using)


@kind()
def update_of_a_proxy(using: str) -> None:
    DearBook.objects.using(using).filter(pk=2).update(title="by proxy")


@kind()
def delete_of_a_proxy(using: str) -> None:
    DearBook.objects.using(using).get(pk=3).delete()


@kind()
def save_of_a_proxys_model(using: str) -> None:
    book = Book.objects.using(using).get(pk=1)
    book.price = 99
    book.save(using=using)


@kind()
def save_of_a_composite_key(using: str) -> None:
    seat = Seat.objects.using(using).get(pk=(1, 1))
    seat.guest = "moved"
    seat.save(using=using)


@kind()
def update_of_a_composite_key(using: str) -> None:
    Seat.objects.using(using).filter(pk=(1, 1)).update(line=2)


@kind()
def delete_of_a_composite_key(using: str) -> None:
    Seat.objects.using(using).get(pk=(1, 1)).delete()


@kind()
def save_of_a_quoted_table(using: str) -> None:
    odd = Odd.objects.using(using).get(pk=1)
    odd.value = 5
    odd.save(using=using)


@kind()
def save_of_a_text_key(using: str) -> None:
    named = Named.objects.using(using).get(pk="first")
    named.value = 10
    named.save(using=using)


@kind("mysql")
def save_of_a_text_key_in_capitals(using: str) -> None:
    Named(name="FIRST", value=10).save(using=using, force_update=True)


# Rows that come into a list that a foreign key pins, and that leave it


@kind()
def create_in_a_list(using: str) -> None:
    Book.objects.using(using).create(title="new", price=20, author_id=1, editor_id=2, reader_id=1)


@kind()
def create_of_the_first_in_a_list(using: str) -> None:
    Book.objects.using(using).create(title="new", price=50, author_id=4)


@kind()
def save_that_moves_a_row_between_lists(using: str) -> None:
    book = Book.objects.using(using).get(pk=1)
    book.author_id, book.editor_id = 4, 1
    book.save(using=using)


@kind()
def save_of_a_foreign_key_alone(using: str) -> None:
    book = Book.objects.using(using).get(pk=3)
    book.author_id = 1
    book.save(using=using, update_fields=["author"])


@kind()
def save_of_another_foreign_key_alone(using: str) -> None:
    book = Book.objects.using(using).get(pk=3)
    book.reader_id = 1
    book.save(using=using, update_fields=["reader"])


@kind()
def save_of_a_condition_alone(using: str) -> None:
    """A row that was in no list by its price comes into some."""
    book = Book.objects.using(using).get(pk=1)
    book.price = 20
    book.save(using=using, update_fields=["price"])


@kind()
def save_of_an_order_alone(using: str) -> None:
    """The row beyond a limit comes before the one that was found."""
    Book.objects.using(using).filter(pk=1).update(price=98)


@kind()
def update_of_a_condition(using: str) -> None:
    Like.objects.using(using).filter(pk=2).update(warmth=0)


@kind()
def update_of_a_foreign_key(using: str) -> None:
    Book.objects.using(using).filter(pk=3).update(author=1, price=21)


@kind()
def update_of_a_foreign_key_to_null(using: str) -> None:
    Book.objects.using(using).filter(pk__in=[1, 2]).update(reader=None)


@kind()
def update_of_a_foreign_key_to_another_column(using: str) -> None:
    Book.objects.using(using).filter(pk=3).update(author=F("editor"))


@kind()
def update_of_a_condition_to_an_expression(using: str) -> None:
    Book.objects.using(using).filter(pk=1).update(price=F("price") + 10)


@kind()
def update_of_all_in_a_list(using: str) -> None:
    Book.objects.using(using).filter(author=1).update(price=F("price") + 1)


@kind()
def update_of_all_in_a_list_to_another(using: str) -> None:
    Book.objects.using(using).filter(author=1).update(author=4)


@kind()
def bulk_update_of_a_foreign_key(using: str) -> None:
    books = [Book.objects.using(using).get(pk=pk) for pk in (1, 3)]
    books[0].author_id, books[1].author_id = 2, 1
    Book.objects.using(using).bulk_update(books, ["author"])


@kind()
def bulk_update_of_a_condition(using: str) -> None:
    """Of a row that was in no list by its price, and of another author's."""
    books = [Book.objects.using(using).get(pk=pk) for pk in (1, 3)]
    books[0].price, books[1].price = 20, 10
    Book.objects.using(using).bulk_update(books, ["price"])


@kind()
def bulk_create_in_lists(using: str) -> None:
    Book.objects.using(using).bulk_create(
        Book(title="new", price=20, author_id=author, editor_id=2) for author in (1, 4, 1)
    )


@kind()
def bulk_create_with_an_expression_in_lists(using: str) -> None:
    Book.objects.using(using).bulk_create(
        [
            Book(title=Concat(Value("n"), Value("ew")), price=20, author_id=1),
            Book(title="new", author_id=4),
        ]
    )


@kind()
def delete_from_a_list(using: str) -> None:
    Book.objects.using(using).get(pk=2).delete()


@kind()
def delete_of_a_whole_list(using: str) -> None:
    Book.objects.using(using).filter(author=1).delete()


@kind()
def raw_insert_into_a_list(using: str) -> None:
    execute(
        using,
        "INSERT INTO relations_book (title, price, author_id, editor_id) VALUES ('new', 20, 4, 1)",
    )


@kind()
def raw_insert_into_a_list_as_the_orm_writes_it(using: str) -> None:
    """But for the columns that it leaves to the database."""
    quote = connections[using].ops.quote_name
    names = ", ".join(map(quote, ("title", "price", "author_id")))
    execute(using, f"INSERT INTO {quote('relations_book')} ({names}) VALUES (%s, %s, %s)",
            ["new", 20, "4"])  # fmt: skip


@kind()
def raw_update_of_a_condition(using: str) -> None:
    execute(using, "UPDATE relations_book SET price = 20 WHERE id = 1")


@kind()
def save_of_a_deferred_row_in_a_list(using: str) -> None:
    book = Book.objects.using(using).only("price").get(pk=1)
    book.price = 20
    book.save(using=using)


# The database's own cascades

if django.VERSION >= (6, 1):
    from tests.cache.relations.models import Owner, Pet

    @kind()
    def database_cascade(using: str) -> None:
        Owner.objects.using(using).filter(pk=2).delete()

    @kind()
    def database_cascade_from_an_instance(using: str) -> None:
        Owner.objects.using(using).get(pk=1).delete()

    @kind()
    def database_cascade_in_the_middle(using: str) -> None:
        Pet.objects.using(using).filter(pk=2).delete()

    @kind()
    def database_cascade_from_raw_sql(using: str) -> None:
        execute(using, "DELETE FROM relations_owner WHERE id = 1")

    @kind("postgresql")
    def truncate_of_a_parent_of_database_cascades(using: str) -> None:
        execute(using, "TRUNCATE relations_owner CASCADE")


# Raw SQL


@kind()
def raw_update(using: str) -> None:
    execute(using, "UPDATE jobs_job SET title = %s WHERE id = %s", ["raw", 1])


@kind()
def raw_in_small_letters_after_a_comment(using: str) -> None:
    execute(using, "/* audit */ -- why\n update jobs_job set title = 'raw' where id = 1")


@kind()
def raw_insert_select(using: str) -> None:
    execute(using, "INSERT INTO relations_author (name, score) SELECT title, 1 FROM jobs_job")


@kind()
def raw_delete_sql(using: str) -> None:
    execute(using, "DELETE FROM relations_chapter WHERE book_id = 2")


@kind()
def raw_executemany(using: str) -> None:
    with connections[using].cursor() as cursor:
        cursor.executemany(
            "UPDATE jobs_job SET title = %s WHERE id = %s", iter([("one", 1), ("two", 2)])
        )


@kind()
def raw_quoted_table(using: str) -> None:
    table, column = quoted(using, "Relations odd-Table"), quoted(using, "the Value")
    execute(using, f"UPDATE {table} SET {column} = 5 WHERE id = 1")


@kind("sqlite", "mysql")
def raw_table_in_other_case(using: str) -> None:
    if connections[using].vendor == "sqlite":
        execute(using, "UPDATE JOBS_JOB SET title = 'raw' WHERE id = 1")
    else:
        execute(using, "UPDATE jobs_job AS J SET J.title = 'raw' WHERE J.ID = 1")


@kind("postgresql")
def raw_table_with_its_schema(using: str) -> None:
    execute(using, "UPDATE ONLY public.\"jobs_job\" AS j SET title = 'raw' WHERE j.id = 1")


@kind("sqlite", "postgresql")
def raw_returning(using: str) -> None:
    rows = execute(using, "UPDATE jobs_job SET title = 'raw' WHERE id = 1 RETURNING id")
    assert [tuple(row) for row in rows] == [(1,)]


@kind("mysql")
def raw_delete_returning(using: str) -> None:
    """MariaDB has no UPDATE that returns rows."""
    rows = execute(using, "DELETE FROM relations_chapter WHERE book_id = 2 RETURNING id")
    assert rows


@kind("mysql")
def raw_insert_returning_of_a_cte(using: str) -> None:
    """Nor a CTE before the write: it stands behind it."""
    rows = execute(
        using,
        "INSERT INTO relations_author (name, score) "
        "WITH mine AS (SELECT title FROM jobs_job WHERE id = 1) SELECT title, 1 FROM mine "
        "RETURNING id",
    )
    assert len(rows) == 1


@kind("sqlite", "postgresql")
def raw_cte_before_the_write(using: str) -> None:
    execute(
        using,
        "WITH mine AS (SELECT id FROM accounts_customuser WHERE id = 1) "
        "UPDATE jobs_job SET title = 'raw' WHERE client_id IN (SELECT id FROM mine) RETURNING id",
    )


@kind("postgresql")
def raw_cte_that_writes(using: str) -> None:
    execute(
        using,
        "WITH done AS (UPDATE jobs_job SET title = 'raw' WHERE id = 1 RETURNING *) "
        "SELECT id, title FROM done",
    )


@kind("postgresql")
def raw_cte_that_writes_two_tables(using: str) -> None:
    execute(
        using,
        "WITH a AS (DELETE FROM relations_chapter WHERE book_id = 2 RETURNING book_id), "
        "b AS (UPDATE relations_book SET price = 1 WHERE id IN (SELECT book_id FROM a)) "
        "SELECT 1",
    )


@kind("postgresql")
def raw_queryset_that_writes(using: str) -> None:
    rows = Job.objects.using(using).raw("UPDATE jobs_job SET title = 'raw' RETURNING *")
    assert len(list(rows)) == 4


@kind("postgresql")
def raw_merge(using: str) -> None:
    execute(
        using,
        "MERGE INTO jobs_industry AS t USING (VALUES (1, 'merged'), (9, 'made')) AS s (id, name) "
        "ON t.id = s.id WHEN MATCHED THEN UPDATE SET name = s.name "
        "WHEN NOT MATCHED THEN INSERT (id, name) VALUES (s.id, s.name)",
    )


@kind("postgresql")
def raw_two_statements_at_once(using: str) -> None:
    execute(
        using,
        "SELECT 1; UPDATE jobs_job SET title = 'a'; UPDATE jobs_industry SET name = name || 'b'",
    )


@kind("postgresql")
def raw_do_block(using: str) -> None:
    execute(using, "DO $$ BEGIN UPDATE jobs_job SET title = 'raw'; END $$")


@kind("postgresql")
def raw_explain_analyze(using: str) -> None:
    execute(using, "EXPLAIN ANALYZE UPDATE jobs_job SET title = 'raw'")


@kind("postgresql")
def raw_prepared(using: str) -> None:
    execute(using, "PREPARE renaming AS UPDATE jobs_job SET title = 'raw' WHERE id = $1")
    try:
        execute(using, "EXECUTE renaming (1)")
    finally:
        execute(using, "DEALLOCATE renaming")


@kind("postgresql")
def raw_composed(using: str) -> None:
    from psycopg import sql

    statement = sql.SQL("UPDATE {} SET title = {}").format(
        sql.Identifier("jobs_job"), sql.Literal("raw")
    )
    execute(using, statement)


@kind("postgresql")
def raw_delete_using(using: str) -> None:
    execute(
        using,
        "DELETE FROM relations_chapter USING relations_book "
        "WHERE relations_chapter.book_id = relations_book.id AND relations_book.title = 'book 2'",
    )


@kind("postgresql")
def raw_copy_from_a_file(using: str) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".csv", dir="/tmp") as file:
        file.write("90\tcopied\n")
        file.flush()
        Path(file.name).chmod(0o644)
        execute(using, f"COPY relations_tag (id, word) FROM '{file.name}'")


@kind("postgresql")
def truncate(using: str) -> None:
    execute(using, "TRUNCATE TABLE relations_chapter")


@kind("postgresql")
def truncate_of_several(using: str) -> None:
    execute(using, "TRUNCATE relations_chapter, relations_note")


@kind("postgresql")
def truncate_cascade(using: str) -> None:
    execute(using, "TRUNCATE relations_book CASCADE")


@kind("postgresql")
def truncate_cascade_over_several_steps(using: str) -> None:
    execute(using, "TRUNCATE relations_author CASCADE")


@kind("mysql", in_atomic=False)
def truncate_of_a_leaf(using: str) -> None:
    execute(using, "TRUNCATE TABLE relations_chapter")


@kind("mysql")
def raw_update_of_two_tables(using: str) -> None:
    execute(
        using,
        "UPDATE relations_book b JOIN relations_chapter c ON c.book_id = b.id "
        "SET b.title = 'both', c.heading = 'both'",
    )


@kind("mysql")
def raw_delete_from_a_join(using: str) -> None:
    execute(
        using,
        "DELETE c FROM relations_chapter c JOIN relations_book b ON c.book_id = b.id "
        "WHERE b.title = 'book 2'",
    )


@kind("mysql", "sqlite")
def raw_replace(using: str) -> None:
    execute(using, "REPLACE INTO relations_tag (id, word) VALUES (3, 'replaced')")


@kind("sqlite")
def raw_insert_or_replace(using: str) -> None:
    execute(using, "INSERT OR REPLACE INTO relations_tag (id, word) VALUES (3, 'replaced')")


@kind("mysql")
def raw_insert_on_duplicate_key(using: str) -> None:
    execute(
        using,
        "INSERT INTO relations_tag (id, word) VALUES (3, 'x') "
        "ON DUPLICATE KEY UPDATE word = 'upserted'",
    )


@kind("mysql")
def raw_conditional_comment(using: str) -> None:
    """What a comment with a bang holds, MariaDB runs."""
    execute(using, "/*! UPDATE jobs_job SET title = 'raw' WHERE id = 1 */")


@kind("mysql", in_atomic=False)
def raw_between_set_autocommit(using: str) -> None:
    """A transaction that the application's own SQL opens and commits."""
    execute(using, "START TRANSACTION")
    execute(using, "UPDATE jobs_job SET title = 'raw' WHERE id = 1")
    execute(using, "COMMIT")


@kind("postgresql", "sqlite", in_atomic=False)
def raw_begin_and_commit(using: str) -> None:
    execute(using, "BEGIN")
    execute(using, "UPDATE jobs_job SET title = 'raw' WHERE id = 1")
    execute(using, "COMMIT")


@kind(in_atomic=False)
def set_autocommit(using: str) -> None:
    from django.db import transaction

    transaction.set_autocommit(False, using=using)
    try:
        Job.objects.using(using).filter(pk=1).update(title="by hand")
        transaction.commit(using=using)
    finally:
        transaction.set_autocommit(True, using=using)


# Commands and migrations


@kind()
def deserialized_object(using: str) -> None:
    data = [{"model": "relations.tag", "pk": 2, "fields": {"word": "deserialized"}}]
    for row in serializers.deserialize("python", data, using=using):
        row.save(using=using)


@kind()
def loaddata(using: str) -> None:
    rows = [
        {"model": "relations.tag", "pk": 2, "fields": {"word": "loaded"}},
        {"model": "relations.restaurant", "pk": 3, "fields": {"stars": 8}},
        {
            "model": "payment.payment",
            "pk": 1,
            "fields": {
                "payer": 1,
                "recipient": 4,
                "job": 3,
                "amount": "1.00",
                "created_at": "2026-03-02T00:00:00Z",
            },
        },
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.json"
        path.write_text(json.dumps(rows))
        call_command("loaddata", str(path), database=using, verbosity=0)


@kind(in_atomic=False)
def flush(using: str) -> None:
    call_command("flush", database=using, interactive=False, verbosity=0, inhibit_post_migrate=True)


def _migrate(using: str, operation: migrations.operations.base.Operation) -> None:
    from django.apps import apps

    class Migration(migrations.Migration):
        atomic = not connections[using].in_atomic_block
        operations = [operation]  # noqa: RUF012  # as every migration has it

    state = ProjectState.from_apps(apps)
    with connections[using].schema_editor(atomic=Migration.atomic) as editor:
        Migration("proof", "jobs").apply(state, editor)


@kind(in_atomic=False)
def migration_run_python(using: str) -> None:
    def forwards(apps: Any, schema_editor: Any) -> None:
        manager = apps.get_model("jobs", "Job").objects.using(schema_editor.connection.alias)
        job = manager.get(pk=1)
        job.title = "migrated"
        job.save()
        manager.filter(pk=2).update(title=Concat(F("title"), Value("!")))

    _migrate(using, migrations.RunPython(forwards))


@kind(in_atomic=False)
def migration_run_sql(using: str) -> None:
    _migrate(using, migrations.RunSQL("UPDATE jobs_job SET title = 'migrated'"))


# Other tables of the marketplace, so that each of its models is written once


@kind()
def delete_of_a_user_with_all_that_is_theirs(using: str) -> None:
    Payment.objects.using(using).all().delete()
    CustomUser.objects.using(using).get(pk=3).delete()


@kind()
def application_moves_to_another_job(using: str) -> None:
    application = Application.objects.using(using).get(pk=1)
    application.job_id = 1
    application.save(using=using)


@kind()
def saved_job_update_or_create(using: str) -> None:
    SavedJob.objects.using(using).update_or_create(user_id=1, job_id=2)


@kind()
def async_methods(using: str) -> None:
    async def write() -> None:
        await Tag.objects.using(using).acreate(word="async")
        await Tag.objects.using(using).filter(pk=1).adelete()
        await Author.objects.using(using).abulk_create([Author(name="async")])
        book = await Book.objects.using(using).aget(pk=3)
        await book.tags.aadd(3)

    async_to_sync(write)()


@kind()
def json_field(using: str) -> None:
    Job.objects.using(using).filter(pk=1).update(requirements={"level": [1, {"a": None}]})
