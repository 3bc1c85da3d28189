"""assertMaxQueries, assert_max_queries, assert_query_growth."""

from __future__ import annotations

import urllib.request
from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.test import LiveServerTestCase, SimpleTestCase, TestCase, TransactionTestCase
from django.test.utils import override_settings

from django_querybudget import QueryBudgetExceeded
from django_querybudget.exceptions import QueryGrowthError
from django_querybudget.testing import (
    QueryBudgetTestMixin,
    assert_max_queries,
    assert_query_growth,
)
from jobs.models import Industry, Subcategory
from tests.budget_urls import run


class Shared(QueryBudgetTestMixin):
    """What holds for every kind of test case."""

    def test_as_a_block(self) -> None:
        with self.assertMaxQueries(2) as log:
            run(2)
        assert log.count == 2
        above = pytest.raises(AssertionError, match="3 queries executed, budget is 2")
        with above, self.assertMaxQueries(2):
            run(3)

    def test_with_a_function(self) -> None:
        assert self.assertMaxQueries(2, run, 2) is None
        assert self.assertMaxQueries(1, Industry.objects.filter(pk=1).count) == 0
        self.assertMaxQueries(2, run, queries=2)
        with pytest.raises(QueryBudgetExceeded, match=r"run\(\): 3 queries executed, budget is 2"):
            self.assertMaxQueries(2, run, 3)

    def test_content_types_cost_nothing_in_any_order(self) -> None:
        ContentType.objects.clear_cache()
        with self.assertMaxQueries(0):
            ContentType.objects.get_for_model(Industry)


class TestInTestCase(Shared, TestCase):
    pass


class TestInTransactionTestCase(Shared, TransactionTestCase):
    pass


class TestWithoutDatabase(QueryBudgetTestMixin, SimpleTestCase):
    def test_it_needs_no_database(self) -> None:
        with self.assertMaxQueries(0):
            pass


class TestSeveralDatabases(QueryBudgetTestMixin, TestCase):
    databases = {"default", "other"}  # noqa: RUF012 - as Django has it

    def test_all_count_unless_using_names_one(self) -> None:
        def both() -> None:
            Industry.objects.count()
            Industry.objects.using("other").count()

        self.assertMaxQueries(1, both, using="other")
        self.assertMaxQueries(2, both, using=["default", "other"])
        with pytest.raises(AssertionError, match="2 queries executed, budget is 1"):
            self.assertMaxQueries(1, both)


@override_settings(ROOT_URLCONF="tests.budget_urls")
class TestLiveServer(QueryBudgetTestMixin, LiveServerTestCase):
    def ask(self, queries: int) -> None:
        urllib.request.urlopen(f"{self.live_server_url}/plain?queries={queries}").read()  # noqa: S310 - our own server

    def test_the_servers_queries_count(self) -> None:
        with self.assertMaxQueries(3) as log:
            self.ask(3)
        assert log.count == 3
        with pytest.raises(AssertionError, match="4 queries executed, budget is 3"):
            self.assertMaxQueries(3, self.ask, 4)

    def test_another_context_does_not_without_it(self) -> None:
        with assert_max_queries(0) as log:
            self.ask(3)
        assert log.count == 0


@pytest.mark.django_db
class TestFunction:
    """assert_max_queries()."""

    def test_the_other_dimensions(self) -> None:
        with assert_max_queries(3, similar=1):
            run(2)
        above = pytest.raises(QueryBudgetExceeded, match="2 queries repeat")
        with above, assert_max_queries(3, similar=1):
            run(3)

    def test_an_exception_of_the_block_comes_first(self) -> None:
        with pytest.raises(Industry.DoesNotExist), assert_max_queries(0):
            Industry.objects.get(pk=0)

    def test_it_names_the_line_of_the_block(self) -> None:
        place = r"the block at tests.test_testing\.py:\d+: "
        with pytest.raises(QueryBudgetExceeded, match=place), assert_max_queries(0):
            run(1)

    @pytest.mark.parametrize(
        ("call", "error", "words"),
        [
            (lambda: assert_max_queries(-1), ValueError, "max_queries is -1"),
            (lambda: assert_max_queries(1, querys=2), TypeError, "'querys' is no dimension"),
            (lambda: assert_max_queries(1, None, 2), TypeError, "give func"),  # type: ignore[call-overload]
            (lambda: assert_max_queries(1, using="nowhere"), ValueError, "using='nowhere'"),
            (lambda: assert_max_queries(1, coroutine), TypeError, "await it in a block"),
        ],
    )
    def test_what_makes_no_sense_is_refused(
        self, call: Any, error: type[Exception], words: str
    ) -> None:
        with pytest.raises(error, match=words):
            call()


