"""``fix`` from its start to its end, on a small project that has what is hard to patch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from django_querybudget.patches.fixing import Wanted, fix
from django_querybudget.patches.rehearsals import Suite

from .small import write_small

pytestmark = pytest.mark.once


class Told:
    """What ``fix`` said, and how it ended."""

    def __init__(self, wanted: Wanted) -> None:
        self.out: list[str] = []
        self.err: list[str] = []
        suite = Suite("test", (), (str(Path("manage.py").resolve()),))
        self.status = fix(suite, wanted, out=self.out.append, err=self.err.append)

    @property
    def text(self) -> str:
        return "\n".join(self.out)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "small"
    write_small(folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "small_settings")
    # This process has modules of the repository, which a person's has not.
    paths = [str(Path(__file__).parents[2]), str(tmp_path)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each])
    return folder


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments],  # noqa: S607
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return done.stdout.decode()


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".git" not in path.parts
    }


def test_what_is_proved_is_a_diff_and_all_else_is_named(project: Path) -> None:
    before = _contents(project)
    told = Told(Wanted(diff=str(project.parent / "found.diff")))
    assert told.status == 0, told.err
    assert _contents(project) == before
    # Three things that a line of a file with tabs, Windows' line ends and an encoding does.
    assert "GET odd 13 → 1 query" in told.text
    assert "1 that no two runs answer alike" not in told.text  # An id of a run is no difference.
    assert "GET read 5 → 1 query, 7 responses identical, 1 test passes" in told.text
    # What no test reads is taken out; what one caller of two reads stays.
    assert "Book.author: a relation is loaded that nobody reads, at shop/views.py:27" in told.text
    assert "GET vain 3 → 2 queries" in told.text
    assert told.text.count("Proved: ") == 4
    # The others are named with the reason.
    assert (
        "does not stand at shop/views.py:13: it is built elsewhere, or by generated code"
        in told.text
    )
    assert "outside.py is not in the project" in told.text
    assert told.text.count("Not written: ") == 2
    assert "Nothing of the project was changed" in told.text
    _git(project, "apply", "--whitespace=nowarn", str(project.parent / "found.diff"))
    odd = (project / "shop/odd.py").read_bytes()
    lines = odd.decode("latin-1").split("\r\n")
    assert not any("\n" in line or line.startswith(" ") for line in lines)
    assert {*before["shop/odd.py"].split(b"\r\n")} - {*odd.split(b"\r\n")} == {
        b'\tfor book in Book.objects.order_by("pk"):  # f\xfcr alle',
        before["shop/odd.py"].split(b"\r\n")[-3],
    }
    assert "für alle".encode("latin-1") in odd
    assert b'.select_related("author")' in odd
    assert b"book.reviews_count, book.tags_count" in odd
    assert b'\t\ttags_count=Count("tags", distinct=True),\r\n' in odd
    views = (project / "shop/views.py").read_text()
    assert '    books = Book.objects.prefetch_related("reviews")\n' in views
    assert views.count('select_related("author")') == 2
    assert {*_git(project, "diff", "--name-only").split()} == {"shop/odd.py", "shop/views.py"}


def test_what_is_red_before_is_left_out_and_named(project: Path) -> None:
    tests = project / "shop/tests.py"
    red = """
    def test_red(self):
        self.assertEqual(self.client.get("/read").status_code, 201)
"""
    tests.write_text(tests.read_text() + red)
    told = Told(Wanted())
    assert told.status == 0, told.err
    for proved in ("GET odd 13 → 1 query", "GET read 5 → 1 query", "GET vain 3 → 2 queries"):
        assert f"{proved}, 7 responses identical, 1 test passes" in told.text
    assert (
        "1 test that fails before anything is patched proves nothing. Files that git ignores are "
        "in the copy only if they are small.\n"
        "  shop.tests.Tests.test_red: AssertionError: 200 != 201"
    ) in told.text


def test_what_only_red_tests_show_is_not_proved(project: Path) -> None:
    tests = project / "shop/tests.py"
    text = tests.read_text().replace('"read", "vain", ', "")
    red = """
    def test_red(self):
        self.client.get("/read")
        self.client.get("/vain")
        self.fail("as always")
"""
    tests.write_text(text + red)
    told = Told(Wanted())
    assert told.status == 0, told.err
    assert "GET odd 13 → 1 query" in told.text
    assert "GET read" not in told.text
    assert "GET vain" not in told.text
    assert "only tests that fail by themselves show it" in told.text


def test_red_tests_prove_nothing(project: Path) -> None:
    tests = project / "shop/tests.py"
    text = tests.read_text()
    tests.write_text(text.replace("200)", "201)"))
    told = Told(Wanted(apply=True))
    assert told.status == 2
    assert "The tests fail before anything is patched" in told.err[0]
    assert "shop.tests.Tests.test_all: AssertionError: 200 != 201" in told.err[0]
    assert _git(project, "diff", "--name-only").split() == ["shop/tests.py"]


def test_a_time_limit_before_the_first_run_says_nothing_of_loops(project: Path) -> None:
    told = Told(Wanted(seconds=0.01))
    assert told.status == 0
    assert "The time limit came before the first run of the tests ended" in told.text
    assert "No test shows" not in told.text
