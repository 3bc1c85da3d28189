"""Lines: the most that was seen, whatever the order."""

from __future__ import annotations

from itertools import permutations

import pytest

from django_querybudget import capture_queries
from django_querybudget.ratchet.lines import Key, Line, ShapeCount, SourceLine, merged, view_key
from jobs.models import Industry

pytestmark = pytest.mark.once

JOBS = ShapeCount("SELECT … FROM job", 1)
PICTURES = ShapeCount(
    "SELECT … FROM picture", 20, SourceLine("jobs/views.py", 31, "jobs/views.py:31")
)


def test_the_key_has_the_class_of_the_status() -> None:
    assert view_key("GET", "jobs:list", 204) == Key("views", "GET jobs:list 2xx")


@pytest.mark.django_db
def test_a_line_of_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    with capture_queries() as log:
        for number in (1, 2, 2):
            Industry.objects.filter(pk=number).exists()
        Industry.objects.count()
    line = Line.of(log)
    assert (line.queries, line.duplicates, line.similar) == (4, 1, 2)
    assert [shape.count for shape in line.shapes] == [3, 1]
    place = line.shapes[0].place
    assert place is not None
    assert place.path.endswith("tests/ratchet/test_lines.py")
    monkeypatch.setenv("GITHUB_WORKSPACE", "/")
    in_workflow = Line.of(log).shapes[0].place
    assert in_workflow is not None
    assert f"/{in_workflow.path}" == __file__


def test_each_number_is_the_highest_and_the_shapes_are_those_of_the_most_queries() -> None:
    many = Line(queries=21, similar=19, shapes=(JOBS, PICTURES))
    doubled = Line(queries=2, duplicates=1, shapes=(ShapeCount("SELECT … FROM job", 2),))
    highest = Line(queries=21, duplicates=1, similar=19, shapes=(JOBS, PICTURES))
    assert many.highest(doubled) == doubled.highest(many) == highest


def test_merging_is_the_same_in_every_order() -> None:
    lines = [
        Line(queries=2, shapes=(ShapeCount("a", 2),)),
        Line(queries=2, similar=1, shapes=(ShapeCount("a", 1), ShapeCount("b", 1))),
        Line(queries=1, duplicates=4, shapes=(ShapeCount("c", 1),)),
    ]
    results = [merged((Key("views", "v"), line) for line in order) for order in permutations(lines)]
    assert all(result == results[0] for result in results)
    assert results[0]["views", "v"].queries == 2


def test_a_line_crosses_processes_as_plain_data() -> None:
    line = Line(queries=21, duplicates=1, similar=19, shapes=(JOBS, PICTURES))
    assert Line.from_data(line.as_data()) == line


@pytest.mark.django_db(databases=["default", "postgres"])
def test_rows_are_known_where_they_are_of_every_query() -> None:
    with capture_queries() as log:
        list(Industry.objects.using("postgres"))
    assert Line.of(log).rows == 0
    with capture_queries() as partly:
        list(Industry.objects.using("postgres"))
        list(Industry.objects.using("postgres").iterator())
    assert Line.of(partly).rows is None


def test_rows_that_one_of_them_does_not_know_are_not_judged() -> None:
    known, unknown = Line(queries=1, rows=7), Line(queries=1)
    assert known.highest(Line(queries=1, rows=9)).rows == 9
    assert known.highest(unknown) == unknown.highest(known) == unknown
    assert Line(queries=1, rows=8).exceeds(known)
    assert not known.exceeds(unknown)
    assert not unknown.exceeds(known)
    assert Line.from_data(known.as_data()) == known


@pytest.mark.parametrize("name", Line.NUMBERS)
def test_any_number_above_is_above(name: str) -> None:
    old = Line(queries=3, duplicates=3, similar=3)
    assert Line(**{**vars(old), name: 4}).exceeds(old)
    assert not Line(**{**vars(old), name: 2}).exceeds(old)
    assert not old.exceeds(old)
