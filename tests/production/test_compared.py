"""Before and after, and what the tests do not see."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
from django.conf import settings
from django.core.cache import caches
from django.core.management import CommandError
from django.test.utils import override_settings

from django_querybudget.conf import conf
from django_querybudget.production.comparing import Comparison, Figures, deploy_of
from django_querybudget.production.process import ProcessRecord
from django_querybudget.production.reading import read_picture
from django_querybudget.production.record import LONGEST_NAME, series_key
from tests.production.conftest import SECTION
from tests.production.test_report import add, report

LINES = """format = 1
[views."GET jobs:list 2xx"]
queries = {}
duplicates = 0
similar = 0
[views."GET jobs:list 4xx"]
queries = 1
duplicates = 0
similar = 0
[views."GET reviews 2xx"]
queries = 2
duplicates = 0
similar = 0
[tests."tests/test_a.py::test_b"]
queries = 9
duplicates = 0
similar = 0
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with the lines of the tests."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(settings, "BASE_DIR", tmp_path)
    (tmp_path / "querybudget.toml").write_text(LINES.format(3))
    return tmp_path


def test_what_the_tests_do_not_see(record: ProcessRecord, folder: Path) -> None:
    """3 and 4 queries lie in one bucket: whoever keeps its line is not named."""
    add(record, "jobs:list", 90, 3, 0.01)
    add(record, "jobs:list", 10, 40, 0.01)
    add(record, "reviews", 96, 2, 0.01)
    add(record, "reviews", 4, 40, 0.01)  # of 100, no more than 4
    add(record, "nobodys", 5, 1, 0.5)
    add(record, "no view", 5, 1, 0.5)
    record.add(series_key("task", "a_task"), (9, 0.1, None, 0, None, None, 0, 0, 0), [])
    record.flush()
    lines = report("--tests").splitlines()
    assert lines[0] == ("3 views: 1 within what the tests saw, 1 above it, 1 that no test has.")
    assert lines[2].split() == ["GET", "jobs:list", "3", "35", "10%", "100"]
    assert lines[4].split()[:2] == ["GET", "nobodys"]
    assert len(lines) == 5
    told = json.loads(report("--tests", "--json"))
    assert [each["name"] for each in told["untested"]] == ["nobodys"]
    assert told["exceeding"][0]["recorded"] == 3
    assert told["version"] == 1
    (folder / "querybudget.toml").unlink()
    with pytest.raises(CommandError, match=r"there is no such file\. Record it: pytest"):
        report("--tests")
    (folder / "querybudget.toml").write_text("<<<<<<< HEAD\n")
    with pytest.raises(CommandError, match="markers of a merge"):
        report("--tests")


def test_the_budgets_that_production_suggests_can_be_written(
    record: ProcessRecord, folder: Path
) -> None:
    add(record, "jobs:list", 99, 3, 0.01)
    add(record, "jobs:list", 1, 400, 0.01)
    add(record, 'a "quoted\\" name', 1, 17, 0.01)
    add(record, "^every/.*", 1, 17, 0.01)
    add(record, "x" * (2 * LONGEST_NAME), 1, 1, 0.01)
    add(record, "endless", 1, 5_000, 0.01)
    record.flush()
    told = report("--ratchet")
    assert "5,  # 100 requests, p95 5; the tests saw 3" in told
    budgets = ast.literal_eval("{" + told.rstrip(",\n") + "}")
    assert budgets == {
        "BUDGETS": {"GET jobs:list": 5, 'GET a "quoted\\" name': 20},
    }
    with override_settings(QUERYBUDGET=budgets):
        assert budgets["BUDGETS"] == conf.BUDGETS
    assert json.loads(report("--ratchet", "--json")) == budgets["BUDGETS"]


def test_a_file_of_the_tests_is_compared_elsewhere(record: ProcessRecord) -> None:
    with pytest.raises(CommandError, match=r"compared by manage\.py querybudget compare\."):
        report("--compare", "querybudget.toml")


