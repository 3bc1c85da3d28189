"""cached_queryset: the same class, the same answers, no queries when warm; and what it refuses."""

from __future__ import annotations

import asyncio
import copy
import logging
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import UserManager
from django.core.cache import caches
from django.db import connection, models, transaction
from django.db.models import Avg, Count, Exists, F, OuterRef, Prefetch, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Now, TruncMonth
from django.test.utils import CaptureQueriesContext

from accounts.models import CustomUser, Profile
from django_querybudget.cache import cache_stats, cached_queryset, invalidate
from jobs.models import Application, Industry, Job, JobPicture, Subcategory

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def rows() -> None:
    caches["default"].clear()
    users = [CustomUser.objects.create(username=f"u{n}", email=f"u{n}@x") for n in range(3)]
    Profile.objects.create(user=users[0], skills=["a", {"b": 1}])
    industry = Industry.objects.create(name="i")
    for number, user in enumerate(users):
        job = Job.objects.create(
            client=user,
            industry=industry,
            title=f"t{number}",
            budget="1.50",
            requirements={"a": [1]},
        )
        job.subcategories.add(Subcategory.objects.create(industry=industry, name=f"s{number}"))
        JobPicture.objects.create(job=job, image=f"p{number}")
        for other in users[: number + 1]:
            Application.objects.create(job=job, applicant=other, offer="2.00")
    cache_stats(reset=True)


def answered(read: Callable[[], Any]) -> tuple[Any, int]:
    with CaptureQueriesContext(connection) as queries:
        answer = read()
    return answer, len(queries)


Wrap = Callable[[QuerySet[Any]], Any]

