"""``manage.py querybudget run -- COMMAND``: what a command queried, and how it ends."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from django.core.management import BaseCommand, CommandError, base, get_commands
from django.db import connections

from django_querybudget.management.commands.querybudget import Command
from django_querybudget.production.process import ProcessRecord
from django_querybudget.production.reading import read_picture
from jobs.models import Industry
from tests.production.conftest import record

__all__ = ["record"]

pytestmark = pytest.mark.django_db


class Asks(BaseCommand):
    """Asks for so many industries, one by one, and ends as it is told to."""

    requires_system_checks = ()

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("times", type=int)
        parser.add_argument("--end", choices=["exit", "fail", "raise", "threads"])

    def handle(self, *args: Any, times: int, end: str, **options: Any) -> None:
        for number in range(times):
            Industry.objects.filter(pk=number).first()
        sys.stdout.write(f"asked {times}\n")
        if end == "exit":
            sys.exit(7)
        if end == "fail":
            raise CommandError("no gigs today", returncode=5)
        if end == "raise":
            raise LookupError
        if end == "threads":
            thread = threading.Thread(target=self.ask_there)
            thread.start()
            thread.join()

    def ask_there(self) -> None:
        connections["default"].cursor().execute("SELECT 1")
        connections["default"].close()


@pytest.fixture(autouse=True)
def command_of_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(get_commands(), "asks", Asks())
    # A command closes them at its end; the test's transaction goes on.
    monkeypatch.setattr(base.connections, "close_all", lambda: None)


def run(*arguments: str) -> object:
    """Return the exit status."""
    try:
        Command().run_from_argv(["manage.py", "querybudget", "run", *arguments])
    except SystemExit as error:
        return error.code
    return 0


def test_a_command_runs_as_ever_and_its_queries_are_reported(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert run("--", "asks", "4") == 0
    told = capsys.readouterr()
    assert told.out == "asked 4\n"
    lines = told.err.splitlines()
    assert lines[0].startswith("command asks: 4 queries, ")
    assert "   4 x  SELECT … FROM jobs_industry WHERE jobs_industry.id = ?" in told.err
    assert "tests/management/test_run.py" in told.err
    assert "N+1 queries:\n  4 queries " in told.err
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["asks", "1"], 0),
        (["asks", "1", "--end", "exit"], 7),
        (["asks", "1", "--end", "fail"], 5),
        (["--max-queries", "1", "--", "asks", "1"], 0),
        (["--max-queries", "1", "--", "asks", "2"], 1),
        (["--max-queries", "0", "--", "asks", "2", "--end", "exit"], 7),
        (["-v", "0", "--max-queries", "0", "--", "asks", "1"], 1),
        (["--", "python3", "manage.py", "asks", "1"], 0),
        (["--", "./manage.py", "asks", "1"], 0),
    ],
)
def test_its_exit_status_is_kept_unless_a_budget_is_exceeded(
    arguments: list[str], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == status
    assert "command asks: " in capsys.readouterr().err


def test_what_it_raises_is_raised_and_the_report_is_there(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(LookupError):
        run("--", "asks", "2", "--end", "raise")
    assert "command asks: 2 queries" in capsys.readouterr().err


def test_its_budget_may_stand_in_the_settings_and_the_record_has_it(
    record: ProcessRecord, settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.QUERYBUDGET = {**settings.QUERYBUDGET, "BUDGETS": {"command asks": 2, "*": 0}}
    assert run("--", "asks", "2") == 0
    assert run("--", "asks", "3") == 1
    assert "command asks: 3 queries executed, budget is 2" in capsys.readouterr().err
    record.flush()
    ((key, series),) = read_picture(3600).whole.series.items()
    assert key.title == "command asks"
    assert (series.requests, series.total("queries"), series.total("violations")) == (2, 5, 1)


@pytest.mark.django_db(transaction=True)
def test_what_its_threads_query_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--", "asks", "1", "--end", "threads") == 0
    assert "command asks: 2 queries" in capsys.readouterr().err


SCRIPT = """
import sys
from beside import times
from jobs.models import Industry
assert __name__ == "__main__"
for number in range(times):
    Industry.objects.filter(pk=number).first()
print(*sys.argv[1:])
raise SystemExit(int(sys.argv[1]))
"""


@pytest.mark.parametrize("way", ["file", "module"])
def test_a_python_file_runs_as_python_runs_it(
    way: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fills.py").write_text(SCRIPT)
    (tmp_path / "beside.py").write_text("times = 3")
    monkeypatch.delitem(sys.modules, "beside", raising=False)
    argv, path = list(sys.argv), list(sys.path)
    words = ["fills.py"] if way == "file" else ["-m", "fills"]
    assert run("--", "python", *words, "3", "--max-queries") == 3
    told = capsys.readouterr()
    assert told.out == "3 --max-queries\n"
    assert f"command {' '.join(words)}: 3 queries" in told.err
    assert "fills.py:7" in told.err
    assert (sys.argv, sys.path) == (argv, path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Say which command after two dashes"),
        (["--"], "Say which command after two dashes"),
        (["--", "ask", "1"], "'ask' is no command of manage.py, no Python file"),
        (["--", "pytest", "-q"], "python -m django_querybudget try pytest -q"),
        (["--", "nowhere.py"], "'nowhere.py' is no command"),
        (["--max-queries", "-1", "--", "asks", "1"], "'-1' is no whole number of 0 or more"),
        (["--max-queries", "x", "--", "asks", "1"], "'x' is no whole number of 0 or more"),
    ],
)
def test_what_makes_no_sense_runs_nothing(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 2
    told = capsys.readouterr()
    assert words in told.err
    assert told.out == ""


@pytest.mark.parametrize(("verbosity", "lines"), [("0", 1), ("3", None)])
def test_how_much_is_told(
    verbosity: str, lines: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("-v", verbosity, "--", "asks", "3") == 0
    told = capsys.readouterr().err
    assert (len(told.splitlines()) == 1) is (lines == 1)
    assert ('"jobs_industry"."name"' in told) is (lines is None)
