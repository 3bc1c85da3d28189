"""Models and querysets of the hosts' own: a hit is what the database would have given."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from django.core.cache import caches
from django.db import connection
from django.db.models import Count, F, Max, Prefetch, QuerySet, Value
from django.db.models.lookups import IntegerFieldExact
from django.db.models.signals import post_init, post_save
from django.test.utils import CaptureQueriesContext
from django.utils import translation
from django.utils.functional import SimpleLazyObject

from django_querybudget.cache import cache_stats, cached_queryset, invalidate, tags
from django_querybudget.cache.reading.dependencies import pins_of
from django_querybudget.cache.tables import tables
from django_querybudget.cache.writing.instances import row_tags
from tests.cache.hosts import models
from tests.cache.hosts.fields import Grade
from tests.cache.hosts.models import (
    Animal,
    Assigned,
    Branch,
    ByCode,
    ByUuid,
    Cat,
    Circle,
    Dirty,
    Dog,
    FromDb,
    Graded,
    Hashed,
    Holder,
    Inited,
    Negated,
    Poll,
    Product,
    Sealed,
    Secret,
    Shape,
    Shelf,
    Signalled,
    Tracked,
)
from tests.cache.hosts.rows import THINGS, key_of

pytestmark = pytest.mark.django_db(transaction=True)

Wrap = Callable[[QuerySet[Any]], Any]


@pytest.fixture(autouse=True)
def rows() -> None:
    caches["default"].clear()
    shelf = Shelf.objects.create(name="a", labels=["top"])
    for model in THINGS:
        for number in (1, 2):
            values = {"word": "abc"} if model is Secret else {}
            key = (
                {"pk": key_of(model, number)} if model in (Negated, ByUuid, ByCode, Sealed) else {}
            )
            made = model.objects.create(shelf=shelf, **values, **key)
            row = {"name": f"n{number}", "number": number, "labels": ["x"]}
            model.objects.filter(pk=made.pk).update(**row)
    Holder.objects.create(
        from_db_row=FromDb.objects.first(), inited=Inited.objects.first(),
        hashed=Hashed.objects.first(),
    )  # fmt: skip
    Holder.objects.create()
    cache_stats(reset=True)


def answered(read: Callable[[], Any]) -> tuple[Any, int]:
    with CaptureQueriesContext(connection) as queries:
        answer = read()
    return answer, len(queries)


def look(instance: Any, seen: tuple[Any, ...] = ()) -> Any:
    """Return all that can be seen of an instance, and of what is loaded with it."""
    if instance is None or any(each is instance for each in seen):
        return None
    seen = (*seen, instance)
    shown: dict[str, Any] = {"": type(instance).__name__}
    for name, value in vars(instance).items():
        if name == "_prefetched_objects_cache":
            shown |= {
                key: [look(one, seen) for one in rows._result_cache] for key, rows in value.items()
            }
        elif isinstance(value, list) and value and hasattr(value[0], "_meta"):
            shown[name] = [look(one, seen) for one in value]
        elif name == "_tracker":
            shown[name] = (value.saved_data, value.changed())
        elif name != "_state":
            shown[name] = value
    shown["related"] = {
        name: look(value, seen) for name, value in instance._state.fields_cache.items()
    }
    return shown


READS: dict[str, Callable[[Wrap, Any], Any]] = {
    "list": lambda c, model: [look(each) for each in c(model.objects.order_by("number"))],
    "get": lambda c, model: look(c(model.objects.filter(name="n1")).get()),
    "only": lambda c, model: [look(each) for each in c(model.objects.only("number", "labels", "name"))],  # noqa: E501
    "iterator": lambda c, model: [look(each) for each in c(model.objects.all()).iterator()],
    "joined": lambda c, model: [look(each) for each in c(model.objects.select_related("shelf"))],
    "annotated": lambda c, model: [
        (look(each), each.doubled) for each in c(model.objects.annotate(doubled=F("number") + 1))
    ],
    "values": lambda c, model: list(c(model.objects.order_by("pk")).values("name", "number")),
    "prefetched": lambda c, model: [
        look(each) for each in c(Shelf.objects.prefetch_related(f"{model.__name__.lower()}s"))
    ],
    "prefetching": lambda c, model: [
        look(each) for each in c(model.objects.prefetch_related("shelf"))
    ],
    "prefetched to a list": lambda c, model: [
        look(each)
        for each in c(
            Shelf.objects.prefetch_related(
                Prefetch(f"{model.__name__.lower()}s", model.objects.filter(number__gt=0), "found")
            )
        )
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", READS)
@pytest.mark.parametrize("model", THINGS, ids=lambda model: model.__name__)
def test_a_hit_is_what_the_database_would_have_given(model: Any, name: str) -> None:
    read = READS[name]
    expected = read(lambda queryset: queryset, model)
    for _ in range(3):
        assert read(cached_queryset, model) == expected
    # Dirty's __init__ alone makes it, and makes the same of it again.
    own_code = model not in (Hashed, Negated, ByUuid, ByCode, Sealed, Dirty)
    not_noted = own_code and name == "prefetched"  # by name: a manager makes the queryset
    assert bool(cache_stats().hits) is not not_noted
    assert bool(cache_stats().not_stored) is not_noted


def test_what_is_joined_is_made_by_its_own_code_too() -> None:
    read = lambda c: [  # noqa: E731
        look(each) for each in c(Holder.objects.select_related("from_db_row__shelf", "inited"))
    ]
    expected = read(lambda queryset: queryset)
    for _ in range(2):
        assert answered(lambda: read(cached_queryset))[0] == expected
    assert cache_stats().hits == 1


PREFETCHES: dict[str, Callable[[], QuerySet[Any]]] = {
    "of a foreign key": lambda: Holder.objects.prefetch_related(
        Prefetch("inited", Inited.objects.select_related("shelf"))
    ),
    "of a reverse key": lambda: Shelf.objects.prefetch_related(
        Prefetch("fromdbs", FromDb.objects.annotate(doubled=F("number") * 2))
    ),
    "in a prefetch": lambda: Inited.objects.prefetch_related(
        Prefetch(
            "shelf",
            Shelf.objects.prefetch_related(Prefetch("signalleds", Signalled.objects.all())),
        )
    ),
    "at the end of a path": lambda: Holder.objects.prefetch_related(
        Prefetch("hashed__shelf__assigneds", Assigned.objects.order_by("-number"))
    ),
}


@pytest.mark.parametrize("name", PREFETCHES)
def test_prefetched_rows_are_made_by_their_own_code_too(name: str) -> None:
    queryset = PREFETCHES[name]()
    expected = [look(each) for each in queryset.all()]
    for _ in range(3):
        assert [look(each) for each in cached_queryset(queryset)] == expected
    assert cache_stats().hits == 2
    assert answered(lambda: list(cached_queryset(queryset)))[1] == 0


def test_prefetched_rows_that_were_noted_stay_a_queryset_like_any() -> None:
    queryset = Shelf.objects.prefetch_related(Prefetch("initeds", Inited.objects.order_by("pk")))
    for _ in range(2):
        [shelf] = cached_queryset(queryset)
        assert [each.number for each in shelf.initeds.all()] == [2, 3]
        assert [each.number for each in shelf.initeds.all().filter(number=2)] == [3]
        again = pickle.loads(pickle.dumps(shelf))  # noqa: S301  # its own
        assert [each.number for each in again.initeds.all()] == [2, 3]
    assert cache_stats().hits == 1
    assert [each.number for each in queryset[0].initeds.all()] == [2, 3]


def test_the_code_runs_at_the_moment_of_the_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it made of a row is not kept: in another language it makes something else."""
    for language in ("en", "de", "fr"):
        monkeypatch.setattr(Signalled, "language", language)
        names = [each.name for each in cached_queryset(Signalled.objects.order_by("pk"))]
        assert names == [f"translated {language} n1", f"translated {language} n2"]
    assert cache_stats().hits == 2


