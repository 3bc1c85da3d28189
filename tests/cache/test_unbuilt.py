"""What a decorated function returns: nothing of the first call's queryset shows in it."""

from __future__ import annotations

import asyncio
import copy
import inspect
import pickle
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import pytest
from django.core.cache import caches
from django.core.paginator import Paginator
from django.db import connection, connections, models
from django.db.models import Count, QuerySet
from django.forms import ModelChoiceField
from django.template import Context, Template
from django.test.utils import CaptureQueriesContext

from accounts.models import CustomUser
from django_querybudget.cache import cache_stats, cached_queryset
from jobs.models import Industry, Job
from tests.cache.relations.models import Author, Book

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

ALIASES = {"t1": "default", "t2": "other"}
MODELS: dict[str, type[models.Model]] = {"industry": Industry, "author": Author}


@cached_queryset(timeout=60)
def industries_in(tenant: str) -> Any:
    return Industry.objects.using(ALIASES[tenant]).order_by("-name")


@cached_queryset(timeout=60)
def things(name: str) -> Any:
    return MODELS[name]._default_manager.all()


@pytest.fixture(autouse=True)
def rows() -> None:
    caches["default"].clear()
    for name in ("a", "b", "c"):
        Industry.objects.create(name=name)
    Industry.objects.using("other").create(name="theirs")
    Author.objects.create(name="x")
    for _ in range(2):
        list(industries_in("t1")), list(things("industry"))
    cache_stats(reset=True)


def called(function: Callable[[], Any], alias: str = "default") -> tuple[Any, int]:
    with CaptureQueriesContext(connections[alias]) as queries:
        answer = function()
    return answer, len(queries)


# Writes go where the function says


WRITES: dict[str, Callable[[Any], Any]] = {
    "create": lambda found: found.create(name="n"),
    "bulk_create": lambda found: found.bulk_create([Industry(name="n")]),
    "get_or_create": lambda found: found.get_or_create(name="n"),
    "update_or_create": lambda found: found.update_or_create(name="n"),
    "acreate": lambda found: asyncio.run(found.acreate(name="n")),
    "update": lambda found: found.update(name="n"),
    "bulk_update": lambda found: found.bulk_update(
        [Industry(pk=each.pk, name="n") for each in Industry.objects.using("other")], ["name"]
    ),
    "delete": lambda found: found.delete(),
    "after iteration": lambda found: (list(found), found.create(name="n")),
    "by a model of its": lambda found: found.model(name="n").save(using=found.db),
    "by another's method": lambda found: QuerySet.create(found, name="n"),
}


@pytest.mark.parametrize("write", WRITES)
def test_a_write_reaches_the_database_that_the_function_names(write: str) -> None:
    before = sorted(Industry.objects.values_list("name", flat=True))
    theirs = sorted(Industry.objects.using("other").values_list("name", flat=True))
    WRITES[write](industries_in("t2"))
    assert sorted(Industry.objects.values_list("name", flat=True)) == before
    assert sorted(Industry.objects.using("other").values_list("name", flat=True)) != theirs


def test_a_write_makes_rows_of_the_model_that_the_function_names() -> None:
    assert things("author").model is Author
    things("author").create(name="y")
    assert Author.objects.count() == 2
    assert Industry.objects.count() == 3


# Nothing shows before it is built


def public(kind: type) -> list[str]:
    return [name for name in dir(kind) if not name.startswith("_")]


ANSWERED = {"count", "exists", "first", "get", "last",
            "acount", "aexists", "afirst", "aget", "alast"}  # fmt: skip
"""Reads that need no queryset on a hit."""

STATE = {"_db", "_hints", "_query", "_sticky_filter", "_for_write", "_known_related_objects",
         "_iterable_class", "_prefetch_related_lookups", "_fields", "_defer_next_filter",
         "_deferred_filter", "__dict__"}  # fmt: skip


@pytest.mark.parametrize("name", sorted({*public(QuerySet), *STATE} - ANSWERED))
def test_what_is_read_of_it_is_of_the_queryset_that_the_function_returns(name: str) -> None:
    """Whatever Django adds to its querysets is in this list by itself."""
    queryset = things("author")
    getattr(queryset, name, None)
    state = object.__getattribute__(queryset, "__dict__")
    assert state["model"] is Author
    assert type(queryset).__name__ == "QuerySet"
    assert "_querybudget_source" not in state


def test_what_is_set_on_it_stays() -> None:
    queryset = things("author")
    queryset._for_write = True
    queryset.own = 1
    assert (queryset._for_write, queryset.own, queryset.model) == (True, 1, Author)
    other = things("author")
    other._hints = {"a": 1}
    del other._hints
    assert not hasattr(other, "_hints")


def test_it_is_an_instance_of_the_hosts_class_without_being_built() -> None:
    queryset = things("author")
    assert isinstance(queryset, QuerySet)
    assert not isinstance(queryset, list | dict | str)
    assert queryset.__class__.__name__ == "QuerySet"
    assert "_querybudget_source" in object.__getattribute__(queryset, "__dict__")


