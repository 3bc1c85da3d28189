"""The host project of the ratchet's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ratchet.project import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A host project with a suite, and no querybudget.toml yet."""
    return Project(tmp_path)
