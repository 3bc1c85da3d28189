"""Loops: of a log, in the file, and what a changed line says of them."""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path

import pytest

from django_querybudget import capture_queries
from django_querybudget.capture import Recording
from django_querybudget.exceptions import LockFileError
from django_querybudget.nplusone import Cause, Finding, find_nplusone
from django_querybudget.ratchet import lockfile
from django_querybudget.ratchet.comparison import Change, compare
from django_querybudget.ratchet.lines import Key, Line
from django_querybudget.ratchet.lockfile import LockFile
from django_querybudget.ratchet.loops import MOST_CHARACTERS, MOST_LOOPS, LoopCount, loops_of
from django_querybudget.ratchet.text import change_lines
from jobs.models import Industry, Subcategory

pytestmark = pytest.mark.once

KEY = Key("views", "GET jobs:list 2xx")
LOOP = LoopCount(
    queries=20,
    what="load Job.client row by row",
    at="jobs/views.py:66 in _job_row",
    write='Job.objects.select_related("client")',
    write_at="jobs/views.py:40 in job_list",
)
FAST = Line(queries=3, loops=())
SLOW = Line(queries=22, loops=(LOOP,))


def names() -> list[str]:
    found = []
    for row in Subcategory.objects.all():
        found.append(row.industry.name)  # noqa: PERF401 - its own frame, before Python 3.12
    return found


@pytest.mark.django_db
def test_a_log_has_its_loops_with_the_line_and_what_to_write() -> None:
    Subcategory.objects.all().delete()
    industry = Industry.objects.create(name="any")
    Subcategory.objects.bulk_create(
        Subcategory(name=f"{number}", industry=industry) for number in range(4)
    )
    with capture_queries() as log:
        names()
    start = inspect.getsourcelines(names)[1]
    file = "tests/ratchet/test_loops.py"
    assert Line.of(log, find_nplusone(log)).loops == (
        LoopCount(
            queries=4,
            what="load Subcategory.industry row by row",
            at=f"{file}:{start + 3} in names",
            write='Subcategory.objects.select_related("industry")',
            write_at=f"{file}:{start + 2} in names",
        ),
    )


def test_nobody_looked_is_not_none(tmp_path: Path) -> None:
    unknown = Line.of(Recording(causes=False).log)
    assert unknown.loops is None
    assert Line.of(Recording(causes=True).log).loops == ()
    path = tmp_path / "querybudget.toml"
    file = LockFile(lines={Key("views", "a"): unknown, Key("views", "b"): FAST, KEY: SLOW})
    lockfile.write(path, file)
    assert lockfile.read(path) == file
    assert path.read_text().count("loops = ") == 2
    assert path.read_text().count("loops = []\n") == 1


def test_a_control_character_is_written_so_that_it_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "querybudget.toml"
    file = LockFile(lines={KEY: replace(SLOW, loops=(replace(LOOP, what="a\x7fb\x00"),))})
    lockfile.write(path, file)
    assert 'what = "a\\u007Fb\\u0000"' in path.read_text()
    assert lockfile.read(path) == file


def test_they_are_written_on_one_line_each(tmp_path: Path) -> None:
    path = tmp_path / "querybudget.toml"
    lockfile.write(path, LockFile(lines={KEY: SLOW}))
    assert path.read_text().endswith(
        "loops = [\n"
        '    { queries = 20, what = "load Job.client row by row", '
        'at = "jobs/views.py:66 in _job_row", '
        'write = "Job.objects.select_related(\\"client\\")", '
        'write_at = "jobs/views.py:40 in job_list" },\n'
        "]\n"
    )


TEXT = lockfile.rendered(LockFile(lines={KEY: SLOW}))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("queries = 20", "queries = -1", "line 11: queries of a loop of .* is -1; it has the num"),
        ("queries = 20", "queries = true", "queries of a loop of .* is True"),
        ("queries = 20, ", "", "line 11: queries of a loop of .* is missing"),
        ('what = "load Job.client row by row", ', "", "what of a loop of .* is missing"),
        ("what = ", "whatever = ", "whatever of a loop of .* is unknown"),
        ('at = "jobs/views.py:66 in _job_row"', "at = 3", "at of a loop of .* is 3"),
        ("    { queries", '    "x",\n    { queries', "line 11: the loop 'x' is not of the form"),
    ],
)
def test_a_loop_that_is_none_is_named(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert TEXT.count(old) == 1
    path = tmp_path / "querybudget.toml"
    path.write_text(TEXT.replace(old, new))
    with pytest.raises(LockFileError, match=words):
        lockfile.read(path)


def test_a_line_crosses_processes_with_its_loops() -> None:
    for line in (FAST, SLOW, Line(queries=0)):
        assert Line.from_data(line.as_data()) == line


def test_a_changed_line_says_which_loops_came_with_what_to_write() -> None:
    change = Change(key=KEY, old=FAST, new=SLOW)
    assert list(change_lines(change)) == [
        "GET jobs:list 2xx: 3 → 22 queries",
        "  N+1: 0 → 20 queries load Job.client row by row",
        "        at jobs/views.py:66 in _job_row",
        '        write at jobs/views.py:40 in job_list: Job.objects.select_related("client")',
    ]
    back = Change(key=KEY, old=SLOW, new=FAST)
    assert list(change_lines(back))[1:] == [
        "  N+1: 20 → 0 queries load Job.client row by row",
        "        at jobs/views.py:66 in _job_row",
    ]


def test_what_the_old_line_does_not_know_is_not_said_to_have_come() -> None:
    change = Change(key=KEY, old=Line(queries=3), new=SLOW)
    assert change.loops_came == [(LOOP, None)]
    assert "  N+1: 20 queries load Job.client row by row" in list(change_lines(change))
    assert Change(key=KEY, old=SLOW, new=Line(queries=3)).loops_went == []
    assert not Change(key=KEY, old=Line(queries=22), new=SLOW).is_reshaped


def test_a_loop_that_stands_elsewhere_in_its_function_is_the_same_one() -> None:
    moved = LoopCount(**{**vars(LOOP), "at": "jobs/views.py:99 in _job_row"})
    assert not Change(key=KEY, old=SLOW, new=Line(queries=22, loops=(moved,))).is_reshaped
    in_a_template = LoopCount(queries=3, what="x", at="a.html:3 (jobs/views.py:9)")
    assert in_a_template.standing == ("x", "a.html (jobs/views.py)")
    other = LoopCount(**{**vars(LOOP), "at": "jobs/other.py:66 in _job_row"})
    change = Change(key=KEY, old=SLOW, new=Line(queries=22, loops=(other,)))
    assert [(loop.at, before) for loop, before in change.loops_came] == [(other.at, 0)]
    assert change.loops_went == [(LOOP, 0)]
    comparison = compare(LockFile(lines={KEY: change.old}), {KEY: change.new}, "")
    assert comparison.reshaped == [change]
    assert comparison.above == comparison.better == []


def test_what_is_kept_of_a_log_is_bounded() -> None:
    finding = Finding(
        cause=Cause.LOOKUP,
        relation="",
        operation="get",
        origin=None,
        count=3,
        saves=0,
        fix=None,
        use="x" * 10_000,
        alias="default",
        fingerprint="",
    )
    loops = loops_of([finding] * 300)
    assert len(loops) == MOST_LOOPS
    assert len(loops[0].read) == MOST_CHARACTERS