@pytest.fixture
def connected() -> Iterator[None]:
    def mark(instance: Any, **_: Any) -> None:
        instance.name += "?"

    post_init.connect(mark, sender=Shelf)
    yield
    post_init.disconnect(mark, sender=Shelf)


def test_a_receiver_connected_after_the_fill(request: pytest.FixtureRequest) -> None:
    """As in a process with another set of apps; and the other way round."""
    read = lambda: [each.name for each in cached_queryset(Shelf.objects.all())]  # noqa: E731
    assert (read(), read()) == (["a"], ["a"])
    request.getfixturevalue("connected")
    assert read() == ["a?"]
    assert cache_stats().hits == 2
    caches["default"].clear()
    assert (read(), read()) == (["a?"], ["a?"])


def test_a_streamed_answer_is_not_noted_to_its_end() -> None:
    rows = cached_queryset(FromDb.objects.order_by("pk")).iterator(chunk_size=1)
    assert [each.name for each in rows] == ["n1!", "n2!"]
    assert [each.name for each in cached_queryset(FromDb.objects.order_by("pk"))] == ["n1!", "n2!"]


def test_a_tracker_tracks_an_instance_from_the_cache() -> None:
    for model in (Tracked, Dirty):
        for _ in range(2):
            [one] = cached_queryset(model.objects.filter(name="n1"))
            one.number = 7
            changed = one.tracker.changed() if model is Tracked else one.get_dirty_fields()
            assert changed == {"number": 1}


