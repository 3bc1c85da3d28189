"""The planted project on one database, run as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]

# Where the package is installed, its entry point loads the plugin; twice is refused.
_INSTALLED = {entry.name for entry in entry_points(group="pytest11")}
PLUGIN = (
    ()
    if "querybudget_indexes" in _INSTALLED
    else ("-p", "django_querybudget.contrib.pytest_indexes")
)

# What identifies a database; the rest of an entry is for a test run.
ENTRY = ("ENGINE", "NAME", "USER", "PASSWORD", "HOST", "PORT")


class Shop:
    """The planted project on one database, run as a process of its own."""

    def __init__(self, database: dict[str, Any]) -> None:
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "DJANGO_SETTINGS_MODULE": "tests.indexes.planted.settings",
            "PLANTED_DATABASE": json.dumps(database, default=str),
        }

    def run(self, *arguments: str, code: int = 0, **environment: str) -> str:
        """Run Python, assert its exit code, and return what it printed."""
        return self._run(*arguments, code=code, **environment).stdout

    def errors(self, *arguments: str, code: int = 0, **environment: str) -> str:
        """Run Python, assert its exit code, and return what it printed on stderr."""
        return self._run(*arguments, code=code, **environment).stderr

    def _run(
        self, *arguments: str, code: int, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-W", "error", *arguments],
            cwd=ROOT,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def manage(self, *arguments: str, code: int = 0, **environment: str) -> str:
        return self.run("-m", "django", *arguments, code=code, **environment)

    def plant(self) -> None:
        self.run("-m", "tests.indexes.planted.plant")

    def findings(self, *arguments: str) -> set[tuple[str, str]]:
        answer = json.loads(self.manage("querybudget", "indexes", "--json", *arguments))
        (database,) = answer["databases"]
        assert database["problems"] == []
        return {(finding["kind"], finding["index"]) for finding in database["findings"]}