def test_saved_reports(record: ProcessRecord, folder: Path) -> None:
    add(record, "jobs:list", 5, 83, 0.01)
    record.flush()
    (folder / "before.json").write_text(report("--json"))
    add(record, "jobs:list", 15, 3, 0.03)
    record.flush()
    lines = report("--compare", "before.json").splitlines()
    assert "83.0 → 23.0" in lines[1]
    assert "10.0 → 25.0" in lines[1]
    (folder / "after.json").write_text(report("--json"))
    saved = json.loads((folder / "before.json").read_text())
    assert saved.pop("version") == 1
    (folder / "before.json").write_text(json.dumps(saved))  # as it was before it had a version
    record.stop()
    caches["default"].clear()
    assert report("--compare", "before.json", "after.json").splitlines() == lines
    target = folder / "report.html"
    report("--compare", "before.json", "after.json", "--html", str(target))
    assert "before is before.json, after is after.json." in target.read_text()
    assert "-60.0" in target.read_text()
    with pytest.raises(CommandError, match="one name or two, not 3"):
        report("--compare", "a", "b", "c")
    with pytest.raises(CommandError, match=r"nowhere\.json cannot be read"):
        report("--compare", "nowhere.json")


@pytest.mark.parametrize(
    "text",
    [
        "", "7", "[]", '{"series": [{"kind": "view"}]}', '{"series": 7}', "[" * 100_000,
        '{"version": 2, "series": []}', '{"version": "1", "series": []}',
        '{"series": [{"kind": "view", "name": 7, "queries": 1, "milliseconds": 1, "requests": 1}]}',
    ],
)  # fmt: skip
def test_what_is_no_saved_report(record: ProcessRecord, folder: Path, text: str) -> None:
    (folder / "before.json").write_text(text)
    with pytest.raises(CommandError, match="is not what `manage"):
        report("--compare", "before.json")


def test_the_last_deploy(record: ProcessRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    """The release of now against the one that came before it, two at once included."""
    from django_querybudget.production import process

    class Clock:
        now = 1_800_000_000.0
        monotonic = time = staticmethod(lambda: Clock.now)

    monkeypatch.setattr(process, "time", Clock)
    for minute, releases in enumerate((["1.0"], ["1.1", "1.0"], ["1.1"])):
        for release in releases:
            with override_settings(QUERYBUDGET={"PRODUCTION": SECTION, "RELEASE": release}):
                one = ProcessRecord("default")
                add(one, "jobs:list", 1, 1, 0.01)
                Clock.now = 1_800_000_000.0 + 60 * minute
                one.flush()
    picture = read_picture(3600, now=Clock.now)
    assert deploy_of(picture, "1.1") == ("1.0", "1.1")
    assert deploy_of(picture, "") == ("1.0", "1.1")
    assert deploy_of(read_picture(60, now=Clock.now), "1.1") is None
    assert deploy_of(read_picture(60, now=Clock.now + 9_000), "1.1") is None


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ((42, 92.2), (4, 8.7), "costs less"),
        ((3, 5.4), (9, 15.8), "costs more"),
        ((9.2, 6.4), (8.5, 6.0), None),  # it is never twice the same
        ((1, 0.1), (1, 0.3), None),  # three times of nothing
        ((4, 10.0), (7, 10.1), "more queries"),
        ((7, 10.0), (4, 10.1), "fewer queries"),
    ],
)
def test_what_a_person_is_told_of_a_change(
    before: tuple[float, float], after: tuple[float, float], words: str | None
) -> None:
    key = series_key("view", "a", "GET")
    each = Comparison(key, Figures(*before), Figures(*after, 10))
    assert (each.verdict and each.verdict.words) == words
    assert words is None or each.verdict == (words, words in ("costs more", "more queries"))
    assert Comparison(key, None, Figures(*after)).verdict is None
