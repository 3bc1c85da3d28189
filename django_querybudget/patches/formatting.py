"""How the project's code is formatted: :func:`line_length`, :class:`Formatter`."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from django_querybudget.nplusone.layout import WIDTH

__all__ = ["Formatter", "line_length"]


def line_length(root: Path) -> int:
    """Return what ruff, black or flake8 is told in the project's root, else the usual length."""
    try:
        tools = tomllib.loads((root / "pyproject.toml").read_text("utf-8")).get("tool", {})
    except (OSError, ValueError):
        tools = {}
    for tool in ("ruff", "black"):
        found = tools.get(tool, {}).get("line-length")
        if isinstance(found, int) and found > 0:
            return found
    for name in ("ruff.toml", ".ruff.toml"):
        try:
            found = tomllib.loads((root / name).read_text("utf-8")).get("line-length")
        except (OSError, ValueError):
            continue
        if isinstance(found, int) and found > 0:
            return found
    for name in ("setup.cfg", "tox.ini", ".flake8"):
        parser = configparser.RawConfigParser()
        try:
            parser.read(root / name, encoding="utf-8")
            return parser.getint("flake8", "max-line-length")
        except (configparser.Error, ValueError):
            continue
    return WIDTH


class Formatter:
    """The formatter that the project uses, if this environment has it.

    That is the one it is configured for, else one that stands beside this Python: many say in a
    hook alone that they use one. It is asked of a file only if it leaves the file as it was before
    the patch: then no line but the patched ones can change.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.commands = _commands(root)

    def formatted(self, path: str, before: bytes, after: bytes) -> bytes | None:
        """Return ``after`` as the formatter has it; None where that is not to be asked."""
        for command in self.commands:
            if self._run(command, path, before) == before:
                return self._run(command, path, after)
        return None

    def _run(self, program: list[str], path: str, data: bytes) -> bytes | None:
        command = [*program, "--stdin-filename", str(self.root / path), "-"]
        try:
            done = subprocess.run(
                command, input=data, cwd=self.root, capture_output=True, check=False, timeout=60
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout if done.returncode == 0 else None


def _commands(root: Path) -> list[list[str]]:
    try:
        tools = tomllib.loads((root / "pyproject.toml").read_text("utf-8")).get("tool", {})
    except (OSError, ValueError):
        tools = {}
    wanted = {
        "ruff": "ruff" in tools or (root / "ruff.toml").exists() or (root / ".ruff.toml").exists(),
        "black": "black" in tools,
    }
    found, beside = [], []
    for name, arguments in (("ruff", ["format", "--no-cache"]), ("black", ["-q"])):
        path = Path(sys.executable).parent / name
        program = str(path) if path.is_file() else shutil.which(name)
        if wanted[name] and program:
            found.append([program, *arguments])
        elif path.is_file():
            beside.append([str(path), *arguments])
    # Without a word to it, it has the usual length.
    return found[:1] or (beside if line_length(root) == WIDTH else [])
