"""The hooks of .pre-commit-hooks.yaml, run as pre-commit runs them."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from django_querybudget.__main__ import main
from django_querybudget.ratchet import lockfile
from django_querybudget.ratchet.lockfile import LockFile
from tests.ratchet.project import Project
from tests.ratchet.repository import lines_of

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]
HOOKS: dict[str, dict[str, Any]] = {
    each["id"]: each
    for each in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
}


def run_hook(name: str, folder: Path, *files: str) -> tuple[int, str]:
    """Run the hook's entry, by the names of its environment, with the staged files it asks for."""
    hook = HOOKS[name]
    given = [each for each in files if re.search(hook.get("files", ""), each)]
    arguments = given if hook.get("pass_filenames", True) else []
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        [*shlex.split(hook["entry"]), *arguments],
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout


def test_each_hook_has_what_pre_commit_wants() -> None:
    assert list(HOOKS) == ["querybudget-file", "querybudget-decorators"]
    for hook in HOOKS.values():
        assert {"id", "name", "entry", "language"} <= hook.keys()
        assert hook["language"] in ("python", "system")


def test_a_broken_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "backend").mkdir()
    names = ["querybudget.toml", "backend/querybudget.toml", "notquerybudget.toml"]
    for name in names:
        lockfile.write(tmp_path / name, LockFile(run="pytest", lines=lines_of(a=1)))
    marked = "\n<<<<<<< ours\nqueries = 1\n=======\nqueries = 2\n>>>>>>> theirs\n"
    path = tmp_path / names[1]
    path.write_text(path.read_text().replace("\nqueries = 1\n", marked))
    (tmp_path / names[2]).write_text("no toml")
    status, text = run_hook("querybudget-file", tmp_path, *names)
    assert status == 1
    assert text.startswith(f"{names[1]}, line 8: it has markers of a merge")
    assert text.count("\n") == 1


def test_what_can_be_read_passes_and_each_that_cannot_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    good = tmp_path / "good.toml"
    lockfile.write(good, LockFile(run="pytest", lines=lines_of(a=1)))
    windows = tmp_path / "windows.toml"
    windows.write_bytes(good.read_bytes().replace(b"\n", b"\r\n"))
    assert main(["check-file", "good.toml", "windows.toml"]) == 0
    assert capsys.readouterr() == ("", "")
    Path("empty.toml").touch()
    Path("binary.toml").write_bytes(b"\xff")
    Path("marked.toml").write_bytes(b"<<<<<<< ours\r\n")
    bad = ["empty.toml", "binary.toml", "marked.toml", "absent.toml", "."]
    assert main(["check-file", *bad, "good.toml"]) == 1
    told = capsys.readouterr().err.splitlines()
    assert [re.split("[,:]", line)[0] for line in told] == bad


DEAD = """
from django.core.signals import request_started
from django.dispatch import receiver
from django_querybudget import query_budget

@query_budget(3)
@receiver(request_started)
def dead(**_):
    pass
"""


def test_a_dead_decorator_is_refused_and_nothing_else(project: Project) -> None:
    settings = project.folder / "host" / "settings.py"
    # A warning of another kind: the hook has nothing to say of it.
    settings.write_text(settings.read_text() + '\nQUERYBUDGET = {"BUDGETS": {"nowhere": 3}}\n')
    urls = project.folder / "host" / "urls.py"
    before = urls.read_text()
    urls.write_text(before + DEAD)
    status, text = run_hook("querybudget-decorators", project.folder, "host/urls.py")
    assert status == 1
    assert "querybudget.E010" in text
    assert "W010" not in text
    urls.write_text(before)
    assert run_hook("querybudget-decorators", project.folder, "host/urls.py")[0] == 0
