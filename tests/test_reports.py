"""What a person reads."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from django.template import engines
from django.test import override_settings
from rest_framework import serializers

from django_querybudget import Budget, QueryBudgetExceeded, capture_queries
from django_querybudget.budgets.growth import QueryGrowth
from django_querybudget.recording.records import QueryLog, RawRecord
from django_querybudget.reports.report import QueryReport, render_growth
from jobs.models import Industry, Subcategory


def log_of(*queries: tuple[str, Any], seconds: float = 0.001) -> QueryLog:
    log = QueryLog()
    for sql, params in queries:
        log.append(RawRecord(sql, params, False, "default", "sqlite", 0.0, seconds))
    return log


def report_of(log: QueryLog, budget: Budget | None = None) -> QueryReport:
    return QueryReport(name="GET jobs:list", log=log, budget=budget)


JOB = "SELECT * FROM job WHERE id = %s"
SECRET = (JOB, ("s3cret",))


def shapes(count: int) -> QueryLog:
    return log_of(*((f"SELECT * FROM t{number}", None) for number in range(count)))


def test_one_line_within_the_budget() -> None:
    text = str(report_of(log_of(SECRET, SECRET), Budget(2)))
    assert text == "GET jobs:list: 2 queries, 1 duplicate, 2.0 ms, budget is 2"
    assert str(report_of(log_of(SECRET))) == "GET jobs:list: 1 query, 1.0 ms"
    assert str(report_of(log_of(SECRET), Budget(writes=2))) == "GET jobs:list: 1 query, 1.0 ms"


def test_the_whole_report_above_it() -> None:
    log = log_of((JOB, (1,)), (JOB, (2,)), (JOB, (3,)), ("SELECT * FROM pay", None))
    assert str(report_of(log, Budget(3))) == (
        "GET jobs:list: 4 queries executed, budget is 3\n"
        "\n"
        "   3 x  SELECT * FROM job WHERE id = ?  (3.0 ms)\n"
        "   1 x  SELECT * FROM pay  (1.0 ms)\n"
        "\n"
        "Next: the query runs 3 times, with 3 different values: ask for them at once, or raise the "
        "budget.\n"
        "See docs/reference/messages.rst#budget-exceeded"
    )


@pytest.mark.parametrize(
    ("budget", "headline"),
    [
        (Budget(0), "1 query executed, budget is 0"),
        (Budget(writes=0), "1 query writes, budget is 0"),
        (Budget(duration=0.0005), "1.0 ms in the database, budget is 0.5 ms"),
        (Budget(0, writes=0), "1 query executed, budget is 0; 1 query writes, budget is 0"),
    ],
)
def test_every_dimension_has_words(budget: Budget, headline: str) -> None:
    report = report_of(log_of(("UPDATE job SET a = 1", None)), budget)
    assert report.headline == f"GET jobs:list: {headline}"


def test_repeats_have_words() -> None:
    report = report_of(log_of(SECRET, SECRET, SECRET), Budget(duplicates=0, similar=1))
    assert report.headline == (
        "GET jobs:list: 2 duplicate queries, budget is 0; "
        "2 queries repeat an earlier one's shape, budget is 1"
    )


@pytest.mark.parametrize(
    ("log", "budget", "next_step"),
    [
        (log_of(SECRET, SECRET), Budget(1), "asks for the same 2 times: keep its result."),
        (
            log_of((JOB, (1,)), (JOB, (2,))),
            Budget(1),
            "runs 2 times, with 2 different values: ask for them at once",
        ),
        (shapes(2), Budget(1), "no query repeats: merge or drop one, or raise the budget to 2."),
        (shapes(2), Budget(duration=0), "look at EXPLAIN of the slowest: SELECT * FROM t0"),
        (log_of(("DELETE FROM job", None)), Budget(writes=0), "write the rows at once"),
        (
            log_of(
                ("DELETE FROM job WHERE id = %s", (1,)), ("DELETE FROM job WHERE id = %s", (2,))
            ),
            Budget(1),
            "writes 2 times: write the rows at once",
        ),
    ],
)
def test_the_next_step_fits_what_was_exceeded(
    log: QueryLog, budget: Budget, next_step: str
) -> None:
    assert next_step in str(report_of(log, budget)).splitlines()[-2]


def test_parameters_are_hidden_unless_asked_for() -> None:
    report = report_of(log_of(SECRET, ("SELECT * FROM job WHERE name = 's3cret'", None)), Budget(0))
    assert "s3cret" not in report.render(verbosity=2)
    assert "with ('s3cret',)" in report.render(parameters=True)
    with override_settings(QUERYBUDGET={"SHOW_PARAMETERS": True}):
        assert "with ('s3cret',)" in str(report)


def test_it_grows_with_verbosity() -> None:
    report = report_of(shapes(7), Budget(0))
    assert report.render().count(" x  ") == 5
    assert "… and 2 shapes more: see -v." in report.render()
    assert report.render(verbosity=1).count(" x  ") == 7
    with override_settings(QUERYBUDGET={"VERBOSITY": 1}):
        assert str(report).count(" x  ") == 7
    columns = ", ".join(f"job.column_{number}" for number in range(5))
    wide = report_of(log_of((f"SELECT {columns} FROM job", None)), Budget(0))
    assert "SELECT … FROM job" in wide.render(verbosity=1)
    assert f"SELECT {columns} FROM job" in wide.render(verbosity=2)


def test_control_characters_do_not_reach_an_xml_report() -> None:
    report = report_of(log_of(("SELECT \x00\x1b[31m\x0c", None)), Budget(0))
    text = report.render(verbosity=2)
    assert all(each.isprintable() or each == "\n" for each in text)
    assert "SELECT" in text


@pytest.mark.django_db
class TestOrigins:
    """The line, the template's line, the serializer's field."""

    @pytest.fixture(autouse=True)
    def rows(self) -> None:
        for number in range(3):
            industry = Industry.objects.create(name=f"industry {number}")
            Subcategory.objects.create(name=f"subcategory {number}", industry=industry)

    def test_each_shape_has_its_lines(self) -> None:
        with capture_queries() as log:
            for number in range(3):
                Industry.objects.filter(pk=number).exists()
            Industry.objects.filter(pk=9).exists()
        report = report_of(log, Budget(0))
        origin, count = report.shapes[0].origins[0]
        assert (origin.filename, count) == (__file__, 3)
        assert f"tests/test_reports.py:{origin.line} in" in report.render()
        assert "(3 of 4)" in report.render(verbosity=1)
        assert "(1 of 4)" in report.render(verbosity=1)
        assert "(1 of 4)" not in report.render()

    def test_a_templates_line(self) -> None:
        template = engines["django"].get_template("subcategories.html")
        with capture_queries() as log:
            template.render({"industries": Industry.objects.all()})
        assert "subcategories.html:3" in report_of(log, Budget(0)).render()

    def test_a_serializers_field(self) -> None:
        class SubcategorySerializer(serializers.ModelSerializer[Subcategory]):
            industry = serializers.StringRelatedField[Industry]()

            class Meta:
                model = Subcategory
                fields = ("name", "industry")

        with capture_queries() as log:
            SubcategorySerializer(Subcategory.objects.all(), many=True).data  # noqa: B018 - asking is what queries
        assert "SubcategorySerializer.industry" in report_of(log, Budget(0)).render()

    def test_using_leaves_out_other_databases_shapes(self) -> None:
        with capture_queries() as log:
            Industry.objects.count()
        log.append(RawRecord("SELECT elsewhere", None, False, "other", "sqlite", 0.0, 0.0))
        text = str(report_of(log, Budget(0, using="default")))
        assert "1 query executed" in text
        assert "elsewhere" not in text


def test_growth_names_the_shape_its_slope_and_its_counts() -> None:
    growth = QueryGrowth(
        {2: log_of((JOB, (1,)), (JOB, (2,))), 4: log_of(*((JOB, (n,)) for n in range(4)))}
    )
    text = render_growth(growth, growth.above(0), 0)
    assert text.startswith(
        "The number of queries grows with the data: 2 queries at size 2, 4 queries at size 4."
    )
    assert "SELECT * FROM job WHERE id = ?\n        grows by 1.0 per row (2, 4); 0 allowed" in text


def test_an_exception_crosses_processes_with_its_text() -> None:
    report = report_of(log_of(SECRET), Budget(0))
    error = pickle.loads(pickle.dumps(QueryBudgetExceeded(str(report), report=report)))  # noqa: S301 - of our own making
    assert str(error) == str(report)
    assert error.report is None
    assert isinstance(error, AssertionError)
