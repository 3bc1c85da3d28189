"""querybudget.toml: what is written is read again; what is broken is named and left."""

from __future__ import annotations

import os
import stat
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_querybudget.exceptions import LockFileError
from django_querybudget.ratchet.lines import Key, Line, ShapeCount
from django_querybudget.ratchet.lockfile import LockFile, read, rendered, write

pytestmark = pytest.mark.once

LINE = Line(queries=3, duplicates=1, similar=2, shapes=(ShapeCount('SELECT "a" … \\ b', 3),))
FILE = LockFile(
    run="pytest tests",
    lines={
        Key("views", "POST jobs:list 2xx"): LINE,
        Key("tests", 't.py::test["a\n]'): Line(queries=0),
    },
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "querybudget.toml"


def test_what_is_written_is_read_again(path: Path) -> None:
    write(path, FILE)
    assert read(path) == FILE


def test_it_is_sorted_and_the_same_every_time(path: Path) -> None:
    names = [Key("views", "b"), Key("tests", "a"), Key("views", "a")]
    write(path, LockFile(lines=dict.fromkeys(names, LINE)))
    text = path.read_text()
    write(path, LockFile(lines=dict.fromkeys(reversed(names), LINE)))
    assert path.read_text() == text
    headers = [line for line in text.splitlines() if line.startswith("[")]
    assert headers == ['[views."a"]', '[views."b"]', '[tests."a"]']
    assert text.isprintable() or all(each.isprintable() or each == "\n" for each in text)


@given(name=st.text(st.characters(codec="utf-8")), run=st.text(st.characters(codec="utf-8")))
def test_any_name_is_written_as_toml(name: str, run: str) -> None:
    data = tomllib.loads(rendered(LockFile(run=run, lines={Key("views", name): LINE})))
    assert data["run"] == run
    assert list(data["views"]) == [name]


def test_a_line_without_shapes_has_no_list_of_them(path: Path) -> None:
    write(path, LockFile(lines={Key("views", "a"): Line(queries=0)}))
    assert "shapes" not in path.read_text()


def test_rows_are_written_where_they_are_known(path: Path) -> None:
    file = LockFile(
        lines={Key("views", "a"): Line(queries=1, rows=0), Key("views", "b"): Line(queries=1)}
    )
    write(path, file)
    assert path.read_text().count("rows = ") == 1
    assert read(path) == file
    assert file.has_rows
    assert not FILE.has_rows


def test_a_file_of_the_first_format_is_read_and_written_as_the_second(path: Path) -> None:
    path.write_text(GOOD)
    file = read(path)
    assert [line.rows for line in file.lines.values()] == [None]
    write(path, file)
    assert "\nformat = 2\n" in path.read_text()
    assert read(path) == file


def test_no_file_is_an_empty_one(path: Path) -> None:
    assert read(path) == LockFile()


GOOD = """\
format = 1
run = "pytest"

[views."GET a 2xx"]
queries = 1
duplicates = 0
similar = 0
shapes = ["1 x SELECT a"]
"""
TABLE = GOOD[GOOD.index("[views") : -1]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[views.", "[views", "it is not TOML: .*line 4"),
        ("format = 1", "format = 'one'", "line 1: format is 'one'"),
        ("format = 1\n", "", "format is None"),
        ("format = 1", "format = 0", "line 1: format is 0; it is the number 2"),
        ("format = 1", "\ufeffformat = 1", "line 1: it begins with a byte order mark"),
        ("queries = 1", f"queries = {'1' * 5001}", "it is not TOML: .*digits"),
        ("queries = 1", f"queries = {'[' * 5000}{']' * 5000}", "it is not TOML: .*recursion"),
        (
            "queries = 1",
            "<<<<<<< HEAD\nqueries = 1\n=======\nqueries = 2\n>>>>>>> theirs",
            "line 5: it has markers of a merge .*git checkout --ours",
        ),
        ("format = 1", "||||||| base\nformat = 1", "line 1: it has markers of a merge"),
        ("format = 1", "format = 3", "line 1: format 3 was recorded by a newer django-querybudget"),
        ('"pytest"', "3", "line 2: run is 3"),
        ("similar = 0", "similar = 0\nrows = -1", "line 8: rows of 'GET a 2xx' is -1"),
        ("queries = 1", "queries = -1", "line 5: queries of 'GET a 2xx' is -1"),
        ("queries = 1", "queries = true", "line 5: queries of 'GET a 2xx' is True"),
        ("duplicates = 0\n", "", "line 4: duplicates of 'GET a 2xx' is missing"),
        (
            "similar = 0",
            "similar = 0\nsimilr = 0",
            "line 8: 'similr' is unknown; the keys are .*, loops",
        ),
        ("[views.", "[viewz.", "line 4: 'viewz' is unknown; the tables are views and tests"),
        ('["1 x SELECT a"]', '["SELECT a"]', "line 8: the shape 'SELECT a' is not of the form"),
        ('["1 x SELECT a"]', '"1 x SELECT a"', "line 8: shapes of 'GET a 2xx' is"),
        ('["1 x SELECT a"]', "[]\nloops = 3", "line 9: loops of 'GET a 2xx' is 3"),
        ('["1 x SELECT a"]', "[3]", "line 8: the shape 3 is not of the form"),
        (TABLE, "views = 3", "line 4: 'views' is unknown; the tables are views and tests"),
        (TABLE, '[views]\n"GET a 2xx" = 3', "line 5: 'GET a 2xx' is 3; it is a table"),
        ("format = 1", "\n<<<<<<< HEAD\nformat = 1", "line 2: it has markers of a merge"),
        # A comment that names the view, and another view that has what this one lacks.
        (
            f'run = "pytest"\n\n{TABLE}',
            f'# "GET a 2xx"\n\n{TABLE}\na = 1',
            "line 9: 'a' is unknown",
        ),
        (
            'duplicates = 0\nsimilar = 0\nshapes = ["1 x SELECT a"]\n',
            'similar = 0\n[views."b"]\nqueries = 0\nduplicates = 0\nsimilar = 0\n',
            "line 4: duplicates of 'GET a 2xx' is missing",
        ),
    ],
)
def test_a_broken_file_is_named_with_its_line_and_left_as_it_is(
    path: Path, old: str, new: str, words: str
) -> None:
    assert GOOD.count(old) == 1
    broken = GOOD.replace(old, new)
    path.write_text(broken, encoding="utf-8")
    with pytest.raises(LockFileError, match=words) as raised:
        read(path)
    assert str(path) in str(raised.value)
    assert ". It was left as it is." in str(raised.value)
    assert path.read_text(encoding="utf-8") == broken


def test_what_is_no_text_is_named(path: Path) -> None:
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(LockFileError, match="it is not UTF-8"):
        read(path)


def test_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(LockFileError, match="it cannot be read"):
        read(tmp_path)


def test_a_write_that_is_cut_short_leaves_the_old_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(path, FILE)
    before = path.read_bytes()

    def killed(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        write(path, LockFile())
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_all_of_it_is_on_the_disk_before_it_takes_the_place(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    sync = os.fsync

    def noting(descriptor: int) -> None:
        sizes.append(os.fstat(descriptor).st_size)
        assert not path.exists()
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", noting)
    write(path, FILE)
    assert sizes == [path.stat().st_size]


def test_who_reads_meanwhile_has_the_old_file_whole(path: Path) -> None:
    """It is replaced, never written in place."""
    write(path, FILE)
    before = path.read_bytes()
    with path.open("rb") as reader:
        write(path, LockFile(run="another"))
        assert reader.read() == before
    assert path.read_bytes() != before


def test_the_files_mode_is_kept_and_a_new_one_can_be_read(path: Path) -> None:
    write(path, FILE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    path.chmod(0o664)
    write(path, FILE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o664
