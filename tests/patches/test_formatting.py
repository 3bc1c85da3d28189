"""Which formatter is asked, and of which files."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from django_querybudget.patches.formatting import Formatter

SCRIPT = "#!/bin/sh\nsed 's/  */ /g'\n"
"""One that leaves no two blanks beside one another."""


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    black = folder / "black"
    black.write_text(SCRIPT)
    black.chmod(0o755)
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def _formatted(root: Path, before: bytes) -> bytes | None:
    return Formatter(root).formatted("views.py", before, before + b"y  = 2\n")


def test_a_formatter_beside_this_python_is_asked_of_files_that_it_leaves(
    environment: Path, root: Path
) -> None:
    assert _formatted(root, b"x = 1\n") == b"x = 1\ny = 2\n"
    assert _formatted(root, b"x  = 1\n") is None
    # Another length than its own is none of its making.
    (root / "setup.cfg").write_text("[flake8]\nmax-line-length = 79\n")
    assert _formatted(root, b"x = 1\n") is None
    (root / "pyproject.toml").write_text("[tool.black]\n")
    assert _formatted(root, b"x = 1\n") == b"x = 1\ny = 2\n"


def test_one_that_stands_elsewhere_is_asked_only_if_the_project_names_it(
    environment: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert _formatted(root, b"x = 1\n") is None
    (root / "pyproject.toml").write_text("[tool.black]\n")
    assert _formatted(root, b"x = 1\n") == b"x = 1\ny = 2\n"