USES: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "|": (lambda found: sorted(each.name for each in found | Author.objects.none()), ["x"]),
    "| of another": (lambda found: [each.name for each in Author.objects.none() | found], ["x"]),
    "&": (lambda found: [each.name for each in found & Author.objects.all()], ["x"]),
    "in a subquery": (lambda found: Book.objects.filter(author__in=found).count(), 0),
    "copy": (lambda found: [each.name for each in copy.copy(found)], ["x"]),
    "deepcopy": (lambda found: [each.name for each in copy.deepcopy(found)], ["x"]),
    "pickle": (lambda found: [each.name for each in _pickled(found)], ["x"]),
    "repr": (lambda found: repr(found).startswith("<QuerySet [<Author: Author object ("), True),
    "in": (lambda found: Author.objects.get() in found, True),
    "bool": (bool, True),
    "len": (len, 1),
    "a form's field": (lambda found: len(list(ModelChoiceField(found).choices)), 2),
    "a page": (lambda found: [each.name for each in Paginator(found.order_by("pk"), 2).page(1)],
               ["x"]),
    "a template": (
        lambda found: Template("{{ f.count }}{% for e in f %}{{ e.name }}{% endfor %}").render(
            Context({"f": found})
        ),
        "1x",
    ),
    "annotate": (lambda found: found.annotate(n=Count("books")).get().n, 0),
    "iterator": (lambda found: [each.name for each in found.iterator()], ["x"]),
    "async for": (lambda found: asyncio.run(_names(found)), ["x"]),
    "a method taken before": (lambda found: (found.count, found.model)[0](), 1),
    "values": (lambda found: list(found.values_list("name", flat=True)), ["x"]),
    "contains": (lambda found: found.contains(Author.objects.get()), True),
    "negative index": (lambda found: _raised(lambda: found[-1]), "ValueError"),
    "index out of range": (lambda found: _raised(lambda: found[7]), "IndexError"),
    "index by name": (lambda found: _raised(lambda: found["x"]), "TypeError"),
    "get of nothing": (lambda found: _raised(lambda: found.get(name="none")), "DoesNotExist"),
    "get by nonsense": (lambda found: _raised(lambda: found.get(nonsense=1)), "FieldError"),
    "step": (lambda found: [each.name for each in found[::2]], ["x"]),
    "slice of a slice": (lambda found: [each.name for each in found[0:5][0:1]], ["x"]),
    "filter of a slice": (lambda found: _raised(lambda: found[:1].filter(pk=1)), "TypeError"),
    "slice and count": (lambda found: found[:1].count(), 1),
    "slice and model": (lambda found: found[:1].model, Author),
}  # fmt: skip


def _pickled(found: Any) -> Any:
    return pickle.loads(pickle.dumps(found))  # noqa: S301  # its own


async def _names(found: Any) -> list[str]:
    return [each.name async for each in found]


def _raised(function: Callable[[], Any]) -> str:
    try:
        function()
    except Exception as error:  # compared by name
        return type(error).__name__
    return "nothing"


@pytest.mark.parametrize("use", USES)
def test_it_can_be_used_as_any_queryset(use: str) -> None:
    act, expected = USES[use]
    for _ in range(3):
        assert act(things("author")) == expected


# Reads that are answered without it


READS: dict[str, Callable[[Any], Any]] = {
    "count": lambda found: found.count(),
    "acount": lambda found: asyncio.run(found.acount()),
    "exists": lambda found: found.exists(),
    "aexists": lambda found: asyncio.run(found.aexists()),
    "first": lambda found: found.first().name,
    "afirst": lambda found: asyncio.run(found.afirst()).name,
    "last": lambda found: found.last().name,
    "alast": lambda found: asyncio.run(found.alast()).name,
    "get": lambda found: found.get(name="b").name,
    "get by key": lambda found: found.get(name__in=["b", "z"]).name,
    "aget": lambda found: asyncio.run(found.aget(name="b")).name,
    "get of nothing": lambda found: _raised(lambda: found.get(name="none")),
    "len": len,
    "bool": bool,
    "list": lambda found: [each.name for each in found],
    "index": lambda found: found[1].name,
    "slice": lambda found: [each.name for each in found[1:3]],
    "slice of a slice": lambda found: [each.name for each in found[1:][0:1]],
    "first of a slice": lambda found: found[1:].first().name,
    "count of a slice": lambda found: found[1:].count(),
    "get of a slice of one": lambda found: found[:1].get().name,
}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []

    class Noted(dict[str, str]):
        def __getitem__(self, key: str) -> str:
            found.append(key)
            return super().__getitem__(key)

    monkeypatch.setitem(globals(), "ALIASES", Noted(ALIASES))
    return found


