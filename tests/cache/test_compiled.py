"""cache.reading.compiled: the SQL that compiling gives, and no key for two questions."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import EmptyResultSet, FieldError, FullResultSet, ValidationError
from django.db import NotSupportedError, connection, connections, models
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Sum, Value
from django.db.models.functions import Coalesce, Lower, Now, TruncMonth, Upper
from django.db.models.lookups import IsNull
from django.db.models.sql import Query
from django.db.models.sql.where import WhereNode
from django.utils import timezone
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from accounts.models import CustomUser
from django_querybudget.cache.keys import spelled
from django_querybudget.cache.reading import compiled as module
from django_querybudget.cache.reading import known_sql
from django_querybudget.cache.reading.compiled import compiled
from django_querybudget.sql.memory import Memo
from jobs.models import Application, Job
from tests.cache.relations.models import Book, Tag

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

KNOWN: dict[str, Callable[[], QuerySet[Any]]] = {
    "all": Job.objects.all,
    "by key": lambda: Job.objects.filter(pk=1),
    "by a text": lambda: Job.objects.filter(pk="1"),
    "by an instance": lambda: Job.objects.filter(client=CustomUser(pk=3)),
    "across a relation": lambda: Job.objects.filter(client__username="a", industry__name="b"),
    "left join": lambda: Job.objects.filter(Q(applications__status="a") | Q(title="b")),
    "to many, twice": lambda: Job.objects.filter(applications__pk=1).filter(applications__pk=2),
    "a list": lambda: Job.objects.filter(pk__in=[1, 2, 3]),
    "a boolean": lambda: CustomUser.objects.filter(is_active=True),
    "null": lambda: Job.objects.filter(closed_at__isnull=True),
    "a time": lambda: Job.objects.filter(created_at__gte=NOW, created_at__lt=NOW),
    "a price": lambda: Job.objects.filter(budget__lte=Decimal("1.50")),
    "not": lambda: Job.objects.exclude(title="a").filter(~Q(budget=1)),
    "or": lambda: Job.objects.filter(Q(title="a") | Q(title="b", budget=1)),
    "joined": lambda: Job.objects.select_related("client__profile", "industry"),
    "ordered": lambda: Job.objects.order_by("client__username", "-pk"),
    "reversed": lambda: Job.objects.order_by("pk").reverse(),
    "a page": lambda: Job.objects.filter(budget__gt=1).order_by("-pk")[20:40],
    "only": lambda: Job.objects.only("title"),
    "defer": lambda: Job.objects.defer("title"),
    "distinct": lambda: Job.objects.filter(applications__status="a").distinct(),
    "values": lambda: Job.objects.values("title", "client__username"),
    "flat": lambda: Job.objects.values_list("pk", flat=True),
    "a column": lambda: Job.objects.filter(budget__gt=F("id")),
    "a sum of columns": lambda: Job.objects.filter(budget__gt=F("id") + 1),
    "contains": lambda: Job.objects.filter(title__contains="a%_"),
    "icontains": lambda: Job.objects.filter(title__icontains="a"),
    "startswith": lambda: Job.objects.filter(client__username__startswith="a"),
    "iexact": lambda: Job.objects.filter(title__iexact="A"),
    "a regular expression": lambda: Job.objects.filter(title__iregex="^a"),
    "a range": lambda: Job.objects.filter(created_at__range=(NOW, NOW), pk__range=[1, 2]),
    "a year": lambda: Job.objects.filter(created_at__year=2026),
    "since a year": lambda: Job.objects.filter(created_at__year__gte=2026),
    "a count": lambda: Job.objects.annotate(n=Count("applications")),
    "a count of some": lambda: Job.objects.annotate(n=Count("applications", distinct=True)),
    "having": lambda: Job.objects.annotate(n=Count("applications")).filter(n__gt=1, pk__lt=9),
    "grouped": lambda: Job.objects.order_by().values("industry").annotate(s=Sum("budget")),
    "ordered by a count": lambda: Job.objects.annotate(n=Count("pictures")).order_by("-n"),
    "a function": lambda: Job.objects.order_by(Lower("title"), F("pk").desc(nulls_last=True)),
    "a subquery": lambda: Job.objects.filter(
        Exists(Application.objects.filter(job=OuterRef("pk"), offer__gt=3))
    ),
    "not a subquery": lambda: Job.objects.filter(
        ~Exists(Application.objects.filter(job=OuterRef("pk"), status="a"))
    ),
    "a query in a list": lambda: Job.objects.filter(
        client__in=CustomUser.objects.filter(username="a")
    ),
    "values in a list": lambda: Job.objects.filter(
        pk__in=Application.objects.filter(offer=1).values("job")
    ),
    "not to many": lambda: Job.objects.exclude(applications__status="a"),
    "a union": lambda: (
        Job.objects.order_by()
        .filter(title="a")
        .union(Job.objects.order_by().filter(pk=2), all=True)
    ),
}
COMPILED: dict[str, Callable[[], QuerySet[Any]]] = {
    "a month": lambda: Job.objects.filter(created_at__month=1),
    "a transform": lambda: Job.objects.filter(created_at__date=NOW.date()),
    "a filtered count": lambda: Job.objects.annotate(n=Count("pk", filter=Q(title="a"))),
    "an annotated subquery": lambda: Job.objects.annotate(
        n=Exists(Application.objects.filter(job=OuterRef("pk")))
    ),
    "the time": lambda: Job.objects.filter(created_at__lt=Now()),
    "a truncation": lambda: Job.objects.annotate(m=TruncMonth("created_at")),
    "a range with null": lambda: Job.objects.filter(pk__range=(1, None)),
    "a range that is out of range": lambda: Job.objects.filter(pk__range=(1, 2**70)),
    "extra": lambda: Job.objects.extra(where=["1 = 1"]),
    "a list with duplicates": lambda: Job.objects.filter(pk__in=[1, 1]),
    "a list with null": lambda: Job.objects.filter(pk__in=[1, None]),
    "out of range": lambda: Job.objects.filter(pk__lt=2**70),
    "JSON": lambda: Job.objects.filter(requirements={"a": 1}),
    "a key in JSON": lambda: Job.objects.filter(requirements__a=1),
}


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_memory", Memo())


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[Query]:
    """The queries that are compiled."""
    done: list[Query] = []
    get_compiler = Query.get_compiler

    def noted(self: Query, *args: Any, **kwargs: Any) -> Any:
        done.append(self)
        return get_compiler(self, *args, **kwargs)

    monkeypatch.setattr(Query, "get_compiler", noted)
    return done


def true(queryset: QuerySet[Any], alias: str = "default") -> tuple[str, tuple[Any, ...]]:
    sql, params = queryset.query.clone().get_compiler(alias).as_sql()
    return sql, tuple(params)


@pytest.mark.parametrize("name", KNOWN)
def test_a_query_of_a_known_structure_is_not_compiled_again(
    name: str, vendor_alias: str, compilations: list[Query]
) -> None:
    used = connections[vendor_alias]
    build = KNOWN[name]
    expected = true(build(), vendor_alias)
    first, compilations[:] = compiled(build().query, used), []
    again = compiled(build().query, used)
    assert compilations == []
    assert first == again
    assert again[0] == expected[0]


@pytest.mark.parametrize("name", COMPILED)
def test_anything_else_is_compiled_each_time(name: str, compilations: list[Query]) -> None:
    expected = outcome(lambda: true(COMPILED[name]()))
    for _ in range(2):
        compilations.clear()
        assert outcome(lambda: compiled(COMPILED[name]().query, connection)) == expected
        assert compilations


def outcome(run: Callable[[], Any]) -> Any:
    try:
        return run()
    except Exception as error:  # some programs are too much for Django
        return type(error)


def test_a_query_is_left_as_it_was() -> None:
    for build in (*KNOWN.values(), *COMPILED.values()):
        queryset = build()
        for _ in range(2):
            outcome(lambda queryset=queryset: compiled(queryset.query, connection))
        assert outcome(lambda queryset=queryset: true(queryset)) == outcome(
            lambda build=build: true(build())
        )


def test_a_condition_on_a_generic_relation_has_a_parameter_of_its_own(db: None) -> None:
    ContentType.objects.get_for_model(Book)
    for _ in range(2):
        sql, params = compiled(Book.objects.filter(notes__text="a").query, connection)
        assert (sql, params) == true(Book.objects.filter(notes__text="a"))


@pytest.mark.parametrize("changed", [{"db_table": "elsewhere"}, {"ordering": ["word"]}])
def test_a_model_whose_table_or_ordering_is_switched_is_compiled_anew(
    changed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = compiled(Tag.objects.all().query, connection)
    for name, value in changed.items():
        monkeypatch.setattr(Tag._meta, name, value)
    after = compiled(Tag.objects.all().query, connection)
    assert after == true(Tag.objects.all())
    assert after != before


class Restricted(models.ForeignKey):  # type: ignore[type-arg]
    """Joins some rows alone, and other ones the next time: those of a language, say."""

    without = True

    def get_extra_restriction(self, alias: Any, related_alias: Any) -> WhereNode:
        joined = CustomUser._meta.get_field("last_login")
        return WhereNode([IsNull(joined.get_col(alias), self.without)])


def test_a_relation_of_the_hosts_own_may_restrict_its_join(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Job._meta.get_field("client"), "__class__", Restricted)
    for without in (True, False):
        monkeypatch.setattr(Restricted, "without", without)
        queryset = Job.objects.filter(client__username="a")
        assert compiled(queryset.query, connection) == true(queryset)


class Own(models.CharField):  # type: ignore[type-arg]
    """May write any placeholder for any value."""


def test_a_field_of_the_hosts_own_may_write_what_it_likes(
    monkeypatch: pytest.MonkeyPatch, compilations: list[Query]
) -> None:
    title = Job._meta.get_field("title")
    known_sql.is_djangos_field.cache_clear()
    monkeypatch.setattr(title, "__class__", Own)
    for value in ("a", "A", "a"):
        compilations.clear()
        compiled(Job.objects.filter(title=value).query, connection)
        assert compilations
    known_sql.is_djangos_field.cache_clear()


numbers = st.sampled_from([0, 1, 2, 40000, 2**31, 2**63, -(2**63), True, "1", None])
words = st.sampled_from(["", "a", "1", "None", "a'b"])
moments = st.sampled_from([NOW, NOW.replace(microsecond=1), NOW.replace(fold=1)])
conditions = st.one_of(
    st.builds(
        dict,
        name=st.sampled_from(
            ["pk", "client", "client_id", "industry__pk", "pk__gt", "pk__lte", "applications"]
        ),
        value=numbers,
    ),
    st.builds(dict, name=st.sampled_from(["title", "client__username", "status"]), value=words),
    st.builds(dict, name=st.sampled_from(["created_at", "created_at__lt"]), value=moments),
    st.builds(
        dict,
        name=st.sampled_from(["pk__in", "client__in"]),
        value=st.lists(st.sampled_from([1, 2, 3, None, 2**70]), max_size=3),
    ),
    st.builds(
        dict,
        name=st.sampled_from(["closed_at__isnull", "client__is_active"]),
        value=st.booleans(),
    ),
    st.builds(
        dict,
        name=st.sampled_from(
            [f"title__{one}" for one in ("contains", "istartswith", "endswith", "iexact", "regex")]
        ),
        value=words | st.sampled_from(["%", "_", "a%", "\\", None, 1]),
    ),
    st.builds(
        dict,
        name=st.sampled_from(["pk__range", "created_at__range", "n__range"]),
        value=st.tuples(numbers, numbers) | st.tuples(moments, moments),
    ),
    st.builds(
        dict,
        name=st.sampled_from(["created_at__year", "created_at__year__lt", "closed_at__year__gte"]),
        value=st.sampled_from([1, 2025, 2026, "2026", 9999]),
    ),
    st.builds(
        dict,
        name=st.sampled_from(["budget", "pk__gt", "n", "n__lte", "pk__in"]),
        value=st.sampled_from(
            [
                F("id"),
                F("budget"),
                F("n"),
                F("client"),
                F("id") + 1,
                F("id") + 2,
                F("id") + F("client"),
                Value(1),
                Value(True),
                Value(None),
                Coalesce("budget", 1),
                Coalesce("budget", Value(2)),
            ]
        ),
    ),
    st.builds(
        dict,
        name=st.sampled_from(["client__in", "client", "pk__in"]),
        value=st.sampled_from(["users a", "users b", "a user", "users", "jobs"]).map(
            "query {}".format
        ),
    ),
    st.builds(
        dict,
        name=st.sampled_from(
            ["applications__status", "pictures__position", "applications__pk__in"]
        ),
        value=words | numbers | st.just([1, 2]),
    ),
    st.builds(
        dict,
        name=st.none(),
        value=st.sampled_from(["exists a", "exists b", "exists", "or", "and", "no a", "no b"]).map(
            "query {}".format
        ),
    ),
)
QUERIES: dict[str, Callable[[], Any]] = {
    "query users a": lambda: CustomUser.objects.filter(username="a"),
    "query users b": lambda: CustomUser.objects.filter(username="b"),
    "query a user": lambda: CustomUser.objects.filter(username="b")[:1],
    "query users": lambda: CustomUser.objects.values("pk"),
    "query jobs": lambda: Application.objects.filter(offer=1).values("job"),
    "query exists a": lambda: exists(status="a"),
    "query exists b": lambda: exists(status="b"),
    "query exists": lambda: exists(offer__gt=F("pk")),
    "query no a": lambda: ~exists(status="a"),
    "query no b": lambda: ~exists(status="b"),
    "query or": lambda: Q(pk=1) | Q(title="a"),
    "query and": lambda: Q(pk=2) & ~Q(title__startswith="a"),
    "query one": lambda: Job.objects.order_by().filter(pk=1),
    "query titled": lambda: Job.objects.order_by().filter(title="a"),
}


def named(value: Any) -> Any:
    """Return the query that a text names; a failure shows the text, and runs no query."""
    return QUERIES[value]() if type(value) is str and value in QUERIES else value


def exists(**conditions: Any) -> Exists:
    return Exists(Application.objects.filter(job=OuterRef("pk"), **conditions))


expressions = st.sampled_from(
    [
        Count("applications"), Count("pk"), Count("id"), Count("applications", distinct=True),
        Sum("budget"), Lower("title"), Upper("title"), F("id") + 1, F("id") + 2, F("pk") + 1,
        Value(1), Value("1"), Value(True), F("budget"), Coalesce("title", Value("a")),
        Coalesce("title", Value("b")), Count("pk", filter=Q(pk=1)), TruncMonth("created_at"),
    ]
)  # fmt: skip
steps = st.one_of(
    st.builds(dict, method=st.sampled_from(["filter", "exclude"]), condition=conditions),
    st.builds(
        dict,
        method=st.sampled_from(["order_by", "only", "defer", "select_related"]),
        names=st.lists(st.sampled_from(["client", "industry"]), min_size=1, max_size=2),
    ),
    st.builds(dict, method=st.sampled_from(["distinct", "reverse"]), names=st.just([])),
    st.builds(dict, method=st.just("annotate"), as_names=st.fixed_dictionaries({"n": expressions})),
    st.builds(
        dict,
        method=st.just("order_by"),
        names=st.lists(
            expressions | st.builds(lambda one: one.desc(), expressions) | st.just("n"),
            min_size=1, max_size=2,
        ),
    ),
    st.builds(
        dict,
        method=st.sampled_from(["values", "values_list"]),
        names=st.lists(st.sampled_from(["industry", "title", "n"]), min_size=1, max_size=2),
    ),
    st.builds(
        dict,
        method=st.sampled_from(["union", "intersection"]),
        names=st.sampled_from([["query one"], ["query titled"]]),
    ),
    st.builds(dict, method=st.just("slice"), names=st.sampled_from([[0, 1], [1, 3]])),
)  # fmt: skip
programs = st.lists(steps, max_size=4)


def build(program: list[dict[str, Any]]) -> QuerySet[Any] | None:
    queryset: QuerySet[Any] = Job.objects.all()
    for step in program:
        try:
            if step["method"] == "slice":
                queryset = queryset[slice(*step["names"])]
                continue
            method = getattr(queryset, step["method"])
            if condition := step.get("condition"):
                name, value = condition["name"], condition["value"]
                value = named(value)
                queryset = method(**{name: value}) if name else method(value)
            else:
                queryset = method(*map(named, step.get("names", ())), **step.get("as_names", {}))
        except (ValueError, TypeError, FieldError, NotSupportedError, ValidationError):
            # What Django refuses
            return None
    return queryset


@pytest.mark.parametrize("alias", ["default", "postgres", "mariadb"])
def test_two_queries_are_one_only_if_they_are_one_to_the_database(alias: str) -> None:
    """For any two: what makes the key is the same only where SQL and parameters are."""
    used = connections[alias]
    seen: dict[str, Any] = {}

    @given(program=programs)
    @hypothesis_settings(max_examples=1500, deadline=None, database=None)
    def explore(program: list[dict[str, Any]]) -> None:
        queryset = build(program)
        if queryset is None:
            return
        found = outcome(lambda: compiled(queryset.query, used))
        # After it, as Django compiles what is read: compiling must not have changed the query.
        expected = outcome(lambda: true(queryset, alias))
        if isinstance(found, tuple) and isinstance(expected, tuple):
            assert found[0] == expected[0]
            key = spelled(found)
            assert seen.setdefault(key, expected) == expected
        elif isinstance(expected, tuple) or expected in (EmptyResultSet, FullResultSet):
            assert found == expected
        # What Django cannot compile (5.2: some unions of unions) has no answer to be stored.

    explore()
    assert len(seen) > 100


def test_lookups_that_write_the_same_sql_are_apart(vendor_alias: str) -> None:
    """``contains`` and ``endswith`` differ in nothing but the parameter."""
    used = connections[vendor_alias]
    seen: dict[str, Any] = {}
    names = [
        "exact", "iexact", "contains", "icontains", "startswith", "istartswith", "endswith",
        "iendswith", "regex", "iregex", "gt", "lte",
    ]  # fmt: skip
    for name in names:
        for value in ("", "a", "A", "%", "a%", "%a", "_", "\\", "\\%"):
            queryset = Job.objects.filter(**{f"title__{name}": value})
            for _ in range(2):
                found = compiled(queryset.query, used)
                expected = true(queryset, vendor_alias)
                assert found[0] == expected[0]
                assert seen.setdefault(spelled(found), expected) == expected
    for year in (2025, 2026):
        for name in ("year", "year__gt", "year__gte", "year__lt", "year__lte"):
            for zone in ("UTC", "Asia/Tokyo"):
                with timezone.override(zone):
                    queryset = Job.objects.filter(**{f"created_at__{name}": year})
                    found = compiled(queryset.query, used)
                    expected = true(queryset, vendor_alias)
                assert found[0] == expected[0]
                assert seen.setdefault(spelled(found), expected) == expected
    assert len({spelled(each) for each in seen.values()}) == len(seen)


def test_values_of_equal_hash_are_apart() -> None:
    number = uuid.UUID(int=1)
    keys = {
        spelled(compiled(queryset.query, connection))
        for queryset in (
            Job.objects.filter(title="1"),
            Job.objects.filter(pk=1),
            Job.objects.filter(budget=Decimal(1)),
            Job.objects.filter(budget=Decimal("1.0")),
            Job.objects.filter(title=str(number)),
            CustomUser.objects.filter(is_active=True),
            CustomUser.objects.filter(pk=1),
        )
    }
    assert len(keys) == 7
