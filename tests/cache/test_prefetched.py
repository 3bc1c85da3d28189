"""Prefetched rows from the cache: what Django puts there, made when it is needed."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import caches
from django.db import connection
from django.db.models import Prefetch, QuerySet, prefetch_related_objects
from django.test.utils import CaptureQueriesContext

from accounts.models import CustomUser
from django_querybudget.cache import cache_stats, cached_queryset
from jobs.models import Application, Job
from tests.cache import world
from tests.cache.reads import plain
from tests.cache.relations.models import Author, Book

pytestmark = pytest.mark.django_db(transaction=True)

FORMS: dict[str, tuple[Callable[[], QuerySet[Any]], tuple[str, ...]]] = {
    "the other end of a foreign key": (
        lambda: CustomUser.objects.order_by("pk").prefetch_related("applications"),
        ("applications",),
    ),
    "many to many": (
        lambda: Job.objects.order_by("pk").prefetch_related("subcategories"),
        ("subcategories",),
    ),
    "a generic relation": (
        lambda: Book.objects.order_by("pk").prefetch_related("notes"),
        ("notes",),
    ),
    "a queryset": (
        lambda: CustomUser.objects.order_by("pk").prefetch_related(
            Prefetch("applications", Application.objects.filter(pk__gt=0).select_related("job"))
        ),
        ("applications",),
    ),
    "two steps": (
        lambda: Author.objects.order_by("pk").prefetch_related("books__likes"),
        ("books", "likes"),
    ),
}


@pytest.fixture(autouse=True)
def rows(db: None, settings: Any) -> None:
    del db
    settings.QUERYBUDGET = {
        "CACHE": {**settings.QUERYBUDGET["CACHE"], "ALIAS": "default", "CLOCK_SKEW": 0}
    }
    caches["default"].clear()
    world.fill("default")


def hits(build: Callable[[], QuerySet[Any]]) -> list[Any]:
    """Return the rows as they come from the cache."""
    list(cached_queryset(build()))
    cache_stats(reset=True)
    found = list(cached_queryset(build()))
    assert cache_stats().hits == 1
    return found


def related(instances: list[Any], path: tuple[str, ...]) -> list[tuple[Any, str, Any]]:
    """Return the instances that have prefetched rows, by what name, and the querysets of them."""
    found: list[tuple[Any, str, Any]] = []
    for name in path:
        caches_of = [each.__dict__["_prefetched_objects_cache"] for each in instances]
        found += [(each, name, its[name]) for each, its in zip(instances, caches_of, strict=True)]
        instances = [one for its in caches_of for one in its[name]._result_cache]
    return found


def state(queryset: Any) -> dict[str, Any]:
    """Return all that a queryset holds, as data that compares."""
    held = dict(vars(queryset))
    query = held.pop("_query", None)
    held["_result_cache"] = [one.pk for one in held["_result_cache"]]
    held["_hints"] = {name: one.pk for name, one in held["_hints"].items()}
    held["_known_related_objects"] = {
        str(field): {key: one.pk for key, one in known.items()}
        for field, known in held["_known_related_objects"].items()
    }
    held["_deferred_filter"] = repr(held["_deferred_filter"])
    held["_prefetch_related_lookups"] = [str(each) for each in held["_prefetch_related_lookups"]]
    held["_fetch_mode"] = repr(held.get("_fetch_mode"))
    held["iterable"] = held.pop("_iterable_class").__qualname__
    return {**held, "query": str(query), "sql": str(queryset.query), "type": type(queryset)}


@pytest.mark.parametrize("form", FORMS)
def test_what_is_made_when_it_is_needed_is_what_django_makes(form: str) -> None:
    build, path = FORMS[form]
    ours, theirs = related(hits(build), path), related(list(build()), path)
    assert len(ours) == len(theirs) > 1
    for (_, _, our), (_, _, their) in zip(ours, theirs, strict=True):
        if form == "a queryset":
            # Django gives all of them one dictionary of hints: whoever was made last is in it.
            our._hints = their._hints
        assert state(our) == state(their)
        assert type(our) is type(their)


@pytest.mark.parametrize("form", FORMS)
def test_it_is_not_made_where_rows_are_only_looked_at(form: str) -> None:
    build, path = FORMS[form]
    instances = hits(build)
    with CaptureQueriesContext(connection) as queries:
        for instance, name, queryset in related(instances, path):
            manager = getattr(instance, name)
            assert manager.all() is queryset
            size = sum(1 for _ in manager.all())
            assert len(manager.all()) == manager.all().count() == manager.count() == size
            assert bool(manager.all()) is manager.all().exists() is bool(size)
            assert isinstance(queryset, QuerySet)
    assert not queries.captured_queries
    waiting = [
        "_querybudget_source" in object.__getattribute__(queryset, "__dict__")
        for _, _, queryset in related(instances, path)
    ]
    assert sum(waiting) >= len(waiting) - len(path) > 0  # all but the first of each


@pytest.mark.parametrize("form", FORMS)
def test_it_is_used_as_any(form: str) -> None:
    build, path = FORMS[form]
    ours, theirs = related(hits(build), path), related(list(build()), path)
    for (our_one, name, our), (_, _, their) in zip(ours, theirs, strict=True):
        assert our.query.model is their.query.model
        assert plain(our.filter(pk__gt=1).order_by("pk")) == plain(
            their.filter(pk__gt=1).order_by("pk")
        )
        assert plain(our.order_by("-pk").first()) == plain(their.order_by("-pk").first())
        assert plain(our[:1]) == plain(their[:1])
        assert repr(our) == repr(their)
        assert getattr(our_one, name).all() is our
        assert plain(our | our.all()) == plain(their | their.all())


COPIES = {
    "pickle": lambda one: pickle.loads(pickle.dumps(one)),  # noqa: S301  # its own
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("form", FORMS)
def test_copies(form: str, how: str) -> None:
    build, path = FORMS[form]
    for (our_one, name, _), (their_one, _, _) in zip(
        related(hits(build), path), related(list(build()), path), strict=True
    ):
        ours, theirs = (COPIES[how](one) for one in (our_one, their_one))
        assert plain(ours) == plain(theirs)
        assert type(getattr(ours, name).all()) is not None
    for (_, _, our), (_, _, their) in zip(
        related(hits(build), path), related(list(build()), path), strict=True
    ):
        ours, theirs = (COPIES[how](one) for one in (our, their))
        assert type(ours) is type(theirs)
        assert str(ours.query) == str(theirs.query)
        assert plain(ours) == plain(theirs)


def test_a_write_through_the_manager_takes_the_rows_away() -> None:
    build, _ = FORMS["the other end of a foreign key"]
    user = next(one for one in reversed(hits(build)) if one.applications.all())
    user.applications.all().delete()
    user.applications.update(job_id=1)
    assert list(user.applications.filter(pk__gt=0)) == []
    build, _ = FORMS["many to many"]
    job = hits(build)[-1]
    job.subcategories.clear()
    assert list(job.subcategories.all()) == []


def test_more_may_be_prefetched_on_top() -> None:
    build, _ = FORMS["the other end of a foreign key"]
    ours, theirs = hits(build), list(build())
    for users in (ours, theirs):
        prefetch_related_objects(users, "applications__job")
    assert plain(ours) == plain(theirs)


def test_rows_from_the_cache_are_stored_again_inside_of_another_answer() -> None:
    def build() -> QuerySet[Any]:
        inner = cached_queryset(Job.objects.prefetch_related("subcategories").order_by("pk"))
        return Application.objects.order_by("pk").prefetch_related(Prefetch("job", inner))

    true = [plain(one) for one in build()]
    assert [plain(one) for one in hits(build)] == true
