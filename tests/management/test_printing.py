"""``manage.py querybudget … --json``: one document on stdout, whatever the project prints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import django_querybudget
from tests.ratchet.project import Project, project

__all__ = ["project"]

pytestmark = pytest.mark.once

REPOSITORY = Path(django_querybudget.__file__).parents[1]


def _printed(project: Project, *arguments: str) -> tuple[str, str]:
    """Return stdout and stderr of ``manage.py``, into pipes that are written by the block."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        [sys.executable, "-m", "django", "querybudget", *arguments],
        cwd=project.folder,
        env={
            **environment,
            "DJANGO_SETTINGS_MODULE": "host.settings",
            "PYTHONPATH": os.pathsep.join([str(project.folder), str(REPOSITORY)]),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout, done.stderr


@pytest.fixture
def noisy(project: Project) -> Project:
    settings = project.folder / "host/settings.py"
    settings.write_text(f"print('settings')\n{settings.read_text()}")
    urls = project.folder / "host/urls.py"
    urls.write_text(f"import os\nprint('urls')\nos.write(1, b'raw')\n{urls.read_text()}")
    return project


@pytest.mark.parametrize("arguments", [("explain", "first", "--json"), ("indexes", "--json")])
def test_json_is_all_that_is_on_stdout(noisy: Project, arguments: tuple[str, ...]) -> None:
    out, err = _printed(noisy, *arguments)
    assert json.loads(out) is not None
    assert "settings\n" in err


def test_what_a_project_prints_while_it_is_looked_at_goes_to_stderr(noisy: Project) -> None:
    out, err = _printed(noisy, "explain", "first", "--json")
    assert json.loads(out)
    assert "urls\n" in err
    assert "raw" in err


def test_without_json_nothing_is_moved(noisy: Project) -> None:
    out, _ = _printed(noisy, "explain", "first")
    assert "settings\nurls\n" in out