# Queryset classes


@pytest.mark.parametrize("manager", ["generic", "slotted"])
def test_a_queryset_of_any_layout_is_cached(manager: str) -> None:
    queryset = getattr(Shelf, manager).all()
    for _ in range(2):
        cached: Any = cached_queryset(queryset)
        assert isinstance(cached, type(queryset))
        assert cached.count() == 1
        assert [each.name for each in cached] == ["a"]
    assert cache_stats().hits == 2
    assert not cache_stats().bypasses


def test_a_generic_queryset_keeps_its_methods_when_decorated() -> None:
    @cached_queryset
    def shelves() -> Any:
        return Shelf.generic.all()

    for _ in range(2):
        assert [each.name for each in shelves().named("a")] == ["a"]
        assert [each.name for each in shelves()] == ["a"]


def test_state_in_a_slot_is_part_of_the_key() -> None:
    assert cached_queryset(Shelf.slotted.marked("a")).mark == "a"
    for mark in ("a", "b", "a"):
        list(cached_queryset(Shelf.slotted.marked(mark)))
    assert cache_stats().hits == 1
    list(cached_queryset(Shelf.slotted.marked(object())))
    assert cache_stats().bypasses == {"queryset attribute 'mark' of type builtins.object": 1}


@pytest.mark.parametrize("manager", ["stateful", "iterated"])
def test_what_one_user_was_told_no_other_is(manager: str) -> None:
    for user in ("alice", "bob"):
        for _ in range(2):
            queryset = getattr(Shelf, manager).for_user(user)
            assert [each.user for each in cached_queryset(queryset)] == [user]
            rows = cached_queryset(queryset).iterator()
            assert [getattr(each, "user", None) for each in rows] == [
                getattr(each, "user", None) for each in queryset.iterator()
            ]
            assert cached_queryset(queryset).count() == queryset.count()
    [stateful, *_] = cache_stats().bypasses
    assert stateful.startswith(("own method StatefulQuerySet._fetch_all()", "iterable ForUser"))


@pytest.mark.parametrize("manager", ["stateful", "iterated"])
def test_what_one_user_was_told_no_other_is_decorated(manager: str) -> None:
    @cached_queryset
    def shelves(user: str) -> Any:
        return getattr(Shelf, manager).for_user(user)

    for user in ("alice", "bob", "alice"):
        assert [each.user for each in shelves(user)] == [user]
        assert shelves(user).count() == getattr(Shelf, manager).for_user(user).count()


def test_an_instance_as_state_goes_to_the_database() -> None:
    """Its primary key says which row it is, and not what it holds."""
    queryset = Shelf.slotted.marked((Shelf.objects.get(),))
    for _ in range(2):
        assert answered(lambda: list(cached_queryset(queryset)))[1] == 1
    assert cache_stats().bypasses == {"queryset attribute 'mark' of type hosts.Shelf": 2}


