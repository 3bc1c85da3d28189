"""A git repository in a folder, whose ``querybudget.toml`` is written anew at will."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from django_querybudget.ratchet import lockfile
from django_querybudget.ratchet.lines import Key, Line
from django_querybudget.ratchet.lockfile import LockFile


def lines_of(**queries: int) -> dict[Key, Line]:
    """Return a line for each view, of so many queries."""
    return {Key("views", name): Line(queries=number, loops=()) for name, number in queries.items()}


class Repository:
    """The repository; its first commit is empty, its branch is ``main``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "querybudget.toml"
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("commit", "--quiet", "--allow-empty", "--message=first")

    def git(self, *arguments: str, status: int = 0) -> str:
        """Run git, which is to end with ``status``; return what it printed."""
        ours = {name: text for name, text in os.environ.items() if not name.startswith("GIT_")}
        who = {
            f"GIT_{role}_{what}": text
            for role in ("AUTHOR", "COMMITTER")
            for what, text in (("NAME", "a"), ("EMAIL", "a@example.org"))
        }
        command = ["git", *arguments]
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**ours, **who, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            check=False,
            timeout=60,
        )
        assert done.returncode == status, done.stdout
        return done.stdout

    def commit(self, lines: Mapping[Key, Line], run: str = "pytest") -> None:
        """Commit a file of these lines."""
        lockfile.write(self.file, LockFile(run=run, lines=dict(lines)))
        self.git("add", "querybudget.toml")
        self.git("commit", "--quiet", "--message=more")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """A repository, in whose folder the test runs."""
    monkeypatch.chdir(tmp_path)
    return Repository(tmp_path)
