"""Reads of every form, each a function of what is put around the queryset.

``read(cached, alias)`` calls ``cached(queryset)`` where an application would, so the same function
asks the cache (``cached_queryset``, or a peer's) and the database (the identity).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import django
from django.core.exceptions import ObjectDoesNotExist
from django.db import models
from django.db.models import Avg, Count, Exists, F, Max, OuterRef, Prefetch, Q, Subquery, Sum

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

Cached = Callable[[models.QuerySet[Any]], Any]
Read = Callable[[Cached, str], Any]

READS: dict[str, Read] = {}


def read(function: Read) -> Read:
    READS[function.__name__] = function
    return function


def plain(value: Any, above: tuple[models.Model, ...] = ()) -> Any:
    """Return ``value`` as data that compares by content, with all that is loaded in it.

    ``above`` are the instances that led here: one of them again is named, not followed.
    """
    if isinstance(value, models.Model):
        if any(value is instance for instance in above):
            return (type(value).__name__, value.pk)
        return _plain_instance(value, (*above, value))
    if type(value).__name__ == "FieldInstanceTracker":
        value = value.saved_data
    if isinstance(value, dict):
        return {key: plain(item, above) for key, item in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return [plain(item, above) for item in value]
    return value


def _plain_instance(instance: models.Model, above: tuple[models.Model, ...]) -> Any:
    own = {name: value for name, value in vars(instance).items() if name[:7] != "_state"}
    prefetched = own.pop("_prefetched_objects_cache", {})
    own.pop("_django_version", None)  # what unpickling leaves on an instance: some peers' caches do
    state = instance._state
    return (
        type(instance).__name__,
        (state.db, state.adding),
        plain(own, above),
        plain(state.fields_cache, above),
        {name: plain(list(rows), above) for name, rows in prefetched.items()},
    )


def answer(read: Read, cached: Cached, alias: str) -> Any:
    """Run a read; a row that is not there is an answer like any other."""
    try:
        return plain(read(cached, alias))
    except ObjectDoesNotExist as error:
        return type(error).__qualname__


# The marketplace: lists, one row, aggregates


@read
def users(c: Cached, using: str) -> Any:
    return list(c(CustomUser.objects.using(using).order_by("pk")))


@read
def user_by_key(c: Cached, using: str) -> Any:
    return c(CustomUser.objects.using(using)).get(pk=1)


@read
def user_by_name(c: Cached, using: str) -> Any:
    return c(CustomUser.objects.using(using)).get(username="user2")


@read
def user_with_profile(c: Cached, using: str) -> Any:
    return c(CustomUser.objects.using(using).select_related("profile")).get(pk=1)


@read
def profile_of_a_user(c: Cached, using: str) -> Any:
    return c(Profile.objects.using(using)).get(user=1)


@read
def profiles_sliced(c: Cached, using: str) -> Any:
    return list(c(Profile.objects.using(using).order_by("-pk"))[:2])


@read
def industries_with_counts(c: Cached, using: str) -> Any:
    return list(c(Industry.objects.using(using).annotate(n=Count("jobs")).order_by("pk")))


@read
def subcategories(c: Cached, using: str) -> Any:
    return list(
        c(Subcategory.objects.using(using).order_by("pk").values_list("pk", "name", "industry"))
    )


@read
def jobs(c: Cached, using: str) -> Any:
    return list(c(Job.objects.using(using).order_by("pk")))


@read
def job_by_key(c: Cached, using: str) -> Any:
    return c(Job.objects.using(using)).get(pk=1)


@read
def job_by_text_key(c: Cached, using: str) -> Any:
    return c(Job.objects.using(using).filter(pk="2")).first()


@read
def job_that_is_missing(c: Cached, using: str) -> Any:
    return c(Job.objects.using(using)).get(pk=50)


@read
def job_that_is_missing_exists(c: Cached, using: str) -> Any:
    return c(Job.objects.using(using).filter(pk=50)).exists()


@read
def job_by_either(c: Cached, using: str) -> Any:
    return list(c(Job.objects.using(using).filter(Q(pk=1) | Q(title="new")).order_by("pk")))


@read
def job_and_a_total_of_all(c: Cached, using: str) -> Any:
    total = (
        Job.objects.using(using).order_by().values("industry").annotate(s=Sum("budget")).values("s")
    )
    total = total.filter(industry=OuterRef("industry"))
    return list(c(Job.objects.using(using).filter(pk=1).annotate(total=Subquery(total[:1]))))


@read
def job_with_everything(c: Cached, using: str) -> Any:
    queryset = (
        Job.objects.using(using)
        .select_related("client__profile", "industry")
        .prefetch_related("subcategories", "applications__applicant", "pictures")
        .order_by("pk")
    )
    return list(c(queryset))


@read
def job_with_some_applications(c: Cached, using: str) -> Any:
    some = Prefetch(
        "applications", Application.objects.filter(offer__gte=20).order_by("pk"), to_attr="good"
    )
    return list(c(Job.objects.using(using).filter(pk=1).prefetch_related(some)))


@read
def jobs_count(c: Cached, using: str) -> Any:
    return c(Job.objects.using(using)).count()


@read
def jobs_open_exist(c: Cached, using: str) -> Any:
    return c(Job.objects.using(using).filter(status="done")).exists()


@read
def jobs_budget(c: Cached, using: str) -> Any:
    return c(Job.objects.using(using)).aggregate(total=Sum("budget"), top=Max("budget"))


@read
def jobs_titles(c: Cached, using: str) -> Any:
    return list(c(Job.objects.using(using).order_by("pk").values_list("title", flat=True)))


@read
def jobs_in_bulk(c: Cached, using: str) -> Any:
    return c(Job.objects.using(using)).in_bulk([1, 2, 50])


@read
def jobs_dates(c: Cached, using: str) -> Any:
    return list(c(Job.objects.using(using).order_by()).dates("created_at", "month"))


@read
def jobs_first_and_last(c: Cached, using: str) -> Any:
    queryset = c(Job.objects.using(using).order_by("budget", "pk"))
    return [queryset.first(), queryset.last()]


@read
def jobs_only_titles(c: Cached, using: str) -> Any:
    return list(
        c(Job.objects.using(using).filter(pk=1).only("title", "status")).values("title", "status")
    )


@read
def jobs_of_active_clients(c: Cached, using: str) -> Any:
    active = CustomUser.objects.using(using).filter(is_active=True)
    return list(c(Job.objects.using(using).filter(client__in=active).order_by("pk")).values("pk"))


@read
def jobs_with_an_application(c: Cached, using: str) -> Any:
    applied = Exists(Application.objects.using(using).filter(job=OuterRef("pk")))
    return list(c(Job.objects.using(using).filter(applied).order_by("pk")))


@read
def jobs_iterated(c: Cached, using: str) -> Any:
    return list(c(Job.objects.using(using).order_by("pk")).iterator())


@read
def subcategories_of_a_job(c: Cached, using: str) -> Any:
    return list(c(Subcategory.objects.using(using).filter(jobs=1).order_by("pk")))


@read
def jobs_of_a_subcategory(c: Cached, using: str) -> Any:
    return list(c(Job.objects.using(using).filter(subcategories=2).order_by("pk")))


@read
def subcategories_with_jobs(c: Cached, using: str) -> Any:
    jobs = Prefetch("jobs", Job.objects.order_by("pk"))
    return list(c(Subcategory.objects.using(using).order_by("pk").prefetch_related(jobs)))


@read
def applications_of_a_job(c: Cached, using: str) -> Any:
    return list(c(Application.objects.using(using).filter(job=1).order_by("pk")))


@read
def application_by_key(c: Cached, using: str) -> Any:
    return c(Application.objects.using(using)).get(pk=2)


@read
def saved_jobs(c: Cached, using: str) -> Any:
    return list(c(SavedJob.objects.using(using).order_by("pk")).values_list("user", "job"))


@read
def payments_of_a_payer(c: Cached, using: str) -> Any:
    return list(c(Payment.objects.using(using).filter(payer=1).order_by("pk")))


@read
def payments_of_another_payer(c: Cached, using: str) -> Any:
    return list(c(Payment.objects.using(using).filter(payer_id=2).order_by("pk")))


@read
def payments_of_a_recipient(c: Cached, using: str) -> Any:
    return c(Payment.objects.using(using).filter(recipient=3)).aggregate(total=Sum("amount"))


@read
def payments_of_a_payer_beside_all(c: Cached, using: str) -> Any:
    all_of_them = Payment.objects.using(using).order_by().values("currency")
    all_of_them = all_of_them.annotate(s=Sum("amount")).values("s")
    queryset = Payment.objects.using(using).filter(payer=1).order_by("pk")
    return list(c(queryset.annotate(all=Subquery(all_of_them[:1]))))


@read
def payments_of_a_payer_or_large(c: Cached, using: str) -> Any:
    return list(
        c(Payment.objects.using(using).filter(Q(payer=1) | Q(amount__gt=100)).order_by("pk"))
    )


@read
def payments_not_of_a_payer(c: Cached, using: str) -> Any:
    return list(c(Payment.objects.using(using).exclude(payer=1).order_by("pk")))


@read
def payments_union(c: Cached, using: str) -> Any:
    one = Payment.objects.using(using).filter(pk=1).values_list("pk", "amount")
    others = Payment.objects.using(using).filter(payer=1).values_list("pk", "amount")
    return sorted(c(one.union(others)))


@read
def payment_by_key(c: Cached, using: str) -> Any:
    return c(Payment.objects.using(using)).get(pk=1)


@read
def reviews_mean(c: Cached, using: str) -> Any:
    queryset = Review.objects.using(using).values("reviewed").annotate(mean=Avg("rating"))
    return list(c(queryset.order_by("reviewed")))


# Multi-table, proxy, generic, through


@read
def places(c: Cached, using: str) -> Any:
    return list(c(Place.objects.using(using).order_by("pk")))


@read
def place_by_key(c: Cached, using: str) -> Any:
    return c(Place.objects.using(using)).get(pk=3)


@read
def restaurant_by_key(c: Cached, using: str) -> Any:
    return c(Restaurant.objects.using(using)).get(pk=3)


@read
def restaurants(c: Cached, using: str) -> Any:
    return list(c(Restaurant.objects.using(using).order_by("pk")).values("name", "stars"))


@read
def bistro_by_key(c: Cached, using: str) -> Any:
    return c(Bistro.objects.using(using)).get(pk=3)


@read
def authors(c: Cached, using: str) -> Any:
    return list(c(Author.objects.using(using).select_related("mentor").order_by("pk")))


@read
def authors_with_books(c: Cached, using: str) -> Any:
    books = Prefetch("books", Book.objects.order_by("pk"))
    edited = Prefetch("edited", Book.objects.order_by("pk"))
    return list(c(Author.objects.using(using).order_by("pk").prefetch_related(books, edited)))


@read
def author_by_key(c: Cached, using: str) -> Any:
    return c(Author.objects.using(using)).get(pk=1)


@read
def books(c: Cached, using: str) -> Any:
    queryset = Book.objects.using(using).order_by("pk")
    return list(
        c(
            queryset.prefetch_related(
                Prefetch("tags", Tag.objects.order_by("pk")),
                Prefetch("notes", Note.objects.order_by("pk")),
                "chapters",
            )
        )
    )


@read
def book_by_key(c: Cached, using: str) -> Any:
    return c(Book.objects.using(using)).get(pk=1)


@read
def book_three(c: Cached, using: str) -> Any:
    return c(Book.objects.using(using).filter(pk=3)).values().get()


@read
def dear_books(c: Cached, using: str) -> Any:
    return list(c(DearBook.objects.using(using).order_by("pk")))


@read
def dear_book_by_key(c: Cached, using: str) -> Any:
    return c(DearBook.objects.using(using)).get(pk=2)


@read
def tags(c: Cached, using: str) -> Any:
    return list(c(Tag.objects.using(using).annotate(n=Count("books")).order_by("pk")))


@read
def tag_by_key_with_books(c: Cached, using: str) -> Any:
    books = Prefetch("books", Book.objects.order_by("pk"))
    return list(c(Tag.objects.using(using).filter(pk=2).prefetch_related(books)))


@read
def likes_of_a_book(c: Cached, using: str) -> Any:
    return list(c(Like.objects.using(using).filter(book=1).order_by("pk")).values())


@read
def likers(c: Cached, using: str) -> Any:
    return list(c(Author.objects.using(using).filter(liked=1).order_by("pk")))


@read
def notes(c: Cached, using: str) -> Any:
    return list(c(Note.objects.using(using).order_by("pk")).values_list("object_id", "text"))


@read
def chapters(c: Cached, using: str) -> Any:
    return list(c(Chapter.objects.using(using).order_by("book", "_order", "pk")))


@read
def chapter_by_key(c: Cached, using: str) -> Any:
    return c(Chapter.objects.using(using)).get(pk=1)


@read
def odds(c: Cached, using: str) -> Any:
    return list(c(Odd.objects.using(using).order_by("pk")))


@read
def odd_by_key(c: Cached, using: str) -> Any:
    return c(Odd.objects.using(using)).get(pk=1)


@read
def seats(c: Cached, using: str) -> Any:
    return list(c(Seat.objects.using(using).order_by("line", "number")))


@read
def seat_by_key(c: Cached, using: str) -> Any:
    return c(Seat.objects.using(using)).get(pk=(1, 1))


@read
def seats_of_a_line(c: Cached, using: str) -> Any:
    return c(Seat.objects.using(using).filter(line=1)).count()


@read
def named_by_key(c: Cached, using: str) -> Any:
    return c(Named.objects.using(using)).get(pk="first")


@read
def named_by_key_in_capitals(c: Cached, using: str) -> Any:
    return c(Named.objects.using(using)).get(pk="FIRST")


@read
def named_above(c: Cached, using: str) -> Any:
    return c(Named.objects.using(using).filter(value__gt=F("value") - 1, value__gte=2)).count()


# Lists that a foreign key pins


@read
def books_of_an_author(c: Cached, using: str) -> Any:
    return list(c(Book.objects.using(using).filter(author=1).order_by("pk")))


@read
def books_of_nobody(c: Cached, using: str) -> Any:
    return list(c(Book.objects.using(using).filter(author=4).order_by("pk")))


@read
def books_through_their_author(c: Cached, using: str) -> Any:
    author = Author(pk=2)
    author._state.db = using
    return list(c(author.books.order_by("-pk")))


@read
def dear_books_of_an_author(c: Cached, using: str) -> Any:
    books = Book.objects.using(using).filter(author=1, price__gte=15, price__lt=99)
    return list(c(books.order_by("title")))


@read
def books_of_an_author_but_one(c: Cached, using: str) -> Any:
    books = Book.objects.using(using).filter(author=1).exclude(title="book 2")
    return list(c(books.only("title").order_by("pk")))


@read
def books_edited_by_an_author(c: Cached, using: str) -> Any:
    books = Book.objects.using(using).filter(editor=2, author=1)
    return list(c(books.prefetch_related("chapters").order_by("pk")))


@read
def unread_books_of_an_editor(c: Cached, using: str) -> Any:
    return list(c(Book.objects.using(using).filter(editor=1, reader__isnull=True).order_by("pk")))


@read
def books_of_two_authors(c: Cached, using: str) -> Any:
    return list(c(Book.objects.using(using).filter(author__in=[1, 4]).order_by("pk")))


@read
def books_of_an_author_by_either(c: Cached, using: str) -> Any:
    either = Q(title="new") | Q(price=20) | Q(price=F("editor"))
    return list(c(Book.objects.using(using).filter(either, author=1).order_by("pk")))


@read
def books_read_by_an_author(c: Cached, using: str) -> Any:
    return list(c(Book.objects.using(using).filter(reader=1).order_by("pk")))


@read
def dearest_book_of_an_author(c: Cached, using: str) -> Any:
    return list(c(Book.objects.using(using).filter(author=1).order_by("-price", "pk"))[:1])


@read
def first_book_of_an_editor(c: Cached, using: str) -> Any:
    return c(Book.objects.using(using).filter(editor=2).order_by("title", "-pk")).first()


@read
def second_book_of_an_author(c: Cached, using: str) -> Any:
    return list(c(Book.objects.using(using).filter(author=1).order_by("price", "pk"))[1:2])


@read
def book_of_an_author_by_title(c: Cached, using: str) -> Any:
    return c(Book.objects.using(using).filter(author=1)).get(title="book 2")


@read
def number_of_books_of_an_author(c: Cached, using: str) -> Any:
    books = c(Book.objects.using(using).filter(author=1))
    return books.count(), books.filter(price=20).exists()


@read
def dear_books_of_one_author(c: Cached, using: str) -> Any:
    return list(c(DearBook.objects.using(using).filter(author=1).order_by("pk")))


@read
def pupils_of_an_author(c: Cached, using: str) -> Any:
    return list(c(Author.objects.using(using).filter(mentor=2).order_by("pk")))


@read
def chapters_of_a_book(c: Cached, using: str) -> Any:
    return list(c(Chapter.objects.using(using).filter(book=2).order_by("_order")))


@read
def notes_about_a_book(c: Cached, using: str) -> Any:
    book = Book(pk=1)
    book._state.db = using
    return list(c(book.notes.order_by("pk")))


@read
def warm_likes_of_an_author(c: Cached, using: str) -> Any:
    return list(c(Like.objects.using(using).filter(author=2, warmth__gte=1).order_by("pk")))


@read
def jobs_of_a_client(c: Cached, using: str) -> Any:
    jobs = Job.objects.using(using).filter(client=2, budget__gt=1, status="open")
    return list(c(jobs.order_by("pk")))


@read
def number_of_payments_of_a_payer(c: Cached, using: str) -> Any:
    """No list, but of a scope that is declared."""
    return c(Payment.objects.using(using).filter(payer=1)).count()


@read
def payments_for_a_job(c: Cached, using: str) -> Any:
    payments = Payment.objects.using(using).filter(job=3, amount__gte=6)
    return list(c(payments.order_by("-amount", "pk"))[:2])


@read
def applications_of_a_user(c: Cached, using: str) -> Any:
    return list(c(Application.objects.using(using).filter(applicant=1).order_by("pk")))


@read
def saved_jobs_of_a_user(c: Cached, using: str) -> Any:
    return list(c(SavedJob.objects.using(using).filter(user=1).order_by("pk")))


if django.VERSION >= (6, 1):
    from tests.cache.relations.models import Collar, Kennel, Owner, Pet

    @read
    def owners(c: Cached, using: str) -> Any:
        return c(Owner.objects.using(using)).count()

    @read
    def pets(c: Cached, using: str) -> Any:
        return list(c(Pet.objects.using(using).order_by("pk")))

    @read
    def pet_by_key(c: Cached, using: str) -> Any:
        return c(Pet.objects.using(using)).get(pk=2)

    @read
    def collars(c: Cached, using: str) -> Any:
        return c(Collar.objects.using(using)).count()

    @read
    def collar_by_key(c: Cached, using: str) -> Any:
        return c(Collar.objects.using(using)).get(pk=2)

    @read
    def kennels(c: Cached, using: str) -> Any:
        return list(c(Kennel.objects.using(using).order_by("pk")).values("owner", "name"))

    @read
    def kennel_by_key(c: Cached, using: str) -> Any:
        return c(Kennel.objects.using(using)).get(pk=1)

    # Lists whose rows the database deletes, or takes out of them

    @read
    def pets_of_an_owner(c: Cached, using: str) -> Any:
        return list(c(Pet.objects.using(using).filter(owner=1).order_by("pk")))

    @read
    def collars_of_a_pet(c: Cached, using: str) -> Any:
        return list(c(Collar.objects.using(using).filter(pet__in=[1, 2]).order_by("pk")))

    @read
    def kennels_of_an_owner(c: Cached, using: str) -> Any:
        return list(c(Kennel.objects.using(using).filter(owner=1).order_by("name"))[:1])
