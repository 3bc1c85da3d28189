"""Above, better, without a line, left over; and what becomes of the file."""

from __future__ import annotations

import pytest

from django_querybudget.ratchet.comparison import Change, compare, recorded, tightened
from django_querybudget.ratchet.lines import Key, Line, ShapeCount
from django_querybudget.ratchet.lockfile import LockFile

pytestmark = pytest.mark.once

SAME, ABOVE, BETTER, NEW, LEFT_OVER = (
    Key("views", name) for name in ("same", "above", "better", "new", "left over")
)
FILE = LockFile(
    run="pytest",
    lines={key: Line(queries=3) for key in (SAME, ABOVE, BETTER, LEFT_OVER)},
)
MEASURED: dict[Key, Line] = {
    SAME: Line(queries=3),
    ABOVE: Line(queries=4),
    BETTER: Line(queries=2),
    NEW: Line(queries=1),
}


def test_each_key_is_in_its_place() -> None:
    comparison = compare(FILE, MEASURED, "pytest")
    assert [change.key for change in comparison.above] == [ABOVE]
    assert [change.key for change in comparison.better] == [BETTER]
    assert comparison.unrecorded == [NEW]
    assert comparison.left_over == [LEFT_OVER]


def test_less_of_one_number_does_not_make_up_for_more_of_another() -> None:
    file = LockFile(lines={SAME: Line(queries=3, duplicates=0)})
    (change,) = compare(file, {SAME: Line(queries=2, duplicates=1)}, "").above
    assert change.new.duplicates == 1


def test_a_run_of_other_tests_finds_nothing_left_over_and_prunes_nothing() -> None:
    assert compare(FILE, MEASURED, "pytest jobs").left_over == []
    file = recorded(FILE, compare(FILE, MEASURED, "pytest jobs"), "pytest jobs")
    assert file.run == "pytest"
    assert file.lines == {**FILE.lines, **MEASURED}


def test_recording_takes_what_was_measured_up_and_down() -> None:
    comparison = compare(FILE, MEASURED, "pytest")
    assert recorded(FILE, comparison, "pytest") == LockFile(run="pytest", lines=MEASURED)
    assert recorded(LockFile(), comparison, "any") == LockFile(run="any", lines=MEASURED)


def test_where_tests_failed_nothing_is_pruned_and_what_they_measured_is_not_lowered() -> None:
    """A failing test may have measured less than it does when it works."""
    comparison = compare(FILE, MEASURED, "pytest", {BETTER: {"t"}, Key("views", "x"): {"t"}})
    assert comparison.better == []
    assert [change.key for change in comparison.above] == [ABOVE]
    file = recorded(FILE, comparison, "pytest", passed=False)
    assert file.lines == {**FILE.lines, **MEASURED, BETTER: Line(queries=3)}


ROWS = LockFile(
    run="pytest", lines={SAME: Line(queries=3, rows=10), BETTER: Line(queries=3, rows=5)}
)


def test_rows_are_judged_where_the_file_has_them() -> None:
    fetched = {SAME: Line(queries=3, rows=11), BETTER: Line(queries=2, rows=5)}
    comparison = compare(ROWS, fetched, "pytest")
    assert [change.key for change in comparison.above] == [SAME]
    assert recorded(ROWS, comparison, "pytest").lines == fetched
    # A file without them neither fails by them nor is given them unasked.
    without = LockFile(lines={SAME: Line(queries=3)})
    comparison = compare(without, fetched, "pytest")
    assert comparison.above == comparison.rows_unknown == []
    assert not recorded(without, comparison, "pytest").has_rows
    asked = compare(without, fetched, "pytest", with_rows=True)
    assert recorded(without, asked, "pytest").lines[SAME].rows == 11


def test_rows_that_this_database_does_not_tell_are_told_and_kept() -> None:
    unknown = {SAME: Line(queries=3), BETTER: Line(queries=2), NEW: Line(queries=1)}
    comparison = compare(ROWS, unknown, "pytest")
    assert comparison.rows_unknown == sorted(unknown)
    assert comparison.above == []
    for file in (recorded(ROWS, comparison, "pytest"), tightened(ROWS, comparison)):
        assert file.lines[SAME].rows == 10
        assert file.lines[BETTER] == Line(queries=2, rows=5)


def test_tightening_lowers_and_prunes_and_raises_nothing() -> None:
    assert tightened(FILE, compare(FILE, MEASURED, "pytest")).lines == {
        SAME: Line(queries=3),
        ABOVE: Line(queries=3),
        BETTER: Line(queries=2),
    }


def test_the_shapes_that_came_in_the_worst_first_and_those_that_went() -> None:
    old = Line(queries=4, shapes=(ShapeCount("a", 1), ShapeCount("b", 2), ShapeCount("gone", 1)))
    new = Line(queries=26, shapes=(ShapeCount("a", 1), ShapeCount("b", 5), ShapeCount("c", 20)))
    change = Change(key=ABOVE, old=old, new=new)
    assert change.came_in == [(ShapeCount("c", 20), 0), (ShapeCount("b", 5), 2)]
    assert change.went == [(ShapeCount("gone", 1), 0)]
