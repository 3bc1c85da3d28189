"""The merge of three versions by views: alone, and as git's merge driver."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_querybudget.__main__ import main
from django_querybudget.exceptions import LockFileError
from django_querybudget.ratchet import lockfile
from django_querybudget.ratchet.lines import Key, Line, ShapeCount
from django_querybudget.ratchet.lockfile import LockFile, parsed, rendered
from django_querybudget.ratchet.loops import LoopCount
from django_querybudget.ratchet.merging import merged_text
from tests.ratchet.repository import Repository, lines_of

pytestmark = pytest.mark.once


def merged(base: LockFile, ours: LockFile, theirs: LockFile) -> LockFile:
    text, conflicts = merged_text(base, ours, theirs)
    assert not conflicts
    return parsed("merged", text)


NUMBERS = st.dictionaries(st.sampled_from("abcd"), st.integers(1, 3))


@given(NUMBERS, NUMBERS, NUMBERS)
def test_each_view_is_merged_by_itself(
    base: dict[str, int], ours: dict[str, int], theirs: dict[str, int]
) -> None:
    files = [LockFile(lines=lines_of(**numbers)) for numbers in (base, ours, theirs)]
    text, conflicts = merged_text(*files)
    expected: dict[str, int | None] = {}
    clashes = []
    for name in "abcd":
        old, left, right = (numbers.get(name) for numbers in (base, ours, theirs))
        if left != right and old not in (left, right):
            clashes.append(name)
        else:
            expected[name] = left if right == old else right
    assert conflicts == bool(clashes)
    assert text.count("<<<<<<< ours\n") == text.count(">>>>>>> theirs\n") == len(clashes)
    kept = {name: number for name, number in expected.items() if number is not None}
    for taken, side in (("ours", ours), ("theirs", theirs)):
        wanted = {**kept, **{name: side[name] for name in clashes if name in side}}
        assert resolved(text, taken) == rendered(LockFile(lines=lines_of(**wanted)))
    if clashes:
        with pytest.raises(LockFileError, match="markers of a merge"):
            parsed("merged", text)


def resolved(text: str, taken: str) -> str:
    """Take one side of each conflict, and no more of it than it wraps."""
    kept, side = [], ""
    for line in text.splitlines(keepends=True):
        if line == "<<<<<<< ours\n":
            side = "ours"
        elif line == "=======\n":
            side = "theirs"
        elif line == ">>>>>>> theirs\n":
            side = ""
        elif side in ("", taken):
            kept.append(line)
    return "".join(kept)


def test_of_how_the_tests_were_chosen_one_side_may_change() -> None:
    base, other = LockFile(run="pytest"), LockFile(run="pytest jobs")
    assert merged(base, other, base).run == merged(base, base, other).run == "pytest jobs"
    text, conflicts = merged_text(base, other, LockFile(run="pytest shops"))
    assert conflicts
    assert (
        '<<<<<<< ours\nrun = "pytest jobs"\n=======\nrun = "pytest shops"\n>>>>>>> theirs\n' in text
    )


def test_a_loop_that_moved_with_its_file_is_no_change() -> None:
    def file(number: int, queries: int = 20) -> LockFile:
        loop = LoopCount(queries=queries, what="x", at=f"a.py:{number} in f", write_at="a.py:1")
        return LockFile(lines={Key("views", "a"): Line(queries=queries, loops=(loop,))})

    assert merged(file(1), file(2), file(3)) == file(2)
    assert merged(file(1), file(2), file(3, 30)) == file(3, 30)
    assert merged(file(1), file(2, 30), file(3)) == file(2, 30)
    assert merged_text(file(1), file(2, 30), file(3, 31))[1]


@pytest.fixture
def three(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / name for name in ("base", "ours", "theirs")]
    for path, numbers in zip(paths, ({"a": 1}, {"a": 1, "b": 2}, {"a": 1, "c": 3}), strict=True):
        lockfile.write(path, LockFile(run="pytest", lines=lines_of(**numbers)))
    return paths


def merge(three: list[Path]) -> int:
    return main(["merge", *map(str, three)])


def test_the_result_is_written_into_ours(
    three: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert merge(three) == 0
    assert lockfile.read(three[1]).lines == lines_of(a=1, b=2, c=3)
    assert capsys.readouterr() == ("", "")


def test_lines_that_end_as_on_windows_stay_so(three: list[Path]) -> None:
    three[1].write_bytes(three[1].read_bytes().replace(b"\n", b"\r\n"))
    assert merge(three) == 0
    written = three[1].read_bytes()
    assert written.count(b"\n") == written.count(b"\r\n") > 0
    assert lockfile.read(three[1]).lines == lines_of(a=1, b=2, c=3)


def test_without_a_common_version_both_are_new(three: list[Path]) -> None:
    three[0].write_bytes(b"")
    assert merge(three) == 0
    assert lockfile.read(three[1]).lines == lines_of(a=1, b=2, c=3)


@pytest.mark.parametrize(
    ("which", "text", "words"),
    [
        (2, "format = 99\n", "theirs, line 1: format 99 was recorded by a newer"),
        (1, "", "ours: format is None"),
        (0, "<<<<<<< x\n", "base, line 1: it has markers of a merge"),
        (2, "\ufeffformat = 2\n", "theirs, line 1: it begins with a byte order mark"),
        (2, "[", "theirs: it is not TOML"),
    ],
)
def test_what_cannot_be_read_is_merged_as_text(
    three: list[Path],
    which: int,
    text: str,
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    three[which].write_text(text)
    before = three[1].read_text()
    as_git = subprocess.run(
        [*"git merge-file -p -L ours -L base -L theirs".split(), *map(str, _ours_first(three))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert merge(three) == (1 if as_git.returncode else 0)
    assert three[1].read_text() == as_git.stdout
    assert before.strip() in as_git.stdout.replace("<<<<<<< ours\n", "") or which == 0
    assert f"Merged as text, for a version cannot be read: {three[0].parent}" in (
        told := capsys.readouterr().err
    )
    assert words in told


def _ours_first(three: list[Path]) -> list[Path]:
    return [three[1], three[0], three[2]]


def test_what_is_no_text_is_left_and_said(
    three: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    before = three[1].read_bytes()
    three[2].write_bytes(b"\xff\x00\xfe")
    assert merge(three) == 1
    assert capsys.readouterr().err.startswith("Not merged: ")
    three[2].unlink()
    assert merge(three) == 1
    assert "Not merged: " in capsys.readouterr().err
    assert three[1].read_bytes() == before


def shaped(**queries: int) -> dict[Key, Line]:
    return {
        Key("views", name): Line(
            queries=number, shapes=(ShapeCount(f"SELECT {number}", number),), loops=()
        )
        for name, number in queries.items()
    }


BASE = shaped(a=1, b=1, c=1, y=1, z=1)
ADJACENT = (shaped(a=1, b=1, c=1, m=2, y=1, z=1), shaped(a=1, b=1, c=1, n=3, y=1, z=1))


def merge_branches(
    repository: Repository, ours: dict[Key, Line], theirs: dict[Key, Line], status: int = 0
) -> None:
    repository.commit(BASE)
    repository.git("checkout", "--quiet", "-b", "theirs")
    repository.commit(theirs)
    repository.git("checkout", "--quiet", "main")
    repository.commit(ours)
    repository.git("merge", "--no-edit", "theirs", status=status)


def test_git_alone_merges_edits_of_neighbouring_views(repository: Repository) -> None:
    """The blank line and the head of each view keep two edits apart: no driver is needed."""
    ours, theirs = shaped(a=2, b=1, c=1, y=1, z=1), shaped(a=1, b=2, c=1, y=1)
    merge_branches(repository, ours, theirs)
    assert lockfile.read(repository.file).lines == shaped(a=2, b=2, c=1, y=1)


def test_git_alone_does_not_merge_two_new_views_at_one_place(repository: Repository) -> None:
    merge_branches(repository, *ADJACENT, status=1)
    assert "<<<<<<< HEAD" in repository.file.read_text()


def install(repository: Repository) -> None:
    """As docs/how-to/budgets-in-ci.rst says."""
    (repository.folder / ".gitattributes").write_text("querybudget.toml merge=querybudget\n")
    driver = f"{sys.executable} -m django_querybudget merge %O %A %B"
    repository.git("config", "merge.querybudget.driver", driver)
    repository.git("add", ".gitattributes")
    repository.git("commit", "--quiet", "--message=driver")


def test_with_the_driver_git_merges_them_and_marks_one_view_where_both_changed_it(
    repository: Repository,
) -> None:
    install(repository)
    merge_branches(repository, *ADJACENT)
    assert lockfile.read(repository.file).lines == {**ADJACENT[0], **ADJACENT[1]}
    assert repository.git("status", "--porcelain") == ""
    repository.git("checkout", "--quiet", "-b", "other")
    repository.commit(shaped(a=1, b=7, c=1, d=1))
    repository.git("checkout", "--quiet", "main")
    repository.commit(shaped(a=1, b=8, c=1, e=1))
    assert "CONFLICT" in repository.git("merge", "--no-edit", "other", status=1)
    text = repository.file.read_text()
    assert text.count("<<<<<<<") == 1
    assert resolved(text, "theirs") == rendered(
        LockFile(run="pytest", lines=shaped(a=1, b=7, c=1, d=1, e=1))
    )
