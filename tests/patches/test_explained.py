"""``fix`` leaves what it proved to ``explain`` and to coding agents, where a run was recorded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from django_querybudget.patches.fixing import Wanted
from django_querybudget.ratchet import last_fix

from .project import contents, git
from .small import Told

pytestmark = pytest.mark.once


def manage(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", "querybudget", *arguments],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


def findings_of(view: str) -> list[dict[str, Any]]:
    return list(json.loads(manage("explain", view, "--json"))["findings"]["findings"])


def test_explain_has_the_patch_that_was_proved(project: Path) -> None:
    manage("record", "--", "test")
    before = contents(project)
    told = Told(Wanted())
    assert told.status == 0, told.err
    left = set(contents(project)) - set(before)
    assert left == {".querybudget/last-fix.json"}
    assert git(project, "status", "--porcelain").split() == ["??", "querybudget.toml"]

    (read,) = findings_of("read")
    assert read["proof"] == "GET read 5 → 1 query, 7 responses identical, 1 test passes"
    assert read["unproved"] == ""
    assert (
        "+    names = [book.author.name for book in Book.objects.select_related(" in read["patch"]
    )
    # Each finding has its own patch alone.
    assert read["patch"].count("\n+    ") == 1
    (elsewhere,) = findings_of("elsewhere")
    assert elsewhere["patch"] is None
    assert "is not in the project" in elsewhere["unproved"]
    # Three findings of a file in another encoding, which one patch mends.
    odd = findings_of("odd")
    assert [each["patch"] for each in odd] == [None] * 3
    assert all(each["proof"].startswith("GET odd 13 → 1 query") for each in odd)

    path = project.parent / "one.diff"
    path.write_text(read["patch"], encoding="utf-8", newline="")
    git(project, "apply", str(path))
    (read,) = findings_of("read")
    assert (read["patch"], read["proof"]) == (None, None)
    assert read["unproved"].startswith("Changed since the last fix, ")
    assert read["unproved"].endswith(": shop/views.py. Run it again.")


def test_where_it_cannot_be_left_that_is_said(project: Path) -> None:
    manage("record", "--", "test")
    last_fix.path_beside(Path("querybudget.toml")).mkdir()
    told = Told(Wanted(seconds=0.2))
    assert told.status == 0
    (err,) = told.err
    assert err.startswith(".querybudget/last-fix.json cannot be written, for explain: ")