async def coroutine() -> None:
    pass


def populate(size: int) -> None:
    for number in range(size):
        industry = Industry.objects.create(name=f"industry {number}")
        Subcategory.objects.create(name=f"subcategory {number}", industry=industry)


def lazy() -> None:
    for subcategory in Subcategory.objects.all():
        subcategory.industry.name  # noqa: B018 - asking is what queries


def eager() -> None:
    for subcategory in Subcategory.objects.select_related("industry"):
        subcategory.industry.name  # noqa: B018 - asking is what queries


class TestGrowth:
    """assert_query_growth()."""

    @pytest.mark.django_db
    def test_a_loop_of_queries_is_named_with_its_slope_and_line(self) -> None:
        with pytest.raises(QueryGrowthError) as raised:
            assert_query_growth(populate, lazy)
        text = str(raised.value)
        assert "3 queries at size 2, 9 queries at size 8" in text
        assert "FROM jobs_industry" in text
        assert "grows by 1.0 per row (2, 8); 0 allowed" in text
        assert "tests/test_testing.py:" in text
        assert "in lazy" in text
        growth = raised.value.growth
        assert growth is not None
        assert growth.total.slope == 1.0

    @pytest.mark.django_db
    def test_a_constant_number_passes_and_is_returned(self) -> None:
        growth = assert_query_growth(populate, eager, sizes=(1, 4, 16))
        assert growth.sizes == (1, 4, 16)
        assert growth.total.counts == (1, 1, 1)

    @pytest.mark.django_db
    def test_a_slope_may_be_allowed(self) -> None:
        assert assert_query_growth(populate, lazy, max_slope=1).total.intercept == 1.0

    @pytest.mark.django_db
    def test_rows_are_rolled_back(self) -> None:
        assert_query_growth(populate, eager)
        assert not Subcategory.objects.exists()

    @pytest.mark.django_db(transaction=True)
    def test_rows_are_rolled_back_without_a_test_transaction(self) -> None:
        with pytest.raises(QueryGrowthError):
            assert_query_growth(populate, lazy)
        assert not Subcategory.objects.exists()

    @pytest.mark.django_db(databases=["default", "other"])
    def test_another_database_is_rolled_back_too(self) -> None:
        def write(size: int) -> None:
            for number in range(size):
                Industry.objects.using("other").create(name=str(number))

        def read() -> None:
            for industry in Industry.objects.using("other"):
                industry.refresh_from_db()

        with pytest.raises(QueryGrowthError, match=r"grows by 1\.0 per row \(2, 8\)"):
            assert_query_growth(write, read)
        assert not Industry.objects.using("other").exists()

    @pytest.mark.django_db
    def test_what_the_first_run_caches_is_no_growth(self) -> None:
        cache: list[int] = []

        def measure() -> None:
            if not cache:
                cache.append(Industry.objects.count())

        assert assert_query_growth(populate, measure).total.counts == (0, 0)

    @pytest.mark.django_db(transaction=True)
    def test_coroutine_functions(self) -> None:
        async def measure() -> None:
            async for subcategory in Subcategory.objects.all():
                await Industry.objects.aget(pk=subcategory.industry_id)

        with pytest.raises(QueryGrowthError, match=r"grows by 1\.0 per row"):
            assert_query_growth(populate, measure)

    @pytest.mark.parametrize("sizes", [(), (3,), (3, 3), (-1, 2), (1.5, 2), (True, 2)])
    def test_bad_sizes_are_refused(self, sizes: Any) -> None:
        with pytest.raises(ValueError, match="sizes is"):
            assert_query_growth(populate, eager, sizes=sizes)


def test_growth_on_every_kind_of_database(vendor_alias: str) -> None:
    def write(size: int) -> None:
        Industry.objects.using(vendor_alias).bulk_create(
            Industry(name=str(number)) for number in range(size)
        )

    def read() -> None:
        for industry in Industry.objects.using(vendor_alias):
            industry.refresh_from_db()

    with pytest.raises(QueryGrowthError) as raised:
        assert_query_growth(write, read)
    assert "3 queries at size 2, 9 queries at size 8" in str(raised.value)
    assert "FROM jobs_industry WHERE jobs_industry.id = ?" in str(raised.value)
    assert not Industry.objects.using(vendor_alias).exists()
    with assert_max_queries(1, using=vendor_alias) as log:
        Industry.objects.using(vendor_alias).count()
    assert log.count == 1
