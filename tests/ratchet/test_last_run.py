"""The file of the last run: what is kept, how much of it, and where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from django_querybudget.ratchet import details, last_run
from django_querybudget.ratchet.details import Details, read_details, tables_in
from django_querybudget.ratchet.last_run import LastRun, ViewRun, path_beside, read, write
from django_querybudget.ratchet.lines import Line


def finding(queries: int = 3, line: int = 7) -> dict[str, Any]:
    return {
        "id": f"id-{line}", "cause": "relation", "relation": "A.b", "operation": "get",
        "place": f"a.py:{line}", "template": None, "function": "f", "queries": queries, "saves": 2,
        "use": None, "replaces": None, "hint": "", "database": "default", "shape": "SELECT",
        "table": "b", "fix": None, "text": ["…"],
    }  # fmt: skip


def run_of(views: int) -> LastRun:
    view = ViewRun(lines={"2xx": Line(queries=1)}, tables=["a"], causes=True, findings=[finding()])
    names = {f"GET v{number:04}": view for number in range(views)}
    return LastRun(run="pytest .", at="2026-01-01", passed=True, views=names)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = path_beside(tmp_path / "querybudget.toml")
    assert read(path) is None
    write(path, run_of(2))
    assert read(path) == run_of(2)
    assert (path.parent / ".gitignore").read_text().splitlines()[-1] == "*"
    assert sorted(each.name for each in path.parent.iterdir()) == [".gitignore", "last-run.json"]


def test_it_is_bounded_and_says_that_it_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(last_run, "MOST_BYTES", 10_000)
    path = path_beside(tmp_path / "querybudget.toml")
    write(path, run_of(100))
    assert path.stat().st_size < 11_000
    found = read(path)
    assert found is not None
    assert 10 < len(found.views) < 100
    assert not found.complete
    path.write_text(" " * 20_001)
    with pytest.raises(last_run.LastRunError, match="larger than 20000 bytes"):
        read(path)


def test_findings_of_a_view_are_bounded_and_each_is_there_once() -> None:
    found = [finding(queries, line) for line in range(100) for queries in (line + 3, 3)]
    kept = LastRun.of({}, {"GET a": Details(findings=found)}, run="", passed=True).views["GET a"]
    assert [each["queries"] for each in kept.findings] == list(range(102, 52, -1))
    assert len({each["id"] for each in kept.findings}) == last_run.MOST_FINDINGS


def test_notes_of_a_process_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(details, "MOST_NOTES", 5)
    details.forget()
    for number in range(20):
        details._write(tmp_path, "GET a", "tables", [str(number)])
    found, complete = read_details(tmp_path)
    assert (len(found["GET a"].tables), complete) == (5, False)
    details.forget()
    details._write(tmp_path, "GET b", "tables", ["x" * details.LONGEST_NOTE])
    assert "GET b" not in read_details(tmp_path)[0]
    details.forget()


@pytest.mark.parametrize(
    ("sql", "tables"),
    [
        ('SELECT … FROM "a" INNER JOIN "b" ON ("a"."x" = "b"."y") WHERE "a"."z" = ?', ("a", "b")),
        ("UPDATE c SET d = (SELECT e FROM f LIMIT ?)", ("f", "c")),
        ("INSERT INTO g (h) VALUES (?)", ("g",)),
        ("DELETE FROM s.i WHERE j IN (...)", ("i",)),
        ("SELECT ?", ()),
    ],
)
def test_the_tables_of_a_shape(sql: str, tables: tuple[str, ...]) -> None:
    assert tables_in(sql, "sqlite") == tables
