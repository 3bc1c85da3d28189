"""``fix`` on the marketplace: its naive endpoints meet their budgets without a hand."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from django_querybudget.patches.proving import Proof
from django_querybudget.patches.rehearsals import Suite
from django_querybudget.patches.report import as_text

from .project import commit

pytestmark = [pytest.mark.slow, pytest.mark.once]

ROOT = Path(__file__).parents[2]
BUDGET = 3
NAMES = (
    "alljobs",
    "saved-jobs",
    "applications",
    "payments",
    "reviews",
    "user-profile",
    "job-details",
)
TESTS = '''"""Every naive endpoint once, and what it answers, kept where ANSWERS says."""

import os
from pathlib import Path

from django.db.models import Count

from jobs.models import Job
from marketplace.test_budgets import EndpointTests


class NaiveTests(EndpointTests):
    """The same questions to the naive versions."""

    @classmethod
    def setUpTestData(cls) -> None:
        super().setUpTestData()
        cls.job = Job.objects.annotate(n=Count("applications")).order_by("-n", "pk")[0]

    def ask(self, name: str, **parameters: object) -> None:
        response = self.client.get(f"/naive/{name}", parameters)
        assert response.status_code == 200
        if folder := os.environ.get("ANSWERS"):
            Path(folder, name).write_bytes(response.content)
'''


@pytest.fixture
def market(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "market"
    caches = shutil.ignore_patterns("__pycache__", "*.sqlite3*")
    shutil.copytree(ROOT / "testproject", folder, ignore=caches)
    (folder / "marketplace/test_naive.py").write_text(TESTS, encoding="utf-8")
    commit(folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "marketplace.settings")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in ("DATABASE_URL", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each])
    return folder


def _answers(folder: Path, into: Path) -> dict[str, bytes]:
    into.mkdir()
    subprocess.run(
        [sys.executable, "manage.py", "test", "marketplace.test_naive"],
        cwd=folder,
        env={**os.environ, "ANSWERS": str(into)},
        check=True,
        capture_output=True,
    )
    return {each.name: each.read_bytes() for each in into.iterdir()}


def test_naive_endpoints_are_proved_to_their_budgets(market: Path, tmp_path: Path) -> None:
    before = _answers(market, tmp_path / "before")
    assert {*before} == {*NAMES}
    with Proof(market, Suite("test", (), (str(market / "manage.py"),))) as proof:
        proof.run()
        told = as_text(proof)
        assert {each.outcome for each in proof.judged.values()} == {"proved"}, told
        most: dict[str, int] = {}
        for judged in proof.proved:
            assert judged.verdict is not None
            assert judged.verdict.extents["part"] == judged.verdict.extents["none"] == 0
            for each in judged.verdict.views:
                most[each.view] = max(most.get(each.view, 0), each.after)
        for path, data in proof.files().items():
            (market / path).write_bytes(data)
    assert {f"GET naive:{name}" for name in NAMES} <= most.keys()
    assert all(most[f"GET naive:{name}"] <= BUDGET for name in NAMES), told
    assert _answers(market, tmp_path / "after") == before
