"""``fix`` from the command line and from pytest; ended early, it leaves the project as it was."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from django_querybudget.patches import working_tree
from django_querybudget.patches.unwritable import CannotProve
from django_querybudget.patches.working_tree import refusals

from .project import contents

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]


def _environment(folder: Path) -> dict[str, str]:
    """Return what a person's shell has: no variable of this test run, a folder for copies."""
    copies = folder.parent / "copies"
    copies.mkdir(exist_ok=True)
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTEST_", "QUERYBUDGET_", "PYTHONDONTWRITEBYTECODE"))
    }
    return {
        **kept,
        "DJANGO_SETTINGS_MODULE": "small_settings",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(folder.parent)]),
        "TMPDIR": str(copies),
    }


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let what a test starts hear SIGINT: it is ignored where the suite runs in the background."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, handler)


@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_leaves_the_project_as_it_was(project: Path) -> None:
    before = contents(project)
    command = [sys.executable, "manage.py", "querybudget", "fix", "--", "test"]
    process = subprocess.Popen(
        command,
        cwd=project,
        env=_environment(project),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    # In the midst of the first run of the tests.
    while not list(Path(project.parent, "copies").glob("*/run-0/*.jsonl")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Stopped. Nothing of the project was changed." in err
    assert contents(project) == before
    assert list(Path(project.parent, "copies").iterdir()) == []


@pytest.mark.slow
def test_a_time_limit_ends_with_what_is_proved(project: Path) -> None:
    before = contents(project)
    command = [sys.executable, "manage.py", "querybudget", "fix", "--time-limit", "0.5", "--json"]
    done = subprocess.run(
        [*command, "--", "test"],
        cwd=project,
        env=_environment(project),
        check=True,
        capture_output=True,
    )
    told = json.loads(done.stdout)
    assert told["over_time"] is True
    assert told["diff"] == ""
    assert [each["outcome"] for each in told["patches"] if each["outcome"] == "proved"] == []
    assert contents(project) == before


def test_a_time_limit_ends_a_run_that_does_not_end_by_itself(project: Path) -> None:
    """Neither by Ctrl-C: whoever wrote the suite, it is over soon after."""
    (project / "shop/tests.py").write_text(
        "import signal, time\nfrom django.test import SimpleTestCase\n\n"
        "class Tests(SimpleTestCase):\n    def test(self):\n"
        "        signal.signal(signal.SIGINT, signal.SIG_IGN)\n        time.sleep(600)\n"
    )
    command = [sys.executable, "manage.py", "querybudget", "fix", "--time-limit", "2", "--", "test"]
    done = subprocess.run(
        command,
        cwd=project,
        env=_environment(project),
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "The time limit came before the tests had run once" in done.stdout
    assert "No test shows a loop" not in done.stdout
    assert list(Path(project.parent, "copies").iterdir()) == []


@pytest.mark.slow
def test_pytest_proves_and_writes(project: Path) -> None:
    options = ["--querybudget-fix", "--querybudget-fix-apply", "shop/tests.py"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options],
        cwd=project,
        env=_environment(project),
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "GET odd 13 → 1 query, 7 responses identical, 1 test passes" in done.stdout
    assert done.stdout.count("Proved: ") == 4
    assert sorted(done.stderr.split()) == ["Wrote"] * 2 + ["shop/odd.py.", "shop/views.py."]
    assert b'select_related("author")' in (project / "shop/odd.py").read_bytes()


PATHS = ["shop/odd.py", "shop/urls.py", "shop/views.py"]


def _disturb_writing(
    monkeypatch: pytest.MonkeyPatch, disturb: Callable[[], None], *at: int
) -> list[str]:
    """Let that come before the files of these numbers; return what is written, in a list to be."""
    write = working_tree._write
    written: list[str] = []

    def disturbed(file: Path, data: bytes) -> None:
        written.append(file.name)
        if len(written) in at:
            disturb()
        write(file, data)

    monkeypatch.setattr(working_tree, "_write", disturbed)
    return written


def _apply(project: Path, before: dict[str, bytes]) -> None:
    old = {path: before[path] for path in PATHS}
    working_tree.apply(project, old, dict.fromkeys(PATHS, b"new"))


def test_ctrl_c_while_files_are_written_puts_back_what_was(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    before = contents(project)
    written = _disturb_writing(monkeypatch, interrupt, 2)
    with pytest.raises(KeyboardInterrupt):
        _apply(project, before)
    assert written == ["odd.py", "urls.py", "odd.py", "urls.py"]
    assert contents(project) == before


@pytest.mark.usefixtures("interruptible")
def test_a_second_ctrl_c_does_not_stop_the_putting_back(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def press() -> None:
        os.kill(os.getpid(), signal.SIGINT)

    before = contents(project)
    written = _disturb_writing(monkeypatch, press, 3, 4, 5)
    with pytest.raises(KeyboardInterrupt):
        _apply(project, before)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert written == ["odd.py", "urls.py", "views.py", "odd.py", "urls.py", "views.py"]
    assert contents(project) == before


def test_what_cannot_be_put_back_is_named_and_the_rest_is(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> None:
        raise OSError(28, "No space left on device")

    before = contents(project)
    _disturb_writing(monkeypatch, full, 3, 5)  # The last of the new ones, the second of the old.
    with pytest.raises(CannotProve, match=r"shop/urls\.py could not be put back: git checkout"):
        _apply(project, before)
    assert contents(project) == {**before, "shop/urls.py": b"new"}


def test_only_files_that_git_calls_clean_are_written(project: Path) -> None:
    shop = project / "shop"
    before = {f"shop/{name}.py": (shop / f"{name}.py").read_bytes() for name in ("odd", "views")}
    (shop / "new.py").write_text("")
    before["shop/new.py"] = b""
    assert refusals(project, {"shop/odd.py": before["shop/odd.py"]}) == {}
    (shop / "views.py").write_text("# of a person\n")
    found = refusals(project, before)
    assert found == {
        "shop/views.py": "it has changes that are not committed",
        "shop/new.py": "git does not know it: there is nothing to go back to",
    }
    assert refusals(project, {"shop/odd.py": b"of another moment"}) == {
        "shop/odd.py": "it was changed while the patches were proved"
    }
    shutil.rmtree(project / ".git")
    assert set(refusals(project, before)) == set(before)