@pytest.mark.parametrize("read", READS)
def test_a_read_equals_the_plain_one_and_a_hit_builds_nothing(read: str, calls: list[str]) -> None:
    ask = READS[read]
    expected = ask(Industry.objects.order_by("-name"))
    assert ask(industries_in("t1")) == expected
    calls.clear()
    assert called(lambda: ask(industries_in("t1"))) == (expected, 0)
    assert calls == []
    if read == "get of nothing":
        Industry.objects.create(name="none")
        assert ask(industries_in("t1")) == "nothing"
    else:
        Industry.objects.exclude(name="a").delete()
        Industry.objects.create(name="b")
        Industry.objects.create(name="bb")
        assert ask(industries_in("t1")) == ask(Industry.objects.order_by("-name"))


@pytest.mark.parametrize("read", ["count", "exists", "first", "last", "get"])
def test_a_cold_read_fetches_no_more_than_the_plain_one(read: str) -> None:
    def sent(found: Any) -> list[str]:
        with CaptureQueriesContext(connection) as queries:
            READS[read](found)
        return [each["sql"] for each in queries.captured_queries]

    caches["default"].clear()
    assert sent(industries_in("t1")) == sent(Industry.objects.order_by("-name"))


def test_several_where_one_is_asked_for_is_djangos_own_error() -> None:
    for _ in range(2):
        with pytest.raises(Industry.MultipleObjectsReturned, match="it returned 3!"):
            industries_in("t1").get()
    for _ in range(2):
        with pytest.raises(Industry.DoesNotExist, match="Industry matching query does not"):
            industries_in("t1").get(name="none")


def test_rows_that_are_there_are_counted() -> None:
    found = industries_in("t1")
    list(found)
    connection.connection.execute("DELETE FROM jobs_industry")
    caches["default"].clear()
    assert called(lambda: (found.count(), found.exists(), len(found))) == ((3, True, 3), 0)
    assert called(lambda: found[0].name) == ("c", 0)


def test_an_argument_of_a_read_that_has_no_spelling_builds() -> None:
    for _ in range(2):
        assert industries_in("t1").get(models.Q(name="a")).name == "a"
    user = CustomUser.objects.create(username="u", email="u@x")
    Job.objects.create(client=user, industry=Industry.objects.get(name="a"), title="t", budget=1)
    jobs = cached_queryset(timeout=60)(Job.objects.all)
    for _ in range(3):
        assert jobs().get(client=user).title == "t"


def test_a_row_by_its_key_survives_writes_to_others() -> None:
    @cached_queryset(timeout=60)
    def industry(pk: int) -> Any:
        return Industry.objects.filter(pk=pk)

    first, second = Industry.objects.order_by("pk")[:2]
    for _ in range(3):
        assert industry(first.pk).get().name == "a"
        assert industry(first.pk).first().name == "a"
        assert [each.name for each in industry(first.pk)] == ["a"]
    second.name = "changed"
    second.save()
    answer, queries = called(
        lambda: (industry(first.pk).get().name, industry(first.pk).first().name,
                 [each.name for each in industry(first.pk)])
    )  # fmt: skip
    assert (answer, queries) == (("a", "a", ["a"]), 0)
    first.name = "too"
    first.save()
    assert industry(first.pk).get().name == "too"


# Queryset classes of the host's


T = TypeVar("T", bound=models.Model)


class Shouting(QuerySet[T], Generic[T]):
    """A class with methods, and reads of its own."""

    def loud(self) -> str:
        return ",".join(each.name.upper() for each in self)  # type: ignore[attr-defined]

    def first(self) -> Any:
        return "mine"

    def count(self) -> int:
        return -1


class Slotted(Shouting[T]):
    __slots__ = ("own",)


@pytest.mark.parametrize("kind", [Shouting, Slotted])
def test_methods_of_a_class_of_the_hosts_are_its_own(kind: Any) -> None:
    @cached_queryset(timeout=60)
    def rows(model: type[models.Model]) -> Any:
        return kind(model).order_by("pk")

    for _ in range(3):
        assert rows(Industry).loud() == "A,B,C"
        assert rows(Author).loud() == "X"
        assert (rows(Author).first(), rows(Author).count(), len(rows(Author))) == ("mine", -1, 1)
        assert rows(Author).model is Author
        assert isinstance(rows(Author), kind)


def test_a_class_that_depends_on_the_argument() -> None:
    @cached_queryset(timeout=60)
    def rows(loud: bool) -> Any:
        return (Shouting if loud else QuerySet)(Industry).order_by("pk")

    for _ in range(3):
        assert rows(False).count() == 3
        assert rows(True).count() == -1
        assert rows(True).loud() == "A,B,C"
        assert [each.name for each in rows(True)] == ["a", "b", "c"]


def test_a_function_that_returns_anothers_answer() -> None:
    @cached_queryset(timeout=60)
    def outer(name: str) -> Any:
        return things(name)

    for _ in range(3):
        assert [each.name for each in outer("author")] == ["x"]
        assert outer("author").count() == 1
        assert outer("industry").count() == 3
        assert outer("author").model is Author


def test_the_names_of_this_list_are_djangos() -> None:
    """The premise of the list above."""
    assert set(public(QuerySet)) >= ANSWERED
    assert inspect.isfunction(QuerySet.get)
