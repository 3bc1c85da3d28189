"""What a call of a decorated function is given: what tells two calls apart, and what must not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, timedelta, timezone
from functools import lru_cache, partial
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.auth.models import AnonymousUser, Group, Permission
from django.core.cache import caches
from django.db import connection, connections, models, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import path
from django.utils import timezone as zones
from django.utils import translation
from django.utils.functional import SimpleLazyObject, cached_property
from django.utils.translation import gettext_lazy
from hypothesis import given, settings
from hypothesis import strategies as st

from accounts.models import CustomUser, Profile
from django_querybudget.cache import cache_stats, cached_queryset, invalidate
from jobs.models import Industry, Job
from tests.cache.relations.models import Author, Bistro, Book, DearBook, Place

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


@pytest.fixture(autouse=True)
def user() -> CustomUser:
    caches["default"].clear()
    made = CustomUser.objects.create(username="u", email="u@x")
    industry = Industry.objects.create(name="i")
    for title in ("open", "hidden"):
        Job.objects.create(client=made, industry=industry, title=title, budget=1)
    cache_stats(reset=True)
    return CustomUser.objects.get()


def titles(queryset: Any) -> list[str]:
    return sorted(each.title for each in queryset)


def called(function: Callable[[], Any]) -> tuple[Any, int]:
    with CaptureQueriesContext(connection) as queries:
        answer = function()
    return answer, len(queries)


@cached_queryset(timeout=60)
def open_jobs_of(user: Any, status: str = "open") -> Any:
    return Job.objects.filter(client=user, status=status)


@cached_queryset(timeout=60)
def visible_to(person: Any) -> Any:
    jobs = Job.objects.all()
    return jobs if person.is_staff else jobs.exclude(title="hidden")


# Lazy objects


def of_my_own(request: HttpRequest) -> HttpResponse:
    return JsonResponse(titles(open_jobs_of(request.user)), safe=False)


def visible(request: HttpRequest) -> HttpResponse:
    return JsonResponse(titles(visible_to(request.user)), safe=False)


def forget(request: HttpRequest) -> HttpResponse:
    open_jobs_of.invalidate(request.user)  # type: ignore[attr-defined]
    invalidate(request.user)
    return HttpResponse()


urlpatterns = [path("mine/", of_my_own), path("visible/", visible), path("forget/", forget)]


@override_settings(ROOT_URLCONF=__name__)
def test_the_user_of_a_request_is_an_argument_again_and_again(user: CustomUser) -> None:
    client = Client()
    client.force_login(user)
    for _ in range(4):
        assert client.get("/mine/").json() == ["hidden", "open"]
    assert client.get("/forget/").status_code == 200
    connection.connection.execute("UPDATE jobs_job SET title = 'seen' WHERE title = 'open'")
    assert client.get("/mine/").json() == ["hidden", "seen"]
    assert cache_stats().hits


@override_settings(ROOT_URLCONF=__name__)
def test_an_anonymous_user_is_an_argument_too(user: CustomUser) -> None:
    for _ in range(3):
        assert Client().get("/visible/").json() == ["open"]
    assert cache_stats().hits
    user.is_staff = True
    user.save()
    client = Client()
    client.force_login(user)
    for _ in range(3):
        assert client.get("/visible/").json() == ["hidden", "open"]
        assert Client().get("/visible/").json() == ["open"]


@pytest.mark.parametrize("wrap", ["lazy", "lazy in a lazy", "in a tuple", "translation"])
def test_a_lazy_argument_is_what_it_stands_for(user: CustomUser, wrap: str) -> None:
    @cached_queryset(timeout=60)
    def jobs(what: Any) -> Any:
        if isinstance(what, tuple):
            (what,) = what
        found = Job.objects.order_by("pk")
        mine = isinstance(what, CustomUser)
        return found.filter(client=what) if mine else found.filter(title=what)

    lazy: dict[str, Callable[[], Any]] = {
        "lazy": lambda: SimpleLazyObject(lambda: user),
        "lazy in a lazy": lambda: SimpleLazyObject(lambda: SimpleLazyObject(lambda: user)),
        "in a tuple": lambda: (SimpleLazyObject(lambda: user),),
        "translation": lambda: gettext_lazy("open"),
    }
    plain = {"translation": "open", "in a tuple": (user,)}.get(wrap, user)
    expected = ["open"] if wrap == "translation" else ["hidden", "open"]
    for _ in range(3):
        assert titles(jobs(lazy[wrap]())) == expected
    answer, queries = called(lambda: titles(jobs(plain)))
    assert (answer, queries) == (expected, 0)
    jobs.invalidate(lazy[wrap]())  # type: ignore[attr-defined]
    assert called(lambda: titles(jobs(plain)))[1] > 0


# What an instance holds


def test_an_instance_loaded_before_a_write_fills_nothing_that_others_read(
    user: CustomUser,
) -> None:
    titles(visible_to(user))
    old = CustomUser.objects.get()
    fresh = CustomUser.objects.get()
    fresh.is_staff = True
    fresh.save()
    assert titles(visible_to(old)) == ["open"]  # as without a cache
    for _ in range(2):
        assert titles(visible_to(CustomUser.objects.get())) == ["hidden", "open"]
        assert titles(visible_to(old)) == ["open"]


@pytest.mark.parametrize("saved", [True, False])
def test_a_value_that_was_never_saved_is_its_own_question(user: CustomUser, saved: bool) -> None:
    """An invalid ModelForm leaves its values on the instance."""
    user.is_staff = saved
    user.save()
    for _ in range(3):
        changed = CustomUser.objects.get()
        changed.is_staff = not saved
        assert titles(visible_to(changed)) == (["open"] if saved else ["hidden", "open"])
        assert titles(visible_to(CustomUser.objects.get())) == (
            ["hidden", "open"] if saved else ["open"]
        )
    assert "an argument that differs from its row" in cache_stats().not_stored


def test_an_instance_that_changes_between_call_and_read_fills_nothing(user: CustomUser) -> None:
    titles(visible_to(user))
    waiting = visible_to(user)
    user.is_staff = True
    user.save()
    list(waiting)
    old = CustomUser.objects.get()
    old.is_staff = False
    assert titles(visible_to(old)) == ["open"]
    assert titles(visible_to(CustomUser.objects.get())) == ["hidden", "open"]


def test_a_row_that_is_gone_fills_nothing(user: CustomUser) -> None:
    titles(visible_to(user))
    other = CustomUser.objects.create(username="o", email="o@x")
    CustomUser.objects.filter(pk=other.pk).delete()
    assert titles(visible_to(other)) == ["open"]
    assert cache_stats().not_stored == {"an argument that differs from its row": 1}


def test_a_deferred_field_is_read_in_the_fill(user: CustomUser) -> None:
    titles(visible_to(user))

    def deferred() -> CustomUser:
        return CustomUser.objects.only("username").get()

    assert [titles(visible_to(deferred())) for _ in range(3)] == [["open"]] * 3
    assert cache_stats().hits
    user.is_staff = True
    user.save()
    assert titles(visible_to(deferred())) == ["hidden", "open"]


def test_an_unsaved_instance_is_refused() -> None:
    with pytest.raises(TypeError, match="argument 'user' of"):
        open_jobs_of(CustomUser())


@pytest.mark.parametrize("kind", ["multi-table", "proxy", "parent"])
def test_an_instance_of_several_tables_is_loaded_again_whole(kind: str) -> None:
    author = Author.objects.create(name="a")
    if kind == "proxy":
        Book.objects.create(title="b", price=30, author=author)
    else:
        Bistro.objects.create(name="b", stars=1)
    model: Any = {"multi-table": Bistro, "proxy": DearBook, "parent": Place}[kind]
    field = {"multi-table": "stars", "proxy": "price", "parent": "name"}[kind]
    values = {"multi-table": (1, 2), "proxy": (30, 40), "parent": ("b", "c")}[kind]

    @cached_queryset(timeout=60)
    def industries(what: Any) -> Any:
        first = getattr(what, field) == values[0]
        return Industry.objects.filter(name="i" if first else "none")

    for _ in range(3):
        assert len(industries(model.objects.get())) == 1
    assert cache_stats().hits
    old = model.objects.get()
    model.objects.update(**{field: values[1]})
    for _ in range(2):
        assert len(industries(model.objects.get())) == 0
        assert len(industries(old)) == 1


# What hangs on an instance


@pytest.fixture
def group(user: CustomUser) -> Group:
    group = Group.objects.create(name="g")
    group.permissions.add(Permission.objects.get(codename="view_job"))
    user.groups.add(group)
    return group


@cached_queryset(timeout=60)
def permitted(person: Any) -> Any:
    jobs = Job.objects.all()
    return jobs if person.has_perm("jobs.view_job") else jobs.exclude(title="hidden")


def test_a_revoked_permission_hides_at_once(user: CustomUser, group: Group) -> None:
    """The permissions that an instance has cached are no business of the fill."""
    user.has_perm("jobs.view_job")
    for _ in range(3):
        assert titles(permitted(user)) == ["hidden", "open"]
    assert cache_stats().hits
    group.permissions.clear()
    # Of another process' request: loaded before, its permissions cached by now.
    for _ in range(3):
        assert titles(permitted(CustomUser.objects.get())) == ["open"]
        assert titles(permitted(user)) == ["open"]


@cached_queryset(timeout=60)
def by_profile(person: Any) -> Any:
    jobs = Job.objects.all()
    return jobs if person.profile.city == "Bonn" else jobs.exclude(title="hidden")


@pytest.mark.parametrize("load", ["select_related", "prefetch_related", "attribute"])
def test_a_relation_loaded_before_is_read_again(user: CustomUser, load: str) -> None:
    Profile.objects.create(user=user, city="Bonn")
    loaded = CustomUser.objects.all()
    if load != "attribute":
        loaded = getattr(loaded, load)("profile")
    person = loaded.get()
    _ = person.profile
    for _ in range(3):
        assert titles(by_profile(person)) == ["hidden", "open"]
    Profile.objects.update(city="Köln")
    for _ in range(2):
        assert titles(by_profile(person)) == ["open"]
        assert titles(by_profile(CustomUser.objects.get())) == ["open"]


def test_what_a_cached_property_holds_is_found_anew(
    user: CustomUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cities(person: Any) -> list[str]:
        return list(Profile.objects.filter(user=person).values_list("city", flat=True))

    prop = cached_property(cities)
    prop.__set_name__(CustomUser, "cities")
    monkeypatch.setattr(CustomUser, "cities", prop, raising=False)

    @cached_queryset(timeout=60)
    def jobs(person: Any) -> Any:
        return Job.objects.filter(title="hidden" if "Bonn" in person.cities else "open")

    Profile.objects.create(user=user, city="Bonn")
    for _ in range(3):
        assert titles(jobs(user)) == ["hidden"]
    assert user.cities == ["Bonn"]  # type: ignore[attr-defined]
    Profile.objects.update(city="Köln")
    assert titles(jobs(user)) == ["open"]


def test_an_attribute_that_was_set_is_part_of_the_question(user: CustomUser) -> None:
    """An annotation, or what a middleware put there."""

    @cached_queryset(timeout=60)
    def jobs(person: Any) -> Any:
        return Job.objects.filter(title=getattr(person, "wish", "open"))

    for _ in range(3):
        for wish in ("open", "hidden"):
            person: Any = CustomUser.objects.annotate(wish=models.Value(wish)).get()
            assert titles(jobs(person)) == [wish]
        assert titles(jobs(user)) == ["open"]
    assert cache_stats().hits


@pytest.mark.parametrize("what", [object(), [CustomUser(pk=1)], lambda: None], ids=type)
def test_an_attribute_without_a_spelling_makes_the_function_be_called(
    user: CustomUser, what: Any
) -> None:
    person: Any = user
    titles(visible_to(person))
    person.tenant = what
    for _ in range(2):
        assert titles(visible_to(person)) == ["open"]
    (reason,) = cache_stats().bypasses
    assert "attribute accounts.CustomUser.tenant" in reason


def test_a_private_attribute_that_the_function_needs_is_the_callers(user: CustomUser) -> None:
    @cached_queryset(timeout=60)
    def jobs(person: Any) -> Any:
        return Job.objects.filter(title=person._wish)

    for wish in ("open", "hidden", "open"):
        person: Any = CustomUser.objects.get()
        person._wish = wish
        assert titles(jobs(person)) == [wish]


# One key for different questions


class Routed:
    """A router that answers by the tenant of the thread."""

    local = threading.local()

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        only = getattr(self.local, "only", None)
        if only is not None and model is not only:
            return None
        return getattr(self.local, "alias", None)

    db_for_write = db_for_read

    @classmethod
    @contextmanager
    def to(cls, alias: str, only: Any = None) -> Iterator[None]:
        cls.local.alias, cls.local.only = alias, only
        try:
            yield
        finally:
            cls.local.alias = cls.local.only = None


@override_settings(DATABASE_ROUTERS=[f"{__name__}.Routed"])
def test_a_router_that_answers_by_thread_keeps_tenants_apart() -> None:
    @cached_queryset(timeout=60)
    def industries() -> Any:
        return Industry.objects.all()

    Industry.objects.using("other").create(name="theirs")
    for _ in range(3):
        for alias, name in (("default", "i"), ("other", "theirs")):
            with Routed.to(alias):
                assert [each.name for each in industries()] == [name]
                assert industries().first().name == name
    assert cache_stats().hits


@override_settings(DATABASE_ROUTERS=[f"{__name__}.Routed"])
def test_so_are_models_that_the_function_only_reads_on_the_way() -> None:
    @cached_queryset(timeout=60)
    def jobs() -> Any:
        names = list(Industry.objects.values_list("name", flat=True))
        return Job.objects.filter(title="hidden" if "i" in names else "open")

    for _ in range(3):
        for alias, title in (("default", "hidden"), ("other", "open")):
            with Routed.to(alias, only=Industry):
                assert titles(jobs()) == [title]
    assert cache_stats().stores


@override_settings(DATABASE_ROUTERS=[f"{__name__}.Routed"])
def test_a_deferred_field_is_read_from_where_the_router_says(user: CustomUser) -> None:
    """It is asked once more, and may name another database than the instance is from."""
    CustomUser.objects.using("other").create(pk=user.pk, username="theirs", email="t@x")
    named = cached_queryset(timeout=60)(lambda one: Job.objects.filter(title=one.username))
    Job.objects.filter(title="open").update(title="u")
    for _ in range(3):
        person = CustomUser.objects.using("other").only("pk").get()
        with Routed.to("default"):
            assert titles(named(person)) == ["u"]
    assert cache_stats().hits
    CustomUser.objects.filter(pk=user.pk).update(username="renamed")
    person = CustomUser.objects.using("other").only("pk").get()
    with Routed.to("default"):
        assert titles(named(person)) == []


class Board:
    """A host's object with a method that is cached where it is used."""

    def __init__(self, title: str) -> None:
        self.title = title

    def _jobs(self) -> Any:
        return Job.objects.filter(title=self.title)

    @classmethod
    def all(cls) -> Any:
        return Job.objects.all()


