"""What the processes of a run wrote, merged, and told on a page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from django_querybudget.trying import notes
from django_querybudget.trying.documents import as_html, as_json
from django_querybudget.trying.page import page
from django_querybudget.trying.trial import Trial, ViewCount, read_trial


def view(name: str, queries: int, **lists: int) -> tuple[str, Any]:
    return "view", {
        "name": name, "queries": queries, "duplicates": 0, "milliseconds": queries / 10,
        "lists": {f"jobs.{model}": rows for model, rows in lists.items()},
    }  # fmt: skip


def loops(
    place: str, saves: int, *at: int, view: str = "GET jobs", rows: int | None = None
) -> tuple[str, Any]:
    return "loops", {
        "saves": saves, "queries": saves, "text": [f"  {saves} queries"], "views": [view],
        "line": {"code": f"Job.objects.of({len(at)})", "place": place}, "rows": rows,
        "loops": [{"place": f"jobs.py:{line}", "relation": "Job.x"} for line in at],
    }  # fmt: skip


def merged(folder: Path, *processes: list[tuple[str, Any]]) -> Trial:
    for number, written in enumerate(processes):
        text = "".join(f"{json.dumps(each)}\n" for each in written)
        (folder / f"{number}.jsonl").write_text(text)
    return read_trial(folder)


STARTED = ("process", {"added": True, "threshold": 3})


def test_the_most_of_all_processes(tmp_path: Path) -> None:
    trial = merged(
        tmp_path,
        [STARTED, view("GET jobs", 5, Job=2), view("GET jobs", 3, Job=1, Client=9)],
        [STARTED, view("GET jobs", 4, Job=7), view("POST jobs", 1)],
    )
    assert {name: each.queries for name, each in trial.views.items()} == {
        "GET jobs": 5,
        "POST jobs": 1,
    }
    assert trial.views["GET jobs"].milliseconds == 0.5
    assert trial.views["GET jobs"].lists == {"jobs.Job": 7, "jobs.Client": 9}
    assert trial.few() == {}


def test_a_line_that_a_killed_process_left_half_written_is_left_out(tmp_path: Path) -> None:
    merged(tmp_path, [STARTED, view("GET jobs", 5)])
    with (tmp_path / "0.jsonl").open("a") as file:
        file.write('["view", {"name": "GET cli')
    assert list(read_trial(tmp_path).views) == ["GET jobs"]


def test_one_line_with_more_or_less_in_it_is_one(tmp_path: Path) -> None:
    trial = merged(
        tmp_path,
        [loops("a.py:1", 4, 10), loops("a.py:1", 9, 10, 11, view="GET clients")],
        [loops("a.py:1", 2, 12), loops("b.py:1", 5, 10), loops("b.py:1", 80, 10, rows=20)],
    )
    assert [(each.saves, each.views, each.rows) for each in trial.loops] == [
        (9, ["GET clients", "GET jobs"], None),
        (5, ["GET jobs"], None),  # What the tests' own rows showed is told as they showed it.
        (2, ["GET jobs"], None),
    ]


def test_a_list_of_an_unknown_number_of_rows_may_be_short() -> None:
    seen = ViewCount(name="GET jobs")
    seen.add_list("jobs.Job", None)
    assert seen.few(3) == ["jobs.Job"]
    assert seen.rows_text("jobs.Job") == "an unknown number of jobs.Job"
    seen.add_list("jobs.Job", 3)
    assert seen.few(3) == []


def test_a_page_stays_a_page(tmp_path: Path) -> None:
    trial = merged(
        tmp_path,
        [
            STARTED,
            *(view(f"GET view-{number}", number, Job=1) for number in range(500)),
            *(loops(f"a.py:{number}", number, number) for number in range(500)),
            ("indexes", [{"kind": "redundant", "model": "x", "text": "one"}] * 500),
        ],
    )
    text = page(trial, "pytest", status=0)
    assert len(text.splitlines()) < 110
    assert "  … and 485 views more\n" in text
    assert "  … and 490 lines more\n" in text
    assert len(json.loads(as_json(trial, "pytest", status=0, rows=None))["views"]) == 500


def test_what_did_not_start_is_said_and_names_are_escaped(tmp_path: Path) -> None:
    assert "No process of it set Django up" in page(Trial(), "pytest", status=4)
    assert "ended with status 4" in page(Trial(), "pytest", status=4)
    trial = merged(tmp_path, [STARTED, view("GET <script>", 1)])
    text = as_html(trial, "pytest '<b>'", status=0, rows=None)
    assert "<script>" not in text
    assert "<b>" not in text
    assert "&lt;script&gt;" in text


def test_a_process_writes_so_much_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUERYBUDGET_TRY", str(tmp_path))
    monkeypatch.setattr(notes, "MOST_BYTES", 1000)
    monkeypatch.setattr(notes, "_written", {})
    for number in range(100):
        notes.write(*view(f"GET {number}", number))
    (path,) = tmp_path.glob("*.jsonl")
    assert path.stat().st_size < 1200
    trial = read_trial(tmp_path)
    assert trial.cut
    assert 5 < len(trial.views) < 20
    trial.started = True
    assert "saw more than is kept" in page(trial, "pytest", status=0)


def test_what_copies_showed_comes_by_how_much_it_grew(tmp_path: Path) -> None:
    def grown(
        name: str, queries: int | None, before: int | None = None, **problems: str
    ) -> tuple[str, Any]:
        return "grown", {
            "name": name, "queries": queries, "before": before, "copied": ["jobs.Job"],
            "problems": problems,
        }  # fmt: skip

    trial = merged(
        tmp_path,
        [
            STARTED,
            *(view(f"GET {name}", 5, Job=1) for name in ("same", "more", "most", "failed", "else")),
            grown("GET same", 5), grown("GET more", 7), grown("GET most", 25),
            # Another request to it executes more than that, without copies.
            grown("GET else", 4, before=1),
            grown("GET failed", None, Job="why"), grown("GET most", None, Job="no row"),
        ],
    )  # fmt: skip
    text = page(trial, "pytest", status=0, rows=20).partition("(--rows 20)\n")[2]
    assert text.partition("\n\n")[0].splitlines() == [
        "  GET most: 5 → 25 queries, with copies of jobs.Job",
        "  GET else: 1 → 4 queries, with copies of jobs.Job",
        "  GET more: 5 → 7 queries, with copies of jobs.Job",
        "  GET failed: not measured (Job: why)",
        "  No more queries: GET same",
    ]