READS: dict[str, Callable[[Wrap], Any]] = {
    "list": lambda c: [vars_of(job) for job in c(Job.objects.all())],
    "len": lambda c: len(c(Job.objects.all())),
    "bool": lambda c: bool(c(Job.objects.filter(title="none"))),
    "get": lambda c: vars_of(c(Job.objects.all()).get(title="t1")),
    "get of nothing": lambda c: raised(lambda: c(Job.objects.all()).get(title="none")),
    "get of many": lambda c: raised(lambda: c(Job.objects.all()).get()),
    "first": lambda c: vars_of(c(Job.objects.order_by("title")).first()),
    "last": lambda c: vars_of(c(Job.objects.order_by("title")).last()),
    "latest": lambda c: c(Job.objects.all()).latest("created_at").title,
    "exists": lambda c: c(Job.objects.filter(title="t1")).exists(),
    "contains": lambda c: c(Job.objects.all()).contains(Job.objects.get(title="t1")),
    "count": lambda c: c(Job.objects.all()).count(),
    "aggregate": lambda c: c(Job.objects.all()).aggregate(Sum("budget"), n=Count("pk"), a=Avg("pk")),  # noqa: E501
    "in_bulk": lambda c: sorted(c(Job.objects.all()).in_bulk()),
    "values": lambda c: list(c(Job.objects.order_by("pk")).values("title", "client__username")),
    "values of all": lambda c: list(c(Job.objects.order_by("pk").values())),
    "values_list": lambda c: list(c(Job.objects.order_by("pk").values_list("title", "budget"))),
    "named": lambda c: [
        (row.title, row._fields) for row in c(Job.objects.values_list("title", named=True))
    ],
    "flat": lambda c: list(c(Job.objects.order_by("pk")).values_list("requirements", flat=True)),
    "dates": lambda c: list(c(Job.objects.all()).dates("created_at", "day")),
    "datetimes": lambda c: list(c(Job.objects.all()).datetimes("created_at", "hour")),
    "iterator": lambda c: [job.title for job in c(Job.objects.order_by("pk")).iterator()],
    "slice": lambda c: [job.title for job in c(Job.objects.order_by("pk"))[1:2]],
    "index": lambda c: c(Job.objects.order_by("pk"))[1].title,
    "filter": lambda c: [job.title for job in c(Job.objects.all()).filter(~Q(title="t1"))],
    "select_related": lambda c: [
        (job.client.username, job.industry.name)
        for job in c(Job.objects.select_related("client", "industry"))
    ],
    "select_related of nothing": lambda c: sorted(
        hasattr(user, "profile") for user in c(CustomUser.objects.select_related("profile"))
    ),
    "prefetch_related": lambda c: [
        ([each.name for each in job.subcategories.all()], [p.job.title for p in job.pictures.all()])
        for job in c(Job.objects.prefetch_related("subcategories", "pictures"))
    ],
    "Prefetch": lambda c: [
        [application.applicant.username for application in job.mine]
        for job in c(
            Job.objects.prefetch_related(
                Prefetch(
                    "applications",
                    Application.objects.filter(offer__gt=1).select_related("applicant"),
                    to_attr="mine",
                )
            )
        )
    ],
    "Prefetch without to_attr": lambda c: [
        job.applications.all().query.where.children != [] and len(job.applications.all())
        for job in c(
            Job.objects.prefetch_related(
                Prefetch("applications", Application.objects.filter(offer__gt=1))
            )
        )
    ],
    "annotations": lambda c: [
        (job.n, job.month)
        for job in c(Job.objects.annotate(n=Count("applications"), month=TruncMonth("created_at")))
    ],
    "subqueries": lambda c: [
        (job.first, job.any)
        for job in c(
            Job.objects.annotate(
                first=Subquery(Application.objects.filter(job=OuterRef("pk")).values("offer")[:1]),
                any=Exists(Application.objects.filter(job=OuterRef("pk"))),
            )
        )
    ],
    "union": lambda c: sorted(
        c(Job.objects.order_by().filter(title="t1").union(Job.objects.order_by().filter(title="t2")))
        .values_list("title", flat=True)
    ),
    "distinct": lambda c: list(c(Job.objects.order_by().values_list("industry").distinct())),
    "only": lambda c: [
        (job.title, sorted(job.get_deferred_fields())) for job in c(Job.objects.only("title", "status"))  # noqa: E501
    ],
    "defer": lambda c: [
        sorted(job.get_deferred_fields()) for job in c(Job.objects.defer("description"))
    ],
    "extra": lambda c: [job.one for job in c(Job.objects.extra(select={"one": "1 + 1"}))],
    "a related manager": lambda c: [
        job.client is user
        for user in CustomUser.objects.filter(username="u1")
        for job in c(user.jobs.all())
    ],
    "json": lambda c: [profile.skills for profile in c(Profile.objects.all())],
}  # fmt: skip
QUERIES_OF_ITS_OWN = {"contains": 1, "a related manager": 1}


def vars_of(instance: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(instance).items() if name != "_state"}


def raised(read: Callable[[], Any]) -> str:
    try:
        read()
    except Exception as error:  # to compare
        return repr(error)
    return "nothing"


@pytest.mark.parametrize("name", READS)
def test_a_read_is_answered_as_by_the_database_and_then_by_the_cache(name: str) -> None:
    read = READS[name]
    expected = read(lambda queryset: queryset)
    assert read(cached_queryset) == expected
    assert answered(lambda: read(cached_queryset)) == (expected, QUERIES_OF_ITS_OWN.get(name, 0))


