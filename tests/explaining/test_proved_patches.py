"""What the last ``fix`` proved of a finding is told with it, as long as the code is the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from django_querybudget.explaining.explanation import explanation
from django_querybudget.explaining.text import render
from django_querybudget.ratchet import last_fix
from django_querybudget.ratchet.last_fix import Attempt, digest_of, key_of

from .conftest import Ran
from .test_explanation import explained

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.urls("tests.explaining.views"),
    pytest.mark.usefixtures("rows"),
]

DIFF = "--- a/shop.py\n+++ b/shop.py\n@@ -1 +1 @@ GET a 3 → 1 query\n-old\n+new\n"
AT = "2026-11-28T01:00:00+00:00"


@pytest.fixture
def fixed(ran: Ran, tmp_path: Path) -> Callable[..., Path]:
    """Return a function that leaves what ``fix`` would of the one finding of ``jobs:names``."""

    def leave(**attempt: Any) -> Path:
        file = ran("/jobs/names/")
        (found,) = explained("jobs:names", file)["findings"]["findings"]
        place = f"{found['file']}:{found['line']}"
        (tmp_path / "shop.py").write_text("old\n")
        files = {"shop.py": digest_of(b"old\n")}
        one = {key_of(found["id"], place): Attempt(files=files, **attempt)}
        last_fix.write(last_fix.path_beside(file), at=AT, root=tmp_path, attempts=one)
        return file

    return leave


def told_of(file: Path) -> dict[str, Any]:
    told = explained("jobs:names", file)
    (found,) = told["findings"]["findings"]
    # A person is told the same.
    assert found["unproved"] in render(told)
    return {name: found[name] for name in ("patch", "proof", "unproved")}


def test_a_proved_patch_is_told_until_a_file_of_it_changes(
    fixed: Callable[..., Path], tmp_path: Path
) -> None:
    file = fixed(outcome="proved", patch=DIFF, proof="GET a 3 → 1 query")
    assert told_of(file) == {"patch": DIFF, "proof": "GET a 3 → 1 query", "unproved": ""}
    text = render(explanation("jobs:names", file))
    assert "Proved: GET a 3 → 1 query" in text
    assert "        +new\n" in text
    for change in ("old\n# and more\n", None):
        if change is None:
            (tmp_path / "shop.py").unlink()
        else:
            (tmp_path / "shop.py").write_text(change)
        assert told_of(file) == {
            "patch": None,
            "proof": None,
            "unproved": f"Changed since the last fix, {AT}: shop.py. Run it again.",
        }
    (tmp_path / "shop.py").write_text("old\n")
    assert told_of(file)["patch"] == DIFF


@pytest.mark.parametrize(
    ("attempt", "why"),
    [
        (
            {"outcome": "withdrawn", "reason": "tests.T.test_a fails: no"},
            "Its patch was withdrawn: tests.T.test_a fails: no.",
        ),
        (
            {"outcome": "not written", "reason": "it is a template"},
            "No patch was written: it is a template.",
        ),
        (
            {"outcome": "not tried"},
            "The time limit of the last fix came before its patch was tried.",
        ),
    ],
)
def test_why_there_is_no_patch_is_told(
    fixed: Callable[..., Path], attempt: dict[str, str], why: str
) -> None:
    assert told_of(fixed(**attempt)) == {"patch": None, "proof": None, "unproved": why}


def test_a_patch_that_no_json_can_hold_is_told_by_its_proof(fixed: Callable[..., Path]) -> None:
    told = told_of(fixed(outcome="proved", proof="GET a 3 → 1 query"))
    assert (told["patch"], told["proof"]) == (None, "GET a 3 → 1 query")
    assert "not UTF-8" in told["unproved"]


def test_a_loop_on_another_line_is_another_loop(ran: Ran, tmp_path: Path) -> None:
    file = ran("/jobs/two/")
    first, second = explained("jobs:two", file)["findings"]["findings"]
    assert second["id"] == f"{first['id']}-2"
    one = {
        key_of(first["id"], f"{second['file']}:{second['line']}"): Attempt(
            outcome="proved", patch=DIFF
        )
    }
    last_fix.write(last_fix.path_beside(file), at=AT, root=tmp_path, attempts=one)
    first, second = explained("jobs:two", file)["findings"]["findings"]
    assert (first["patch"], second["patch"]) == (None, DIFF)
    assert first["unproved"] == f"The last fix, {AT}, did not see it: run it again."


def test_without_a_fix_the_way_to_one_is_told(ran: Ran) -> None:
    assert told_of(ran("/jobs/names/")) == {
        "patch": None,
        "proof": None,
        "unproved": "No patch was tried: run pytest --querybudget-fix, or manage.py querybudget "
        "fix -- test.",
    }


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "cannot be read"),
        ("[]", "its format is None"),
        ('{"format": 9}', "its format is 9"),
        ('{"format": 1}', "is not what fix writes (KeyError: 'at')"),
        ('{"format": 1, "at": "", "root": "..", "attempts": []}', "AttributeError"),
        ('{"format": 1, "at": "", "root": 3, "attempts": {}}', "3 is no text"),
        ('{"format": 1, "at": "", "root": ".", "attempts": {"a": {"outcome": "x"}}}', "no outcome"),
    ],
)
def test_a_broken_file_of_the_last_fix_is_named_and_left(ran: Ran, text: str, problem: str) -> None:
    file = ran("/jobs/names/")
    path = last_fix.path_beside(file)
    path.write_text(text)
    why = told_of(file)["unproved"]
    assert str(path) in why
    assert problem in why
    assert "Delete it, and run fix again" in why
    assert path.read_text() == text


def test_the_file_has_a_bound(ran: Ran, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = last_fix.path_beside(ran("/jobs/names/"))
    monkeypatch.setattr(last_fix, "MOST_BYTES", 2000)
    attempts = {f"{n:08}:1": Attempt(outcome="proved", patch="x" * 400) for n in range(9)}
    last_fix.write(path, at=AT, root=tmp_path, attempts=attempts)
    assert path.stat().st_size < 2200
    kept = last_fix.read(path)
    assert kept is not None
    assert len(kept.attempts) == 4
    path.write_text(json.dumps({"format": 1, "x": "x" * 4000}))
    with pytest.raises(last_fix.LastRunError, match="is larger than"):
        last_fix.read(path)


def test_loops_are_told_with_their_lines(ran: Ran) -> None:
    told = explained("jobs:names", ran("/jobs/names/"))
    for part in ("recorded", "last_run"):
        ((loop,),) = [each["loops"] for each in told[part]["lines"]]
        assert loop["what"] == "load Subcategory.industry row by row"
        assert loop["queries"] == 4
        assert loop["write"] == 'Subcategory.objects.select_related("industry")'
    assert "    N+1: 4 queries load Subcategory.industry row by row, at tests/expl" in render(told)


def test_loops_that_nobody_looked_for_are_null(ran: Ran, settings: Any) -> None:
    settings.QUERYBUDGET = {**settings.QUERYBUDGET, "NPLUSONE": "off"}
    told = explained("jobs:names", ran("/jobs/names/"))
    assert [each["loops"] for each in told["recorded"]["lines"]] == [None]
