"""How long a line of the project may be: :func:`line_length`."""

from __future__ import annotations

import configparser
import tomllib
from pathlib import Path

from django_querybudget.nplusone.layout import WIDTH

__all__ = ["line_length"]


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