REFUSED: dict[str, tuple[str, Callable[[], Any]]] = {
    "select_for_update": ("select_for_update", Job.objects.select_for_update),
    "random order": ("function RAND", lambda: Job.objects.order_by("?")),
    "now": ("function ", lambda: Job.objects.filter(created_at__lt=Now())),
    "a session's table": (
        "ignored table",
        lambda: Job.objects.extra(tables=["django_session"]),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_cached_right_goes_to_the_database_and_is_counted(name: str) -> None:
    reason, make = REFUSED[name]
    for _ in range(2):
        with transaction.atomic():
            assert answered(lambda: list(cached_queryset(make())))[1] == 1
    [(counted, number)] = cache_stats().bypasses.items()
    assert counted.upper().startswith(reason.upper())
    assert number == 2


def with_applications(applications: Any) -> Any:
    return Job.objects.order_by("pk").prefetch_related(
        Prefetch("applications", queryset=applications)
    )


def evaluated() -> Any:
    applications = Application.objects.all()
    list(applications)
    return applications


REFUSED_PARTS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "a prefetch that is locked": (
        "select_for_update",
        lambda c: prefetched(c(with_applications(Application.objects.select_for_update()))),
    ),
    "a prefetch of what is random": (
        "function RAND",
        lambda c: len(prefetched(c(with_applications(Application.objects.order_by("?"))))),
    ),
    "a prefetch of what was evaluated": (
        "prefetch of an evaluated queryset",
        lambda c: prefetched(c(with_applications(evaluated()))),
    ),
    "a prefetch of none": (
        "no query",
        lambda c: prefetched(c(with_applications(Application.objects.none()))),
    ),
    "an aggregate of a name that there is not": (
        "aggregate that cannot be compiled: FieldError",
        lambda c: raised(lambda: c(Job.objects.all()).aggregate(n=Count("nothing"))),
    ),
    "an aggregate without a name": (
        "aggregate without an alias",
        lambda c: raised(lambda: c(Job.objects.all()).aggregate(Count("pk") + 1)),
    ),
    "an aggregate by the time": (
        "function ",
        lambda c: c(Job.objects.all()).aggregate(n=Count("pk", filter=Q(created_at__lt=Now()))),
    ),
}


def prefetched(jobs: Any) -> list[tuple[str, list[int]]]:
    return [(job.title, sorted(each.pk for each in job.applications.all())) for job in jobs]


@pytest.mark.parametrize("name", REFUSED_PARTS)
def test_a_part_that_cannot_be_cached_right_goes_to_the_database(name: str) -> None:
    reason, read = REFUSED_PARTS[name]
    with transaction.atomic():
        expected = read(lambda queryset: queryset)
    for _ in range(2):
        with transaction.atomic():
            assert read(cached_queryset) == expected
    [(counted, number)] = cache_stats().bypasses.items()
    assert counted.upper().startswith(reason.upper())
    assert number == 2


def test_it_is_a_queryset_of_the_same_class() -> None:
    class OwnQuerySet(models.QuerySet[Job]):
        def named(self, title: str) -> OwnQuerySet:
            return self.filter(title=title)

    own: Any = cached_queryset(OwnQuerySet(Job))
    assert isinstance(own, OwnQuerySet)
    assert type(own).__name__ == "OwnQuerySet"
    assert [job.title for job in own.named("t1")] == ["t1"]
    assert answered(lambda: list(own.named("t1")))[1] == 0
    assert type(OwnQuerySet(Job)) is OwnQuerySet
    assert isinstance(CustomUser.objects, UserManager)


def test_querysets_are_lazy_and_can_be_copied_and_pickled() -> None:
    queryset, number = answered(lambda: cached_queryset(Job.objects.order_by("pk")))
    assert number == 0
    assert [job.pk for job in copy.deepcopy(queryset)] == [job.pk for job in queryset]
    again = pickle.loads(pickle.dumps(queryset))  # noqa: S301  # what the test made
    assert isinstance(again, QuerySet)
    assert answered(lambda: [job.title for job in again]) == (["t0", "t1", "t2"], 0)
    assert again.filter(title="t1").get().title == "t1"


def test_what_is_changed_in_an_answer_is_changed_in_no_other() -> None:
    read = lambda: cached_queryset(Job.objects.order_by("pk"))  # noqa: E731
    list(read())
    read()[0].requirements["a"].append(2)
    next(iter(read())).requirements["a"].append(2)
    assert [job.requirements for job in read()] == [{"a": [1]}] * 3


def test_an_instance_from_the_cache_can_be_saved() -> None:
    cached_queryset(Job.objects.all()).get(title="t1")
    job = cached_queryset(Job.objects.all()).get(title="t1")
    assert not job._state.adding
    job.title = "new"
    job.save()
    assert sorted(each.title for each in cached_queryset(Job.objects.all())) == ["new", "t0", "t2"]


def test_writes_through_a_cached_queryset_are_writes() -> None:
    cached: Any = cached_queryset(Job.objects.all())
    list(cached)
    assert cached.filter(title="t1").update(title="new") == 1
    assert cached.filter(title="new").delete()[0] >= 1
    assert cached.all().count() == 2
    assert cached.get_or_create(title="t0", defaults={})[1] is False


def test_async_reads() -> None:
    async def read() -> tuple[Any, ...]:
        cached = cached_queryset(Job.objects.order_by("pk"))
        return (
            [job.title async for job in cached],
            (await cached.aget(title="t1")).title,
            await cached.acount(),
            await cached.aexists(),
            [job.title async for job in cached.aiterator()],
            (await cached.afirst()).title,  # type: ignore[union-attr]
        )

    assert asyncio.run(read()) == (["t0", "t1", "t2"], "t1", 3, True, ["t0", "t1", "t2"], "t0")
    cache_stats(reset=True)
    asyncio.run(read())
    assert cache_stats().misses == 0
    assert cache_stats().hits == 3  # the rest was answered by the rows that were there by then


def test_an_iterator_of_more_than_a_chunk_streams_and_stores_nothing() -> None:
    read = lambda: [job.title for job in cached_queryset(Job.objects.order_by("pk")).iterator(2)]  # noqa: E731
    assert read() == ["t0", "t1", "t2"]
    assert answered(read) == (["t0", "t1", "t2"], 1)
    assert cache_stats().not_stored == {"more than one chunk": 2}


def test_row_tags_let_other_rows_writes_pass() -> None:
    first, second = Job.objects.order_by("pk")[:2]
    read = lambda: cached_queryset(Job.objects.filter(pk=first.pk)).get().title  # noqa: E731
    read()
    second.save()
    Job.objects.filter(pk=second.pk).update(title="x")
    Job.objects.create(client=first.client, industry=first.industry, title="t", budget=1)
    assert answered(read) == ("t0", 0)
    Job.objects.filter(title="t0").update(title="new")
    assert read() == "new"


def test_a_row_that_was_missing_is_seen_when_it_comes() -> None:
    read = lambda: cached_queryset(Industry.objects.filter(pk=99)).first()  # noqa: E731
    assert read() is None
    assert answered(read) == (None, 0)
    Industry.objects.create(pk=99, name="new")
    assert read() is not None


def test_invalidate_for_writes_that_django_does_not_see() -> None:
    def write_unseen(title: str) -> None:
        connection.connection.execute("UPDATE jobs_job SET title = ?", [title])

    read = lambda: {job.title for job in cached_queryset(Job.objects.all(), tags=["mine"])}  # noqa: E731
    job = Job.objects.first()
    for number, what in enumerate([Job, job, Job.objects.all(), "jobs_job", "mine"]):
        read()
        write_unseen(f"unseen {number}")
        assert read() != {f"unseen {number}"}
        invalidate(what)
        assert read() == {f"unseen {number}"}


@pytest.mark.parametrize(
    "stored", [b"", b"\x80\x04K\x01.", b"qb4\n[[", b'qb4\n[{"a":"b"},[]]\n[]', "text", 7]
)
def test_a_foreign_value_under_our_key_is_a_miss(
    stored: Any, caplog: pytest.LogCaptureFixture
) -> None:
    read = lambda: [job.title for job in cached_queryset(Job.objects.order_by("pk"))]  # noqa: E731
    read()
    cache: Any = caches["default"]
    [key] = [key for key in cache._cache if "qb:e:" in key]
    cache.set(key.rpartition(":1:")[2], stored)
    with caplog.at_level(logging.WARNING):
        assert answered(read) == (["t0", "t1", "t2"], 1)
    assert answered(read)[1] == 0


def test_a_truncated_body_is_a_miss() -> None:
    read = lambda: [job.title for job in cached_queryset(Job.objects.order_by("pk"))]  # noqa: E731
    read()
    cache: Any = caches["default"]
    [key] = [key.rpartition(":1:")[2] for key in cache._cache if "qb:e:" in key]
    cache.set(key, cache.get(key)[:-20])
    assert answered(read) == (["t0", "t1", "t2"], 1)


def test_a_model_whose_fields_have_changed_is_a_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    read = lambda: [job.title for job in cached_queryset(Job.objects.order_by("pk"))]  # noqa: E731
    read()
    monkeypatch.setattr("django_querybudget.cache.payload.thaw.version_of", lambda model: "other")
    assert answered(read)[1] == 1


def test_who_gives_other_tags_has_other_entries() -> None:
    def read(*tags: str) -> Callable[[], Any]:
        return lambda: len(cached_queryset(Job.objects.order_by("pk"), tags=tags))

    for tags in ((), ("mine",), ("mine", "yours")):
        assert answered(read(*tags)) == (3, 1)
    for tags in ((), ("mine",), ("yours", "mine")):
        assert answered(read(*tags)) == (3, 0)
    invalidate("yours")
    assert answered(read("mine")) == answered(read()) == (3, 0)
    assert answered(read("mine", "yours")) == (3, 1)


def test_what_a_reader_does_to_its_instances_is_no_other_readers() -> None:
    everyone = Profile.objects.order_by("pk")
    for _ in range(3):
        profile = cached_queryset(everyone)[0]
        assert profile.skills == ["a", {"b": 1}]
        profile.skills[1]["b"] = 2
        profile.skills.append("c")
        values = list(cached_queryset(everyone.values_list("skills", flat=True)))
        assert values == [["a", {"b": 1}]]
        values[0].append("c")
        row = cached_queryset(everyone.values("skills", "pk"))[0]
        assert row["skills"] == ["a", {"b": 1}]
        row["skills"].clear()
        row["pk"] = None


class Strange(models.IntegerField):  # type: ignore[type-arg]
    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return complex(value)


def test_a_value_of_the_hosts_own_type_is_not_stored() -> None:
    read = lambda: [  # noqa: E731
        job.odd for job in cached_queryset(Job.objects.annotate(odd=models.Value(1, Strange())))
    ]
    assert read() == [1 + 0j] * 3
    assert answered(read)[1] == 1
    assert cache_stats().not_stored == {"value builtins.complex": 2}


@pytest.mark.parametrize(
    ("arguments", "error", "names"),
    [
        ({"queryset": [1]}, TypeError, "queryset"),
        ({"queryset": Job.objects}, TypeError, "call .all()"),
        ({"timeout": "60"}, TypeError, "timeout"),
        ({"timeout": True}, TypeError, "timeout"),
        ({"timeout": -1}, ValueError, "timeout"),
        ({"timeout": float("nan")}, ValueError, "timeout"),
        ({"cache": "none"}, ValueError, "cache 'none'"),
        ({"cache": 1}, TypeError, "cache"),
        ({"key": 1}, TypeError, "key"),
        ({"tags": "a"}, TypeError, "tags"),
        ({"tags": [1]}, TypeError, "tags"),
    ],
)
def test_bad_arguments_are_named(
    arguments: dict[str, Any], error: type[Exception], names: str
) -> None:
    with pytest.raises(error, match=names.replace("(", r"\(").replace(")", r"\)")):
        cached_queryset(**{"queryset": Job.objects.all(), **arguments})


def test_raw_and_evaluated_querysets_are_refused() -> None:
    with pytest.raises(TypeError, match="RawQuerySet"):
        cached_queryset(Job.objects.raw("SELECT * FROM jobs_job"))  # type: ignore[call-overload]
    evaluated = Job.objects.all()
    list(evaluated)
    with pytest.raises(ValueError, match="evaluated already"):
        cached_queryset(evaluated)


def test_entries_in_another_cache_are_as_right(settings: Any) -> None:
    settings.CACHES = {
        **settings.CACHES,
        "near": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "near"},
    }
    read = lambda: {job.title for job in cached_queryset(Job.objects.all(), cache="near")}  # noqa: E731
    read()
    assert answered(read)[1] == 0
    Job.objects.update(title="new")
    assert read() == {"new"}


def test_equal_tables_of_two_databases_are_kept_apart() -> None:
    key = F("pk")
    assert cached_queryset(Industry.objects.annotate(k=key)).count() == 1
    with pytest.raises(Exception, match="other"):
        cached_queryset(Industry.objects.using("other").annotate(k=key)).count()
