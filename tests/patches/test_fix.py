"""``fix`` from its start to its end, on a small project that has what is hard to patch."""

from __future__ import annotations

from pathlib import Path

import pytest

from django_querybudget.patches.fixing import Wanted

from .project import contents, git
from .small import Told

pytestmark = pytest.mark.once


def test_what_is_proved_is_a_diff_and_all_else_is_named(project: Path) -> None:
    before = contents(project)
    told = Told(Wanted(diff=str(project.parent / "found.diff")))
    assert told.status == 0, told.err
    assert contents(project) == before
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
    git(project, "apply", "--whitespace=nowarn", str(project.parent / "found.diff"))
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
    assert {*git(project, "diff", "--name-only").split()} == {"shop/odd.py", "shop/views.py"}


def test_red_tests_prove_nothing(project: Path) -> None:
    tests = project / "shop/tests.py"
    text = tests.read_text()
    tests.write_text(text.replace("200)", "201)"))
    told = Told(Wanted(apply=True))
    assert told.status == 2
    assert "The tests fail before anything is patched" in told.err[0]
    assert "shop.tests.Tests.test_all: AssertionError: 200 != 201" in told.err[0]
    assert git(project, "diff", "--name-only").split() == ["shop/tests.py"]
