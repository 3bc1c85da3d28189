"""What a scratch copy holds of a project, and how a process is led to it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from django_querybudget.patches import copying
from django_querybudget.patches.comparing import Uncomparable, difference
from django_querybudget.patches.copying import ScratchCopy
from django_querybudget.patches.rehearsals import headline
from django_querybudget.patches.unwritable import CannotProve

from .project import commit


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    files = {
        "app.py": "known",
        "new.py": "not yet known",
        ".env": "ignored and small",
        "dump.sqlite3": "x" * 1_000_001,
        "collected/site.css": "ignored, and tests need it",
        "node_modules/large.js": "no",
        "env/pyvenv.cfg": "no",
        "env/lib/module.py": "no",
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "new.py").unlink()
    commit(folder, ignored="*.sqlite3\n.env\ncollected/\nnode_modules/\nenv/\n")
    (folder / "new.py").write_text("not yet known")
    (folder / "app.py").write_text("changed by a person")
    return folder


def _copied(copy: ScratchCopy) -> set[str]:
    return {str(each.relative_to(copy.tree)) for each in copy.tree.rglob("*") if each.is_file()}


def test_what_tests_need_is_copied_as_it_is_now(root: Path) -> None:
    copy = ScratchCopy(root)
    assert _copied(copy) == {"app.py", "new.py", ".env", "collected/site.css", ".gitignore"}
    assert copy.of("app.py") == b"changed by a person"
    copy.write({"app.py": b"patched"})
    assert (copy.tree / "app.py").read_bytes() == b"patched"
    copy.write({})
    assert (copy.tree / "app.py").read_bytes() == b"changed by a person"
    assert copy.moved(str(root / "manage.py")) == str(copy.tree / "manage.py")
    assert copy.moved("app.tests") == "app.tests"
    environment = copy.environment()
    assert "PYTEST_CURRENT_TEST" in os.environ
    assert "PYTEST_CURRENT_TEST" not in environment
    copy.remove()
    assert not copy.folder.exists()


def test_a_folder_that_is_too_large_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "_MOST_FILES", 2)
    with pytest.raises(CannotProve, match="is too large to be copied: more than 2 files"):
        ScratchCopy(root)


def test_a_copy_without_the_untracked_files_is_none(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Git lists them for as long as the file system takes: this one never answers in time."""
    real = shutil.which("git")
    program = tmp_path / "bin" / "git"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\ncase "$*" in *--others*) exit 1; esac\nexec {real} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(CannotProve, match=r"untracked files of .* 60 seconds"):
        ScratchCopy(root)


def test_answers_differ_only_where_two_runs_differ() -> None:
    first = b'{"id": 7, "at": "2026-03-01T10:59:59Z", "name": "Ann"}'
    second = b'{"id": 9, "at": "2026-03-01T10:59:59.5Z", "name": "Ann"}'
    later = b'{"id": 12, "at": "2026-03-01T11:00:00Z", "name": "Ann"}'
    assert difference(first, second, later) == ""
    assert "a word differs" in difference(first, second, later.replace(b"Ann", b"Bob"))
    assert difference(first, first, first) == ""
    assert "became" in difference(first, first, later)
    # Ids that begin elsewhere are still in the order of their rows.
    assert difference(b"1 2 3 of a b", b"4 5 6 of a b", b"7 8 9 of a b") == ""
    assert "another order" in difference(b"1 2 3 of a b", b"4 5 6 of a b", b"7 9 8 of a b")
    with pytest.raises(Uncomparable):
        difference(b"a b c", b"d e", b"a b")


@pytest.mark.parametrize(
    "keys",
    [
        (b"krista28", b"paula9", b"mrodriguez"),
        # The first two fall apart into as many numbers and words, the third does not.
        (b"a1b2c3d4e5f6g7h8i9jkl", b"q1w2e3r4t5y6u7i8o9pas", b"abcdefghij1234567890k"),
        (
            b"7f3bd2a1-0c4e-4b7d-9f1a-5e6d7c8b9a0f",
            b"8a4ce3b2-1d5f-5c8e-8a2b-6f7e8d9c0b1a",
            b"11111111-2222-4333-8444-555555555555",
        ),
    ],
)
def test_a_key_of_a_session_is_one_word(keys: tuple[bytes, bytes, bytes]) -> None:
    first, second, third = (b"200\nSet-Cookie: sessionid=%s; Path=/\n\nrows" % key for key in keys)
    assert difference(first, second, third) == ""
    assert "a word differs" in difference(first, second, third.replace(b"rows", b"none"))


def test_the_place_is_shown_that_no_run_without_the_patch_had() -> None:
    """Not the first that differs: a time of the head does so by itself."""
    first, second, third = (
        b"200\nExpires: Sat, 28 Nov 2026 06:0%d:50 GMT\n\n%s of 3 rows" % each
        for each in ((1, b"1"), (2, b"1"), (3, b"b"))
    )
    told = difference(first, second, third)
    assert told.startswith("a word differs that was the same in both runs without the patch: …")
    assert told.endswith("⏎⏎b of 3 rows…")
    longer = first.replace(b"06:01", b"06:03") + b" and more"
    assert difference(first, second, longer).endswith("of 3 rows and more…")


def test_a_failure_is_told_by_the_line_that_says_why() -> None:
    counted = "AssertionError: 2 != 9 : 2 queries executed, 9 expected\n1. SELECT 1\n2. SELECT 2"
    assert headline(counted).startswith("AssertionError: 2 != 9 : 2 queries executed, 9 expected (")
    assert "assertMaxQueries" in headline(counted)
    assert headline("def test():\n>       assert 1\nE       assert 2 == 1\n\nx.py:3") == (
        "assert 2 == 1"
    )
    assert headline("") == "it says nothing"
