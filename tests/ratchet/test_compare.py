"""``compare``: two files, two revisions; in a terminal, as JSON, as a job's summary."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from django_querybudget.__main__ import main
from django_querybudget.ratchet import lockfile
from django_querybudget.ratchet.lines import Key, Line, ShapeCount
from django_querybudget.ratchet.lockfile import LockFile
from tests.ratchet.repository import Repository, lines_of
from tests.ratchet.test_loops import LOOP

pytestmark = pytest.mark.once

OLD = LockFile(
    run="pytest",
    lines={
        **lines_of(better=5, gone=2, same=1),
        Key("views", "other"): Line(queries=1, shapes=(ShapeCount("SELECT a", 1),)),
        Key("views", "worse"): Line(queries=3, rows=20, loops=()),
    },
)
NEW = LockFile(
    run="pytest",
    lines={
        **lines_of(better=4, same=1),
        Key("views", "new"): Line(queries=20, similar=19, loops=(LOOP,)),
        Key("views", "other"): Line(queries=1, shapes=(ShapeCount("SELECT b", 1),)),
        Key("views", "worse"): Line(queries=23, similar=20, rows=20, loops=(LOOP,)),
    },
)


@pytest.fixture(autouse=True)
def no_summary(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    monkeypatch.chdir(tmp_path)
    lockfile.write(tmp_path / "old.toml", OLD)
    lockfile.write(tmp_path / "new.toml", NEW)
    return "old.toml", "new.toml"


TEXT = """\
old.toml → new.toml: 1 worse, 1 better, 1 of other queries, 1 new, 1 gone, 1 unchanged.

worse: 3 → 23 queries, 0 → 20 queries that repeat a shape
  N+1: 0 → 20 queries load Job.client row by row
        at jobs/views.py:66 in _job_row
        write at jobs/views.py:40 in job_list: Job.objects.select_related("client")

better: 5 → 4 queries

other: as many queries as before
  0 → 1 x  SELECT b
  1 → 0 x  SELECT a

new: new, 20 queries
  N+1: 20 queries load Job.client row by row
        at jobs/views.py:66 in _job_row
        write at jobs/views.py:40 in job_list: Job.objects.select_related("client")

