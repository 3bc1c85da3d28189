"""What the ratchet says in a terminal and to GitHub."""

from __future__ import annotations

import pytest

from django_querybudget.ratchet.comparison import compare
from django_querybudget.ratchet.lines import Key, Line, ShapeCount, SourceLine
from django_querybudget.ratchet.lockfile import LockFile
from django_querybudget.ratchet.text import github_annotations, render

pytestmark = pytest.mark.once

LIST = Key("views", "GET jobs:list 2xx")
PLACE = SourceLine("jobs/views.py", 31, "jobs/views.py:31 in _job_row")
OLD = Line(queries=3, shapes=(ShapeCount("SELECT … FROM picture WHERE id IN (...)", 1),))
NEW = Line(queries=22, similar=19, shapes=(ShapeCount("SELECT … FROM picture", 20, PLACE),))
ABOVE = compare(LockFile(run="r", lines={LIST: OLD}), {LIST: NEW}, "r")


def test_a_failure_names_view_counts_shapes_line_and_the_next_step() -> None:
    assert render(
        ABOVE, "querybudget.toml", mode="check", rewritten=False, command="run {mode}"
    ) == (
        "1 view or test is above the line in querybudget.toml:\n"
        "\n"
        "GET jobs:list 2xx: 3 → 22 queries, 0 → 19 queries that repeat a shape\n"
        "  0 → 20 x  SELECT … FROM picture\n"
        "        jobs/views.py:31 in _job_row\n"
        "  1 → 0 x  SELECT … FROM picture WHERE id IN (...)\n"
        "\n"
        "Next: repair them; or, if every query is needed, run record and commit querybudget.toml.\n"
        "See docs/reference/messages.rst#above-its-line"
    )


def test_better_unrecorded_and_left_over_are_told_without_failing() -> None:
    file = LockFile(run="r", lines={LIST: NEW, Key("views", "old"): OLD})
    comparison = compare(file, {LIST: OLD, Key("views", "new"): OLD}, "r")
    assert render(
        comparison, "f", mode="check", rewritten=False, command="run {mode}"
    ).splitlines() == [
        "1 view or test got better:",
        "  GET jobs:list 2xx: 22 → 3 queries, 19 → 0 queries that repeat a shape",
        "1 without a line: new",
        "1 left over: old",
        "To lower and prune lines: run tighten. To add lines: run record.",
    ]


def test_rows_are_told_where_both_know_them() -> None:
    file = LockFile(run="r", lines={LIST: Line(queries=3, rows=20), Key("views", "x"): OLD})
    comparison = compare(file, {LIST: Line(queries=3, rows=5000), Key("views", "x"): OLD}, "r")
    text = render(comparison, "f", mode="check", rewritten=False, command="run {mode}")
    assert "GET jobs:list 2xx: 20 → 5000 rows\n" in text
    assert "1 not judged by rows, which this database does not tell: x" in text


def test_many_names_are_cut() -> None:
    file = LockFile(run="r", lines={Key("views", f"v{number}"): OLD for number in range(10)})
    text = render(
        compare(file, {LIST: OLD}, "r"), "f", mode="check", rewritten=False, command="run {mode}"
    )
    assert "10 left over: v0; v1; v2; v3; v4; v5; v6; v7; and 2 more" in text


def test_nothing_to_say() -> None:
    same = compare(LockFile(run="r", lines={LIST: OLD}), {LIST: OLD}, "r")
    assert render(same, "f", mode="check", rewritten=False, command="run {mode}") == ""


def test_an_annotation_stands_at_the_line_and_is_escaped() -> None:
    (annotation,) = github_annotations(ABOVE)
    assert annotation == (
        "::error title=GET jobs%3Alist 2xx%3A 3 → 22 queries%2C 0 → 19 queries that repeat a shape,"
        "file=jobs/views.py,line=31::0 → 20 times SELECT … FROM picture"
        "%0ASee docs/reference/messages.rst#above-its-line"
    )
    nowhere = Line(queries=4, shapes=(ShapeCount("SELECT 100%\r\n", 4),))
    comparison = compare(LockFile(lines={LIST: OLD}), {LIST: nowhere}, "")
    (annotation,) = github_annotations(comparison)
    assert "::0 → 4 times SELECT 100%25%0D%0A%0ASee docs/" in annotation
    assert "file=" not in annotation