def test_a_bound_method_of_a_plain_object_is_refused() -> None:
    with pytest.raises(TypeError, match="argument 'self' of"):
        cached_queryset(Board("open")._jobs)()


def test_a_bound_method_of_an_instance_is_its_rows(
    user: CustomUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def jobs(self: CustomUser) -> Any:
        return Job.objects.filter(client=self)

    monkeypatch.setattr(CustomUser, "my_jobs", jobs, raising=False)
    other: Any = CustomUser.objects.create(username="o", email="o@x")
    mine, theirs = cached_queryset(user.my_jobs), cached_queryset(other.my_jobs)  # type: ignore[attr-defined]
    for _ in range(3):
        assert (titles(mine()), titles(theirs())) == (["hidden", "open"], [])
    mine.invalidate()
    assert called(lambda: titles(mine()))[1] > 0


def test_a_method_of_a_class_is_one_for_all() -> None:
    function: Any = cached_queryset(Board.all)
    for _ in range(3):
        assert titles(function()) == ["hidden", "open"]
    assert cache_stats().hits


@pytest.mark.parametrize("made", [
    partial(open_jobs_of, 1), lru_cache(open_jobs_of), Board, cached_queryset(Board.all),
    open_jobs_of, print,
], ids=lambda each: type(each).__name__)  # fmt: skip
def test_what_is_no_plain_function_is_refused(made: Any) -> None:
    with pytest.raises(TypeError, match="cached_queryset decorates a"):
        cached_queryset(timeout=60)(made)


def with_helper(helper: Any) -> Any:
    @cached_queryset(timeout=60)
    def jobs() -> Any:
        return Job.objects.filter(title=helper())

    return jobs


def helper_with(default: str, *, by_name: bool) -> Any:
    if by_name:

        def helper(*, title: str = default) -> str:
            return title

        return helper

    def other(title: str = default) -> str:
        return title

    return other


@pytest.mark.parametrize("kind", ["default", "keyword default", "variable", "attribute", "set"])
def test_helpers_that_differ_in_one_thing_have_answers_of_their_own(kind: str) -> None:
    def made(title: str) -> Any:
        if kind in ("default", "keyword default"):
            return helper_with(title, by_name=kind != "default")
        if kind == "variable":
            return lambda: title

        def attributed() -> str:
            return attributed.title  # type: ignore[attr-defined,no-any-return]

        if kind == "attribute":
            # Its own name is a variable around it: that cannot be spelled to an end.
            attributed.title = title  # type: ignore[attr-defined]
            return attributed
        return (lambda: "open" if "a" in {"a", "b"} else "") if title == "open" else (
            lambda: "open" if "a" in {"c", "b"} else ""
        )  # fmt: skip

    functions = [with_helper(made(title)) for title in ("open", "hidden")]
    if kind == "attribute":
        with pytest.raises(TypeError, match="takes from the function around it"):
            functions[0]()
        return
    expected = [["open"], [] if kind == "set" else ["hidden"]]
    for _ in range(3):
        assert [titles(function()) for function in functions] == expected


def test_managers_with_state_are_told_apart() -> None:
    class Titled(models.Manager[Job]):
        def __init__(self, title: str) -> None:
            super().__init__()
            self.title = title

        def get_queryset(self) -> Any:
            return super().get_queryset().filter(title=self.title)

    globals()["Titled"] = Titled
    Titled.__qualname__ = "Titled"

    @cached_queryset(timeout=60)
    def jobs(manager: Any) -> Any:
        return manager.all()

    managers = []
    for title in ("open", "hidden"):
        manager: Any = Titled(title)
        manager.model = Job
        managers.append(manager)
    for _ in range(3):
        assert [titles(jobs(manager)) for manager in managers] == [["open"], ["hidden"]]
    managers[0].title = "hidden"
    assert titles(jobs(managers[0])) == ["hidden"]
    managers[0].title = object()
    with pytest.raises(TypeError, match="argument 'manager'"):
        jobs(managers[0])


def test_classes_of_one_name_are_not_told_apart_and_so_refused() -> None:
    def local() -> type:
        class Local:
            pass

        return Local

    @cached_queryset(timeout=60)
    def jobs(kind: type) -> Any:
        return Job.objects.filter(title="open")

    with pytest.raises(TypeError, match="which no module has"):
        jobs(local())
    assert titles(jobs(Board)) == ["open"]


def test_the_active_language_and_time_zone_are_part_of_the_question() -> None:
    @cached_queryset(timeout=60)
    def jobs() -> Any:
        hour = zones.localtime(zones.now().replace(hour=0)).hour
        return Job.objects.filter(title=f"{translation.get_language()} {hour}")

    industry, client = Industry.objects.get(), CustomUser.objects.get()
    expected = []
    for language in ("de", "fr"):
        for number, zone in enumerate((UTC, ZoneInfo("Asia/Tokyo"), timezone(timedelta(hours=2)))):
            hour = (0, 9, 2)[number]
            title = f"{language} {hour}"
            expected.append((language, zone, title))
            Job.objects.create(client=client, industry=industry, title=title, budget=1)
    for _ in range(3):
        for language, zone, title in expected:
            with translation.override(language), zones.override(zone):
                assert titles(jobs()) == [title]
    assert cache_stats().hits


def test_a_queryset_read_in_another_language_than_its_call_is_that_of_the_call() -> None:
    @cached_queryset(timeout=60)
    def jobs() -> Any:
        return Job.objects.filter(title="open" if translation.get_language() == "de" else "hidden")

    for _ in range(3):
        with translation.override("de"):
            assert titles(jobs()) == ["open"]
            german = jobs()
        with translation.override("fr"):
            assert titles(german) == ["open"]
            assert titles(jobs()) == ["hidden"]


@pytest.mark.parametrize("where", ["tuple", "nested", "frozenset", "variadic", "named", "around"])
def test_an_instance_wherever_it_stands_is_its_row(user: CustomUser, where: str) -> None:
    def visible(people: Any) -> Any:
        jobs = Job.objects.all()
        while isinstance(people, tuple | frozenset):
            (people,) = people
        return jobs if people.is_staff else jobs.exclude(title="hidden")

    def around(person: Any) -> Any:
        def function() -> Any:
            jobs = Job.objects.all()
            return jobs if person.is_staff else jobs.exclude(title="hidden")

        return cached_queryset(timeout=60)(function)

    plain = cached_queryset(timeout=60)(visible)
    variadic = cached_queryset(timeout=60)(lambda *people: visible(people))
    named = cached_queryset(timeout=60)(lambda **people: visible(people["person"]))
    holder: dict[str, Any] = {}
    call: dict[str, Callable[[Any], Any]] = {
        "tuple": lambda person: plain((person,)),
        "nested": lambda person: plain(((person,),)),
        "frozenset": lambda person: plain(frozenset({person})),
        "variadic": variadic,
        "named": lambda person: named(person=person),
        "around": lambda person: holder.setdefault(person.is_staff, around(person))(),
    }

    def read() -> list[str]:
        return titles(call[where](CustomUser.objects.get()))

    assert [read() for _ in range(3)] == [["open"]] * 3
    assert cache_stats().hits
    old = CustomUser.objects.get()
    CustomUser.objects.update(is_staff=True)
    assert titles(call[where](old)) == ["open"]
    assert [read() for _ in range(3)] == [["hidden", "open"]] * 3


def test_in_a_transaction_that_has_written_the_callers_instance_answers(user: CustomUser) -> None:
    titles(visible_to(user))
    with transaction.atomic():
        user.is_staff = True
        user.save()
        assert titles(visible_to(user)) == ["hidden", "open"]
        transaction.set_rollback(True)
    assert [titles(visible_to(CustomUser.objects.get())) for _ in range(3)] == [["open"]] * 3


def test_a_timeout_of_zero_keeps_nothing(user: CustomUser) -> None:
    function = cached_queryset(timeout=0)(Job.objects.all)
    for _ in range(3):
        assert called(lambda: titles(function())) == (["hidden", "open"], 1)
        plain = cached_queryset(Job.objects.all(), 0)
        assert called(lambda plain=plain: titles(plain)) == (["hidden", "open"], 1)
        warm = cached_queryset(cached_queryset(Job.objects.all(), 60), 0)
        assert called(lambda warm=warm: warm.count()) == (2, 1)
    assert (cache_stats().hits, cache_stats().stores) == (0, 0)


def test_anonymous_users_by_hand_are_one() -> None:
    for _ in range(3):
        assert titles(visible_to(AnonymousUser())) == ["open"]
    assert cache_stats().hits


def test_the_middleware_still_makes_users_lazily() -> None:
    """The premise of these tests."""
    request = HttpRequest()
    request.session = Client().session
    AuthenticationMiddleware(lambda _: HttpResponse()).process_request(request)
    assert isinstance(request.user, SimpleLazyObject)
    assert list(connections)[:2] == ["default", "other"]


# All of it, in any order


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.sampled_from(["is_staff", "first_name"]), st.booleans()),
        st.tuples(st.just("save"), st.integers(0, 2), st.booleans()),
        st.tuples(st.just("change"), st.integers(0, 2), st.booleans()),
        st.tuples(st.just("load"), st.integers(0, 2), st.sampled_from(["all", "only", "extra"])),
        st.tuples(st.just("job"), st.booleans(), st.none()),
        st.tuples(st.just("read"), st.integers(0, 2), st.sampled_from(["rows", "count", "first"])),
        st.tuples(st.just("read"), st.integers(0, 2), st.sampled_from(["rows", "count", "first"])),
    ),
    min_size=4,
    max_size=14,
)
LOADS: dict[str, Callable[[], Any]] = {
    "all": CustomUser.objects.get,
    "only": lambda: CustomUser.objects.only("first_name").get(),
    "extra": lambda: CustomUser.objects.annotate(wish=models.Value("open")).get(),
}