gone: gone, 2 queries
"""


def test_each_view_that_differs_is_told_with_its_queries_and_what_to_write(
    files: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *files]) == 0
    assert capsys.readouterr().out == TEXT


def test_a_program_is_told_all_of_it(
    files: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", "--json", *files]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["version"] == 1
    assert data["old"] == {"name": "old.toml", "run": "pytest", "missing": False}
    assert data["unchanged"] == 1
    lines = {each["name"]: each for each in data["lines"]}
    assert {name: each["state"] for name, each in lines.items()} == {
        "worse": "worse",
        "better": "better",
        "other": "other",
        "new": "new",
        "gone": "gone",
    }
    assert lines["worse"]["queries"] == {"old": 3, "new": 23}
    assert lines["worse"]["rows"] == {"old": 20, "new": 20}
    assert lines["new"]["queries"] == {"old": None, "new": 20}
    assert lines["gone"]["queries"] == {"old": 2, "new": None}
    assert lines["other"]["shapes"] == [
        {"sql": "SELECT b", "old": 0, "new": 1},
        {"sql": "SELECT a", "old": 1, "new": 0},
    ]
    assert lines["worse"]["loops"] == [
        {
            "what": LOOP.what,
            "at": LOOP.at,
            "write": LOOP.write,
            "write_at": LOOP.write_at,
            "read": "",
            "old": 0,
            "new": 20,
        }
    ]


def test_a_jobs_summary_is_appended_to(
    files: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    assert main(["compare", "--markdown", *files]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("<!-- django-querybudget: querybudget.toml -->\n")
    assert summary.read_text() == f"before\n{printed}"
    # Whatever is printed, the summary is the one for people.
    assert main(["compare", *files]) == 0
    assert summary.read_text() == f"before\n{printed}{printed}"


def test_a_step_has_the_counts_as_outputs(
    files: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = tmp_path / "outputs"
    outputs.write_text("mine=1\n")
    monkeypatch.setenv("GITHUB_OUTPUT", str(outputs))
    assert main(["compare", *files]) == 0
    assert outputs.read_text() == "mine=1\nworse=1\nbetter=1\nother=1\nnew=1\ngone=1\nunchanged=1\n"


def test_a_summary_that_cannot_be_written_is_said_after_the_text(
    files: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    assert main(["compare", *files]) == 1
    told = capsys.readouterr()
    assert told.out == TEXT
    assert told.err.startswith(f"GITHUB_STEP_SUMMARY, {tmp_path}, cannot be written: ")


def test_revisions_are_compared_with_each_other_and_with_the_file(
    repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    repository.commit(lines_of(a=3))
    # As git keeps it where lines end as on Windows and nothing converts them.
    text = repository.file.read_text().replace("queries = 3", "queries = 5")
    repository.file.write_bytes(text.replace("\n", "\r\n").encode())
    repository.git("commit", "--quiet", "--all", "--message=windows")
    repository.file.write_bytes(b"")
    assert main(["compare", "HEAD~1", "main"]) == 0
    sha = repository.git("rev-parse", "HEAD").strip()[:10]
    told = capsys.readouterr().out
    assert f"main ({sha}): 1 worse.\n\na: 3 → 5 queries\n" in told
    lockfile.write(repository.file, LockFile(run="pytest", lines=lines_of(a=4)))
    assert main(["compare", "main"]) == 0
    assert "→ querybudget.toml: 1 better.\n" in capsys.readouterr().out
    # A revision from before there was a file.
    assert main(["compare", "main~2"]) == 0
    assert "1 new.\nThe old revision has no such file: every line is new." in (
        capsys.readouterr().out
    )
    # A path is as one stands: the same from a folder of the repository.
    (repository.folder / "sub").mkdir()
    os.chdir("sub")
    assert main(["compare", "--file", "../querybudget.toml", "main~1", "main"]) == 0
    assert "1 worse." in capsys.readouterr().out


def test_other_tests_are_said(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    lockfile.write(Path(files[1]), LockFile(run="pytest jobs", lines=OLD.lines))
    assert main(["compare", *files]) == 0
    assert "They were recorded from other tests" in capsys.readouterr().out
    assert main(["compare", files[0], files[0]]) == 0
    assert capsys.readouterr().out == "old.toml → old.toml: 5 unchanged.\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no.toml", "querybudget.toml"], "'no.toml' is no file, and git knows no such revision"),
        (["main", "feature"], "'feature' is no file, and git knows no such revision"),
        (["main", "main..HEAD"], "'main..HEAD' is no file"),
        (["--", "--output=x"], "'--output=x' is no file"),
        (["--", "-h", "main"], "'-h' is no file"),
        (["x" * 100_000], "is no file, and git knows no such revision"),
        (["a\0b"], "is no file, and git knows no such revision"),
        (["main", "--file", "absent.toml"], "absent.toml: there is no such file. Record it: "),
        (["empty.toml", "main"], "empty.toml: format is None"),
        (["marked.toml", "main"], "marked.toml, line 1: it has markers of a merge"),
        (["newer.toml", "main"], "newer.toml, line 1: format 99 was recorded by a newer"),
        (["other.toml", "main"], "other.toml, line 2: 'tool' is unknown"),
        (["main", "broken"], "querybudget.toml of broken .* is not TOML"),
        (["main", "binary"], "querybudget.toml of binary .* is not UTF-8"),
        (["main", "folder"], "querybudget.toml of folder .* cannot be read"),
    ],
)
def test_what_cannot_be_compared_is_named(
    repository: Repository,
    arguments: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    repository.commit(lines_of(a=3))
    for name, text in {
        "empty.toml": "",
        "marked.toml": "<<<<<<< ours\nformat = 2\n",
        "newer.toml": "format = 99\n",
        "other.toml": "format = 2\n[tool.poetry]\n",
    }.items():
        Path(name).write_text(text)
    if arguments[-1] in ("broken", "binary", "folder"):
        repository.git("checkout", "--quiet", "-b", arguments[-1])
        repository.file.unlink()
        if arguments[-1] == "folder":
            repository.file.mkdir()
            (repository.file / "file").touch()
        else:
            repository.file.write_bytes(b"\xff\xfe" if arguments[-1] == "binary" else b"[")
        repository.git("add", ".")
        repository.git("commit", "--quiet", "--message=it")
    before = sorted(Path().iterdir())
    assert main(["compare", *arguments]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert re.search(words, told.err), told.err
    assert sorted(Path().iterdir()) == before


def test_an_option_is_no_revision(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["compare", "--output=x", "main"])
    assert ended.value.code == 2
    assert "unrecognized arguments: --output=x" in capsys.readouterr().err
