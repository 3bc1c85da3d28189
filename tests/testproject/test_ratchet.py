"""The marketplace's own suite is held to its querybudget.toml: an N+1 put back fails it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.ratchet.project import run_python

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parents[2]
RUNNERS = {
    "pytest": ["-m", "pytest", "-p", "no:cacheprovider", "--querybudget=check"],
    "manage.py": ["manage.py", "querybudget", "check", "--", "test"],
}
EAGER = '.prefetch_related("subcategories")'


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the test project, to break."""
    folder = tmp_path / "testproject"
    ignored = shutil.ignore_patterns("*.sqlite3*", "__pycache__")
    shutil.copytree(ROOT / "testproject", folder, ignore=ignored)
    (folder / "pytest.ini").write_text(
        "[pytest]\nDJANGO_SETTINGS_MODULE = marketplace.settings\npythonpath = .\n"
    )
    return folder


def check(folder: Path, runner: str) -> tuple[int, str]:
    return run_python(folder, *RUNNERS[runner], PYTHONPATH=str(ROOT))


@pytest.mark.parametrize("runner", RUNNERS)
def test_as_it_is_it_keeps_its_lines(copy: Path, runner: str) -> None:
    status, text = check(copy, runner)
    assert status == 0, text
    assert "All 8 lines are as in querybudget.toml." in text


@pytest.mark.parametrize("runner", RUNNERS)
def test_an_n_plus_1_put_back_fails_and_is_named(copy: Path, runner: str) -> None:
    views = copy / "jobs" / "views_optimised.py"
    source = views.read_text()
    assert source.count(EAGER) == 1
    views.write_text(source.replace(EAGER, ""))
    line = 1 + next(
        number
        for number, text in enumerate(views.read_text().splitlines())
        if "for subcategory in job.subcategories.all()" in text
    )
    status, text = check(copy, runner)
    assert status == 1
    assert "GET optimised:alljobs 2xx: 2 → 21 queries" in text
    assert "0 → 20 x  SELECT … FROM jobs_subcategory INNER JOIN jobs_job_subcategories" in text
    assert f"jobs/views_optimised.py:{line} in _job_row" in text