def by_what_it_holds(person: Any) -> Any:
    jobs = Job.objects.order_by("pk")
    if not person.is_staff:
        jobs = jobs.exclude(title="hidden")
    if person.first_name:
        jobs = jobs.exclude(title=person.first_name)
    return jobs.filter(title__startswith=getattr(person, "wish", ""))


ANSWERS: dict[str, Callable[[Any], Any]] = {
    "rows": lambda found: [each.title for each in found],
    "count": lambda found: found.count(),
    "first": lambda found: getattr(found.first(), "title", None),
}


def test_in_any_order_an_answer_is_that_of_a_plain_call() -> None:
    """Instances of any age, written rows and rows that were only changed in memory."""
    cache_stats(reset=True)
    settings(max_examples=40, deadline=None)(given(STEPS)(in_this_order))()
    # One of each at least in every program, whatever was drawn.
    assert cache_stats().hits >= 40
    assert cache_stats().not_stored["an argument that differs from its row"] >= 40


def in_this_order(steps: list[Any]) -> None:
    caches["default"].clear()
    CustomUser.objects.update(is_staff=False, first_name="")
    Job.objects.exclude(title__in=["open", "hidden"]).delete()
    cached = cached_queryset(timeout=60)(by_what_it_holds)
    people = [CustomUser.objects.get() for _ in range(3)]
    read_twice(cached, people[0], "rows")  # the first call tells what the queryset looks like
    for step, one, two in [("read", 0, "rows"), *steps]:
        if step == "write":
            CustomUser.objects.update(**{one: two if one == "is_staff" else "open" * two})
        elif step == "save":
            people[one].is_staff = two
            people[one].save()
        elif step == "change":
            people[one].is_staff = two
        elif step == "load":
            people[one] = LOADS[two]()
        elif step == "job":
            Job.objects.create(
                client=CustomUser.objects.get(), industry=Industry.objects.get(),
                title="open too" if one else "other", budget=1,
            )  # fmt: skip
        else:
            read_twice(cached, people[one], two)
    person = CustomUser.objects.get()
    person.is_staff = not person.is_staff
    read_twice(cached, person, "rows")


def read_twice(cached: Any, person: CustomUser, how: str) -> None:
    expected = ANSWERS[how](by_what_it_holds(person))
    for _ in range(2):
        assert ANSWERS[how](cached(person)) == expected
