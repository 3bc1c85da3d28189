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
    """The formatter that the project is configured for, if this environment has it.

    It is asked of a file only if it leaves the file as it was before the patch: then no line but
    the patched ones can change.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.command = _command(root)

    def formatted(self, path: str, before: bytes, after: bytes) -> bytes | None:
        """Return ``after`` as the formatter has it; None where that is not to be asked."""
        if self.command is None or self._run(path, before) != before:
            return None
        return self._run(path, after)

    def _run(self, path: str, data: bytes) -> bytes | None:
        command = [*(self.command or ()), "--stdin-filename", str(self.root / path), "-"]
        try:
            done = subprocess.run(
                command, input=data, cwd=self.root, capture_output=True, check=False, timeout=60
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout if done.returncode == 0 else None


def _command(root: Path) -> list[str] | None:
    try:
        tools = tomllib.loads((root / "pyproject.toml").read_text("utf-8")).get("tool", {})
    except (OSError, ValueError):
        tools = {}
    wanted = {
        "ruff": "ruff" in tools or (root / "ruff.toml").exists() or (root / ".ruff.toml").exists(),
        "black": "black" in tools,
    }
    for name, arguments in (("ruff", ["format", "--no-cache"]), ("black", ["-q"])):
        beside = Path(sys.executable).parent / name
        program = str(beside) if beside.is_file() else shutil.which(name)
        if wanted[name] and program:
            return [program, *arguments]
    return None