def test_a_prefetch_of_a_queryset_with_state_goes_to_the_database() -> None:
    Shelf.objects.create(name="b")
    for user in ("alice", "bob"):
        some = Prefetch("shelf", Shelf.stateful.for_user(user))
        for each in cached_queryset(Hashed.objects.prefetch_related(some)):
            assert each.shelf.user == user  # type: ignore[attr-defined]


def test_a_queryset_class_that_cannot_be_subclassed_is_not_cached() -> None:
    for _ in range(2):
        assert answered(lambda: len(cached_queryset(Shelf.final.all()))) == (1, 1)
    assert cache_stats().bypasses == {
        "class Unsubclassable has no subclass (this class is final)": 2
    }


# Other packages


def test_model_utils_select_subclasses() -> None:
    Dog.objects.create(name="rex")
    Cat.objects.create(name="tom", lives=7)
    Animal.objects.create(name="ant")
    questions: list[Callable[[], Any]] = [
        Animal.objects.order_by("pk").all,
        Animal.objects.order_by("pk").select_subclasses,
        lambda: Animal.objects.order_by("pk").select_subclasses("dog"),
        lambda: Animal.objects.order_by("pk").select_subclasses().annotate(n=Count("pk")),
    ]
    for _ in range(2):
        for question in questions:
            expected = [look(each) for each in question()]
            assert [look(each) for each in cached_queryset(question())] == expected
    assert cache_stats().hits == len(questions)
    Dog.objects.update(name="max")
    assert {each.name for each in cached_queryset(questions[1]())} == {"max", "tom", "ant"}


def test_parler_languages() -> None:
    with translation.override("en"):
        product = Product.objects.create(code="p", title="cup")
    product.create_translation("de", title="Tasse")
    for _ in range(2):
        for language, title in (("en", "cup"), ("de", "Tasse")):
            [one] = cached_queryset(Product.objects.language(language))
            assert one.title == title
            with translation.override(language):
                [one] = cached_queryset(Product.objects.all())
                assert one.title == title
                [one] = cached_queryset(Product.objects.prefetch_related("translations"))
                assert one.title == title
    assert cache_stats().hits


def test_polymorphic_instances() -> None:
    Shape.objects.create(name="s")
    Circle.objects.create(name="c", radius=3)
    for _ in range(2):
        found = cached_queryset(Shape.objects.order_by("pk"))
        assert [(type(each), each.name) for each in found] == [(Shape, "s"), (Circle, "c")]
        assert cached_queryset(Shape.objects.non_polymorphic()).count() == 2
        assert cached_queryset(Circle.objects.all()).aggregate(n=Count("pk")) == {"n": 1}


def test_mptt_trees() -> None:
    root = Branch.objects.create(name="root")
    Branch.objects.create(name="leaf", parent=root)
    for _ in range(2):
        found = cached_queryset(Branch.objects.get_queryset_descendants(Branch.objects.all()))
        assert [each.name for each in found] == ["leaf"]
        assert cached_queryset(root.get_descendants())[0].get_level() == 1
    assert cache_stats().hits


def test_simple_history() -> None:
    poll = Poll.objects.create(question="a")
    poll.question = "b"
    poll.save()
    for _ in range(2):
        records = cached_queryset(poll.history.order_by("history_id"))
        assert [each.question for each in records] == ["a", "b"]
        instances = cached_queryset(poll.history.order_by("history_id").as_instances())
        assert [(type(each), each.question) for each in instances] == [(Poll, "a"), (Poll, "b")]
    assert cache_stats().hits == 2


# Primary keys that are converted


@pytest.mark.parametrize("model", [Hashed, Negated, ByUuid, ByCode, Sealed])
def test_a_converted_key_pins_its_row(model: Any) -> None:
    first, second = model.objects.order_by("number")
    read = lambda pk: cached_queryset(model.objects.all()).get(pk=pk).name  # noqa: E731
    assert (read(first.pk), read(second.pk)) == ("n1", "n2")
    first.name = "new"
    first.save()
    assert read(first.pk) == "new"
    model.objects.filter(pk=first.pk).update(name="newer")
    assert read(first.pk) == "newer"
    model.objects.filter(pk=first.pk).delete()
    assert cached_queryset(model.objects.filter(pk=first.pk)).first() is None


