"""What can be tried, and what is said of what cannot."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import django
import pytest
from _pytest.assertion.rewrite import AssertionRewriter

import django_querybudget
from django_querybudget.__main__ import main
from django_querybudget.trying.launching import UnknownCommand, program, run


def test_a_file_and_the_environments_commands_run_with_this_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "manage.py").touch()
    assert program(["manage.py", "test", "-k", "x"]) == [
        sys.executable, "manage.py", "test", "-k", "x",
    ]  # fmt: skip
    assert program(["python", "-m", "x"]) == [sys.executable, "-m", "x"]
    assert program(["sh", "-c", "x"])[1:] == ["-c", "x"]
    first, script, *rest = program(["pytest", "tests"])
    assert (first, rest) == (sys.executable, ["tests"])
    assert script == str(Path(sys.executable).with_name("pytest"))


@pytest.mark.parametrize("word", ["manage.py", "no-such-command", "no_such_command", "a/b/c"])
def test_what_is_no_command_is_named(
    word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnknownCommand, match=word):
        program([word, "test"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["try"], "say what to run"),
        (["try", "--"], "say what to run"),
        (["try", "manage.py", "test"], r"There is no manage.py in .*\. Run this in"),
        (["try", "--rows", "2", "pytest"], "2 is not from 3 to 200"),
        (["try", "--rows", "many", "pytest"], "invalid"),
        (["try", "--json", "nowhere/out.json", "pytest"], "the folder of nowhere/out.json is not"),
        (["try", "--html", ".", "pytest"], r"\. is a folder"),
        (["try", "--html", "-", "--json", "-", "pytest"], "only one of"),
        (["try", "--rows", "9", "manage.py", "runserver", "0"], "a server runs none: leave it out"),
    ],
)
def test_bad_arguments_run_nothing(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert re.search(said, told.err), told.err


def test_an_old_django_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(django, "VERSION", (4, 2, 1, "final", 0))
    with pytest.raises(SystemExit):
        main(["try", "pytest"])
    assert "is too old: 5.2 or newer is needed." in capsys.readouterr().err


def test_pytest_has_nothing_to_say_of_a_package_that_was_imported_before_it() -> None:
    """Of one that is installed, not linked, it warns, and a suite may take warnings for errors."""
    assert AssertionRewriter.is_rewrite_disabled(django_querybudget.__doc__ or "")


STARTED = """
import sys
sys.path_before = list(sys.path)
from pathlib import Path
Path({told!r}).write_text("theirs")
"""
PROGRAM = """
import os, sys, signal
from pathlib import Path
import django.conf
print(Path({told!r}).read_text(), django.conf.Settings.__module__)
print(any("querybudget-try" in each for each in sys.path), sys.modules["sitecustomize"].__file__)
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
sys.stdout.flush()
os.kill(os.getpid(), signal.SIGTERM)
"""


def test_a_process_of_the_run_is_as_it_would_be_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment's own sitecustomize runs, no path is left, and its end is its own."""
    told, theirs = tmp_path / "told", tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "sitecustomize.py").write_text(STARTED.format(told=str(told)))
    (tmp_path / "program.py").write_text(PROGRAM.format(told=str(told)))
    monkeypatch.setenv("PYTHONPATH", str(theirs), prepend=os.pathsep)
    folder = tmp_path / "querybudget-try-x"
    folder.mkdir()
    with (tmp_path / "out").open("w") as out:
        status = run([sys.executable, str(tmp_path / "program.py")], folder, stdout=out)
    assert status == 128 + 15
    assert (tmp_path / "out").read_text().splitlines() == [
        "theirs django_querybudget.trying.settings_classes",
        f"False {theirs / 'sitecustomize.py'}",
        "True",
    ]
