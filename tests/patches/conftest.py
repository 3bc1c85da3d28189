"""The small project, as ``fix`` finds it."""

from __future__ import annotations

from pathlib import Path

import pytest

from .project import stand_in
from .small import write_small


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "small"
    write_small(folder)
    stand_in(folder, "small_settings", monkeypatch)
    return folder