ANNOUNCED: dict[str, Callable[[Any], Any]] = {
    "instance": invalidate,
    "lazy": lambda row: invalidate(SimpleLazyObject(lambda: row)),
    "by its key alone": lambda row: invalidate(type(row)(pk=row.pk)),
    "post_save": lambda row: post_save.send(type(row), instance=row, created=False),
}


@pytest.mark.parametrize("announced", ANNOUNCED)
@pytest.mark.parametrize("model", [Hashed, Negated, ByUuid, ByCode, Graded, Sealed])
def test_a_row_with_a_converted_key_is_announced(model: Any, announced: str) -> None:
    if model is Graded:
        for grade in Grade:
            Graded.objects.create(pk=grade, name=f"n{grade.value}")
    first, second = model.objects.order_by("name")

    def read() -> list[str]:
        rows = model.objects.all()
        return [
            cached_queryset(rows).get(pk=first.pk).name,
            cached_queryset(rows.values_list("name", flat=True)).get(pk=first.pk),
            cached_queryset(rows.filter(pk=first.pk)).aggregate(name=Max("name"))["name"],
        ]

    assert [read(), read()] == [["n1"] * 3] * 2
    assert cache_stats().hits
    with closing(connection.create_cursor()) as cursor:  # past the hook
        cursor.execute(f"UPDATE {model._meta.db_table} SET name = 'new' WHERE name = 'n1'")
    ANNOUNCED[announced](first)
    assert read() == ["new"] * 3
    for name in ("saved", "updated"):
        first.name = name
        if name == "saved":
            first.save()
        else:
            model.objects.filter(pk=first.pk).update(name=name)
        assert read() == [name] * 3
    assert cached_queryset(model.objects.all()).get(pk=second.pk).name == "n2"


def test_a_key_that_is_encrypted_anew_each_time_tells_no_row() -> None:
    """Or the row that is read, and the one that is announced, would have tags of chance."""
    first, second = Sealed.objects.order_by("number")
    database = tags.database_name("default")
    table = Sealed._meta.db_table
    for row in (first, second, Sealed(pk=first.pk)):
        assert row_tags(row, "default") == {
            tags.table_tag(database, table), tags.bulk_tag(database, table),
            tags.twin_tag(database, table, tables().tables[table].known),
            tags.any_value_tag(database, table),
        }  # fmt: skip
    # Where Django's own lookup compares: by what is sent, which is another number each time.
    for model, is_pinned in ((Sealed, False), (Negated, True)):
        key = IntegerFieldExact(model._meta.pk.get_col(model._meta.db_table), 1)
        query = model.objects.filter(key, number=1).query
        assert (pins_of(query, connection) is not None) is is_pinned


@pytest.mark.parametrize("how", ["save", "update", "invalidate", "forget"])
def test_a_function_of_a_row_with_an_encrypted_key(how: str) -> None:
    @cached_queryset(timeout=60)
    def shelves(row: Any) -> Any:
        return Shelf.objects.annotate(seen=Value(f"{row.pk} {row.name} {row.secret}"))

    def read(row: Any) -> str:
        return str(shelves(row).get().seen)

    first, second = Sealed.objects.order_by("number")
    for _ in range(3):
        assert (read(first), read(second)) == ("1 n1 s", "2 n2 s")
    assert cache_stats().hits >= 2
    assert not cache_stats().not_stored
    if how == "save":
        first.name, first.secret = "new", "t"
        first.save()
    elif how == "update":
        Sealed.objects.filter(pk=1).update(name="new", secret="t")
    else:
        with closing(connection.create_cursor()) as cursor:  # past the hook
            cursor.execute("UPDATE hosts_sealed SET name = 'new', secret = '0$t' WHERE name = 'n1'")
        if how == "invalidate":
            invalidate(Sealed(pk=1))
        else:
            shelves.invalidate(first)  # type: ignore[attr-defined]
    for _ in range(2):
        assert read(Sealed.objects.get(pk=1)) == "1 new t"
        assert read(second) == "2 n2 s"


def test_every_thing_is_tested() -> None:
    things = {each for each in vars(models).values() if isinstance(each, type)}
    assert {each for each in things if issubclass(each, models.Thing)} - {models.Thing} == {*THINGS}
