"""The advisor's parts: the walk over queries, what they need, and the fewest indexes for it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db.models import Avg, Count, Exists, F, OuterRef, Q, QuerySet, Subquery
from django.template import Context, Origin, Template
from hypothesis import given
from hypothesis import strategies as st

from django_querybudget.indexes.advisor import Workload, advise, render_advice
from django_querybudget.indexes.advisor.merge import Candidate, merge_needs
from django_querybudget.indexes.advisor.needs import Need, Purpose, find_needs
from django_querybudget.indexes.advisor.shapes import Access, ColumnFilter, Join, Order, QueryShape
from django_querybudget.indexes.advisor.walk import shapes_of
from django_querybudget.indexes.definitions import IndexDefinition
from jobs.models import Application, Job
from payment.models import Payment
from tests.indexes.planted.project import PLUGIN, ROOT

DAY = datetime(2026, 3, 1, tzinfo=UTC)


def filters(queryset: QuerySet[Any]) -> dict[str, ColumnFilter]:
    """Return the filters of each table, over the query and its subqueries."""
    found: dict[str, ColumnFilter] = {}
    for shape in shapes_of(queryset.query, "default"):
        for access in shape.accesses:
            if access.filter:
                found[access.table] = access.filter
    return found


def shape(queryset: QuerySet[Any]) -> QueryShape:
    return shapes_of(queryset.query, "default")[-1]


def only(equality: str = "", ranges: str = "") -> ColumnFilter:
    return ColumnFilter(equality=frozenset(equality.split()), ranges=frozenset(ranges.split()))


class TestWalk:
    @pytest.mark.parametrize(
        ("condition", "expected"),
        [
            (Q(status="paid"), only("status")),
            (Q(status__in=["paid", "failed"]), only("status")),
            (Q(status="paid", payer=3), only("status payer_id")),
            (Q(payer__pk=3), only("payer_id")),
            (Q(created_at__gte=DAY), only("", "created_at")),
            (Q(created_at__range=(DAY, DAY)), only("", "created_at")),
            (Q(created_at__year=2026), only("", "created_at")),
            (Q(status="paid") & Q(amount__lt=3), only("status", "amount")),
            (Q(payer__isnull=True), only("payer_id")),
            (~~Q(status="paid"), only("status")),
            (Q(status="paid") & ~Q(currency="EUR"), only("status")),
            (Q(status="paid") & (Q(currency="EUR") | Q(job=3)), only("status")),
        ],
        # A set has another order in another process of the run.
        ids=lambda value: None if isinstance(value, ColumnFilter) else str(value),
    )
    def test_conditions(self, condition: Q, expected: ColumnFilter) -> None:
        assert filters(Payment.objects.filter(condition)) == {"payment_payment": expected}

    @pytest.mark.parametrize(
        "condition",
        [
            ~Q(status="paid"),
            Q(status__icontains="a"),
            Q(status__startswith="a"),
            Q(status__iexact="a"),
            Q(status__isnull=False),
            Q(created_at__date=DAY.date()),
            Q(created_at__month=3),
            Q(details__key="x"),
            Q(details={"a": 1}),
            Q(payer=F("recipient")),
            Q(amount__gt=F("amount") + 1),
        ],
        ids=str,
    )
    def test_what_no_btree_serves(self, condition: Q) -> None:
        assert filters(Payment.objects.filter(condition)) == {}

    def test_alternatives(self) -> None:
        found = shape(Payment.objects.filter(Q(currency="EUR") | Q(amount=3, status="paid")))
        assert found.accesses[0].alternatives == (only("currency"), only("amount status"))

    def test_alternatives_of_which_one_is_not_served(self) -> None:
        found = shape(Payment.objects.filter(Q(currency="EUR") | Q(status__icontains="x")))
        assert found.accesses[0].alternatives == ()

    def test_joins(self) -> None:
        found = shape(Payment.objects.filter(job__title="x"))
        assert found.joins == (
            Join(
                parent="payment_payment",
                parent_columns=frozenset({"job_id"}),
                child="jobs_job",
                child_columns=frozenset({"id"}),
                outer=False,
            ),
        )

    def test_outer_join(self) -> None:
        (join,) = shape(Job.objects.annotate(n=Count("payments"))).joins
        assert join.outer

    def test_order_and_limit(self) -> None:
        found = shape(Payment.objects.order_by("-created_at", "job")[:5])
        # Then comes the order of jobs, which is another table's.
        assert found.order == Order(alias="payment_payment", columns=(("created_at", True),))
        assert found.limited

    def test_default_ordering(self) -> None:
        found = shape(Job.objects.all())
        assert found.order is not None
        assert found.order.columns == (("created_at", True), ("id", True))
        assert not found.limited

    @pytest.mark.parametrize(
        "queryset",
        [
            Job.objects.filter(pk__in=Application.objects.filter(status="sent").values("job")),
            Job.objects.filter(
                Exists(Application.objects.filter(status="sent", job=OuterRef("pk")))
            ),
            Job.objects.filter(
                ~Exists(Application.objects.filter(status="sent", job=OuterRef("pk")))
            ),
            Job.objects.annotate(
                x=Subquery(
                    Application.objects.filter(status="sent", job=OuterRef("pk")).values("pk")[:1]
                )
            ),
            Job.objects.filter(title="x").union(
                Job.objects.filter(applications__status="sent", applications__job=3)
            ),
        ],
        ids=["in", "exists", "not exists", "annotation", "union"],
    )
    def test_subqueries(self, queryset: QuerySet[Any]) -> None:
        assert "status" in filters(queryset)["jobs_application"].equality

    def test_the_query_is_left_as_it_was(self) -> None:
        queryset = Payment.objects.filter(job__title="x").order_by("job__industry__name")
        before = str(queryset.query), dict(queryset.query.alias_refcount)
        shapes_of(queryset.query, "default")
        assert (str(queryset.query), dict(queryset.query.alias_refcount)) == before


def access(alias: str, equality: str = "", ranges: str = "", *branches: ColumnFilter) -> Access:
    return Access(alias=alias, table=alias, filter=only(equality, ranges), alternatives=branches)


def join(parent: str, child: str, *, outer: bool = False) -> Join:
    """The child's parent_id is equal to the parent's id."""
    columns = frozenset({"id"}), frozenset({f"{parent}_id"})
    return Join(
        parent=parent, parent_columns=columns[0], child=child, child_columns=columns[1], outer=outer
    )


def index(table: str, *names: str, **options: Any) -> IndexDefinition:
    return IndexDefinition(table=table, columns=names, **options)


def needs_of(shape: QueryShape, *indexes: IndexDefinition) -> list[str]:
    by_table: dict[str, list[IndexDefinition]] = {}
    for each in indexes:
        by_table.setdefault(each.table, []).append(each)
    found = find_needs(shape, by_table, {("t", "flag")})
    return [
        f"{each.purpose.value} {each.table}: "
        + " ".join([*sorted(each.equality), *(name for name, _ in each.tail)])
        for each in found
    ]


class TestNeeds:
    filtered = QueryShape(accesses=(access("t", "a b", "c"),))

    def test_filter(self) -> None:
        assert needs_of(self.filtered) == ["filter t: a b c"]

    @pytest.mark.parametrize(
        "served_by",
        [index("t", "a"), index("t", "b", "z"), index("t", "c"), index("t", "a", unique=True)],
        ids=str,
    )
    def test_an_index_that_begins_with_a_column_serves(self, served_by: IndexDefinition) -> None:
        assert needs_of(self.filtered, served_by) == []

    @pytest.mark.parametrize(
        "useless",
        [
            index("t", "z", "a"),
            index("u", "a"),
            index("t", "a", condition="z > 3"),
            index("t", "a", expressions=True),
            index("t", "a", method="gin"),
            index("t", "c", method="hash"),
            index("t", "a", "z", method="hash"),
        ],
        ids=str,
    )
    def test_one_that_does_not(self, useless: IndexDefinition) -> None:
        assert needs_of(self.filtered, useless) == ["filter t: a b c"]

    def test_of_two_ranges_the_one_of_the_order(self) -> None:
        order = Order(alias="t", columns=(("z", True),))
        shape = QueryShape(accesses=(access("t", "a", "b z"),), order=order)
        assert needs_of(shape) == ["filter t: a z"]

    def test_order_after_the_filter(self) -> None:
        order = Order(alias="t", columns=(("z", True), ("a", True), ("y", True)))
        assert needs_of(QueryShape(accesses=(access("t", "a"),), order=order)) == [
            "filter t: a z y"
        ]

    def test_order_alone_only_with_a_limit(self) -> None:
        order = Order(alias="t", columns=(("z", True),))
        shape = QueryShape(accesses=(access("t"),), order=order)
        assert needs_of(shape) == []
        assert needs_of(replace(shape, limited=True)) == ["order t: z"]
        assert needs_of(replace(shape, limited=True), index("t", "z", "y")) == []

    def test_a_flag_alone(self) -> None:
        assert needs_of(QueryShape(accesses=(access("t", "flag"),))) == []
        assert needs_of(QueryShape(accesses=(access("t", "flag a"),))) == ["filter t: a flag"]

    def test_a_flag_and_an_order_of_all_its_rows(self) -> None:
        """Neither a flag alone nor an order without a limit asks for an index; nor do both."""
        order = Order(alias="t", columns=(("z", True),))
        shape = QueryShape(accesses=(access("t", "flag"),), order=order)
        assert needs_of(shape) == []
        assert needs_of(replace(shape, limited=True)) == ["filter t: flag z"]
        ranged = QueryShape(accesses=(access("t", "flag", "z"),), order=order)
        assert needs_of(ranged) == ["filter t: flag z"]

    def test_each_branch_of_an_or(self) -> None:
        shape = QueryShape(accesses=(access("t", "", "", only("a"), only("b")),))
        assert needs_of(shape) == ["filter t: a", "filter t: b"]
        assert needs_of(shape, index("t", "a")) == ["filter t: b"]
        assert needs_of(shape, index("t", "a"), index("t", "b")) == []

    def test_one_table_to_enter_by_is_enough(self) -> None:
        shape = QueryShape(accesses=(access("t", "a"), access("u", "b")), joins=(join("t", "u"),))
        served = index("t", "a"), index("u", "t_id")
        assert needs_of(shape, *served) == []
        assert needs_of(shape, index("u", "b"), index("t", "id")) == []
        assert needs_of(shape, index("t", "id"), index("u", "t_id")) == ["filter t: a"]

    def test_a_join_that_reads_the_whole_table(self) -> None:
        shape = QueryShape(accesses=(access("t", "a"), access("u")), joins=(join("t", "u"),))
        assert needs_of(shape, index("t", "a")) == ["join u: t_id"]

    def test_a_join_is_followed_both_ways_unless_it_is_outer(self) -> None:
        accesses = (access("t"), access("u", "b"))
        inner = QueryShape(accesses=accesses, joins=(join("t", "u"),))
        assert needs_of(inner, index("u", "b")) == ["join t: id"]
        outer = QueryShape(accesses=accesses, joins=(join("t", "u", outer=True),))
        assert needs_of(outer, index("u", "b")) == []

    def test_joins_over_joins(self) -> None:
        shape = QueryShape(
            accesses=(access("t", "a"), access("u"), access("v")),
            joins=(join("t", "u"), join("u", "v")),
        )
        assert needs_of(shape, index("t", "a"), index("u", "t_id")) == ["join v: u_id"]


def need(equality: str = "", *tail: str, required: bool = True) -> Need:
    return Need(
        table="t",
        alias="t",
        purpose=Purpose.FILTER,
        equality=frozenset(equality.split()),
        tail=tuple((column.removeprefix("-"), column.startswith("-")) for column in tail),
        tail_required=required and bool(tail),
    )


def columns(candidates: list[Candidate]) -> list[str]:
    return [
        " ".join(f"{'-' * desc}{name}" for name, desc in c.columns(lambda n: (ord(n[0]),)))
        for c in candidates
    ]


class TestMerge:
    @pytest.mark.parametrize(
        ("needs", "expected"),
        [
            ([need("a"), need("a b"), need("a b", "c")], ["a b c"]),
            ([need("b"), need("a b")], ["b a"]),
            ([need("a"), need("b")], ["a", "b"]),
            ([need("a b"), need("b c"), need("c")], ["a b", "c b"]),
            ([need("a", "c"), need("a b")], ["a b", "a c"]),
            ([need("a", "c", required=False), need("a b")], ["a b"]),
            ([need("", "c"), need("a", "c")], ["a c", "c"]),
            ([need("", "c"), need("c", "d")], ["c d"]),
            ([need("", "a", "-b"), need("", "a")], ["a -b"]),
            ([need("a b c"), need("c"), need("b c")], ["c b a"]),
        ],
    )
    def test_merge(self, needs: list[Need], expected: list[str]) -> None:
        assert sorted(columns(merge_needs(needs))) == sorted(expected)

    @given(
        st.lists(
            st.builds(
                need,
                st.sets(st.sampled_from("abcd"), min_size=1, max_size=3).map(" ".join),
            )
            | st.builds(need, st.just(""), st.sampled_from("abcd"))
            | st.builds(need, st.sampled_from("ab"), st.sampled_from("cd")),
            max_size=7,
        )
    )
    def test_each_need_is_served_by_its_candidate(self, needs: list[Need]) -> None:
        candidates = merge_needs(needs)
        assert sum(len(candidate.needs) for candidate in candidates) == len(needs)
        for candidate in candidates:
            names = [name for name, _ in candidate.columns(lambda n: (ord(n),))]
            assert len(names) == len(set(names))
            for each in candidate.needs:
                count = len(each.equality)
                assert set(names[:count]) == each.equality
                assert names[count : count + len(each.tail)] == [name for name, _ in each.tail]


Run = Callable[[], object]
THIS = "tests/indexes/test_advisor.py"


@pytest.mark.django_db
class TestWorkload:
    def record(self, *runs: Run) -> Workload:
        workload = Workload()
        workload.test = "test"
        with workload.recording():
            for run in runs:
                run()
        return workload

    def test_values_make_no_new_shape(self) -> None:
        workload = self.record(
            lambda: list(Payment.objects.filter(status="paid")),
            lambda: list(Payment.objects.filter(status="failed")),
            lambda: list(Payment.objects.filter(status__in=["a", "b", "c"])),
        )
        (sample,) = workload.samples
        assert sample.count == 3

    def test_where_it_was_asked(self) -> None:
        (sample,) = self.record(lambda: Payment.objects.filter(status="paid").count()).samples
        (line,) = sample.lines
        assert line.startswith("tests/indexes/test_advisor.py:")
        assert list(sample.tests) == ["test"]

    def test_a_coroutines_line_is_its_own(self) -> None:
        async def ask() -> int:
            return await Payment.objects.filter(status="paid").acount()

        (sample,) = self.record(async_to_sync(ask)).samples
        assert list(sample.lines) == [f"{THIS}:{ask.__code__.co_firstlineno + 1}"]

    def test_a_templates_line_is_told(self) -> None:
        template = Template("\n{{ payments.count }}", Origin("payments.html", "payments.html"))
        context = Context({"payments": Payment.objects.filter(status="paid")})

        def render() -> str:
            return template.render(context)

        (sample,) = self.record(render).samples
        line = render.__code__.co_firstlineno + 1
        assert list(sample.lines) == [f"payments.html:2 ({THIS}:{line})"]

    def test_between_tests_nothing_is_recorded(self) -> None:
        workload = Workload()
        with workload.recording():
            list(Payment.objects.filter(status="paid"))
        assert workload.samples == []

    def test_inserts_and_raw_sql_have_no_shape(self) -> None:
        from django.db import connection

        def raw() -> None:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")

        assert self.record(raw).samples == []

    def test_nothing_is_sent_to_the_database(self) -> None:
        from django.db import connection
        from django.test.utils import CaptureQueriesContext

        with CaptureQueriesContext(connection) as captured:
            self.record(lambda: list(Payment.objects.filter(status="paid")))
        assert len(captured) == 1

    def test_aggregates_updates_and_deletes(self) -> None:
        workload = self.record(
            lambda: Payment.objects.filter(currency="EUR").aggregate(Avg("amount")),
            lambda: Payment.objects.filter(currency="EUR").update(amount=3),
            lambda: Payment.objects.filter(currency="EUR")._raw_delete("default"),
        )
        (advice,) = advise(workload).advice
        assert advice.line == 'models.Index(fields=["currency"])'

    def test_ignored_models_get_no_advice(self, settings: Any) -> None:
        settings.QUERYBUDGET = {"INDEXES": {"IGNORE": ["payment.*"]}}
        workload = self.record(lambda: list(Payment.objects.filter(currency="EUR")))
        assert advise(workload).advice == ()

    def test_a_flag_alone_is_no_reason_for_an_index(self) -> None:
        from accounts.models import CustomUser

        staff = CustomUser.objects.filter(is_staff=True)
        workload = self.record(lambda: [list(staff), list(staff.order_by("date_joined"))])
        assert advise(workload).advice == ()

    def test_a_table_that_is_gone_is_told(self) -> None:
        workload = self.record(lambda: list(Payment.objects.filter(currency="EUR")))
        workload.samples[0].sql = "SELECT * FROM no_such_table"
        workload.samples[0].params = ()
        report = advise(workload)
        assert report.advice == ()
        (problem,) = report.problems
        assert "no such table" in problem
        assert f"Problem: {problem}" in render_advice(report)

    @pytest.mark.django_db(databases=["mariadb"])
    def test_a_planner_that_is_not_asked(self) -> None:
        workload = self.record(
            lambda: list(Payment.objects.using("mariadb").filter(currency="EUR"))
        )
        report = advise(workload)
        assert report.advice == ()
        (problem,) = report.problems
        assert "'mariadb' is 'mysql'" in problem
        assert "PostgreSQL and SQLite" in problem


def test_pytest_in_several_processes_is_refused() -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", *PLUGIN),
            *("--querybudget-indexes", "-n", "2", "tests/indexes/test_redundancy.py"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "run pytest without -n" in done.stderr


def test_pytest_without_pytest_django_is_refused(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", *PLUGIN),
            *("--querybudget-indexes", "-p", "no:django"),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "needs pytest-django" in done.stderr
