"""A small host project in a folder, and its suites run in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from django_querybudget.ratchet import lockfile
from django_querybudget.ratchet.lines import Key, Line
from django_querybudget.ratchet.lockfile import LockFile

SETTINGS = """
import os
SECRET_KEY = "x"
DEBUG = False
ALLOWED_HOSTS = ["testserver"]
ROOT_URLCONF = "host.urls"
INSTALLED_APPS = ["django.contrib.contenttypes", "django_querybudget", "host"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
MIDDLEWARE = []
STATIC_URL = "static/"
"""
URLS = """
from django.contrib.contenttypes.models import ContentType
from django.http import HttpResponse
from django.urls import path

def run(queries):
    for number in range(queries):
        ContentType.objects.filter(pk=number).exists()

def first(request):
    run(int(request.GET.get("queries", 1)))
    return HttpResponse()

def second(request):
    run(2)
    return HttpResponse()

urlpatterns = [path("first", first, name="first"), path("second", second, name="second")]
"""
TESTS = """
from django.contrib.contenttypes.models import ContentType
from django.test import TestCase

class ViewTests(TestCase):
    def test_first(self):
        self.client.get("/first", {"queries": FIRST})

    def test_first_again(self):
        self.client.get("/first")

    def test_second(self):
        self.client.get("/second")
"""

WITHOUT = [
    word
    for name in (
        *("cacheprovider", "anyio", "hypothesispytest", "pytest_cov", "valkey"),
        "unraisableexception",  # it collects garbage again and again at the end
    )
    for word in ("-p", f"no:{name}")
]
"""Plugins that this environment has, and a host's need not have: they take a quarter of a run."""

_recorded: dict[tuple[str, ...], bytes] = {}
"""What a real run has recorded of these files."""


def run_python(folder: Path, *command: str, **variables: str) -> tuple[int, str]:
    """Run Python in a folder; return its exit status and what it wrote."""
    ours = ("DJANGO_", "PYTEST_", "QUERYBUDGET_", "GITHUB_")
    environment = {name: text for name, text in os.environ.items() if not name.startswith(ours)}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**environment, "PYTHONDONTWRITEBYTECODE": "1", **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=120,
    )
    return done.returncode, done.stdout


class Project:
    """The project; ``tests(…)`` writes its suite anew."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lockfile = folder / "querybudget.toml"
        host = folder / "host"
        host.mkdir()
        (host / "__init__.py").touch()
        (host / "settings.py").write_text(SETTINGS)
        (host / "urls.py").write_text(URLS)
        (folder / "pytest.ini").write_text(
            "[pytest]\nDJANGO_SETTINGS_MODULE = host.settings\npythonpath = .\n"
        )
        (folder / "manage.py").write_text(
            "import os, sys\n"
            "os.environ['DJANGO_SETTINGS_MODULE'] = 'host.settings'\n"
            "from django.core.management import execute_from_command_line\n"
            "if __name__ == '__main__':\n"
            "    execute_from_command_line(sys.argv)\n"
        )
        self.tests(first=3)

    def tests(self, first: int = 3, more: str = "") -> None:
        """Write a suite whose view ``first`` executes so many queries, and ``more`` tests."""
        text = TESTS.replace("FIRST", str(first)) + more
        (self.folder / "host" / "test_views.py").write_text(text)

    def record(self, **queries: int) -> None:
        """Write the file as ``pytest --querybudget=record`` would, with these views' queries."""
        lines: dict[Key, Line] = {
            Key("views", f"GET {name} 2xx"): Line(queries=number, similar=max(number - 1, 0))
            for name, number in queries.items()
        }
        lockfile.write(self.lockfile, LockFile(run="pytest .", lines=lines))

    def recorded(self) -> None:
        """Have the file that ``pytest --querybudget=record`` makes of the suite as it stands.

        For tests of what comes after it: of the same files, one run of this process records.
        """
        files = tuple(path.read_text() for path in sorted(self.folder.rglob("*.py")))
        if files not in _recorded:
            status, text = self.pytest("--querybudget=record")
            assert status == 0, text
            _recorded[files] = self.lockfile.read_bytes()
        self.lockfile.write_bytes(_recorded[files])

    def pytest(self, *arguments: str) -> tuple[int, str]:
        """Run pytest; return its exit status and what it wrote."""
        return run_python(self.folder, "-m", "pytest", *WITHOUT, *arguments)

    def manage(self, *arguments: str) -> tuple[int, str]:
        """Run manage.py; return its exit status and what it wrote."""
        return run_python(self.folder, "manage.py", *arguments)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A host project with a suite, and no querybudget.toml yet."""
    return Project(tmp_path)
