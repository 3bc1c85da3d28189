"""The package: importable before settings exist, with the public names."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import django_querybudget


def test_the_public_names_are_there() -> None:
    for name in django_querybudget.__all__:
        assert getattr(django_querybudget, name) is not None
    assert set(django_querybudget.__all__) <= set(dir(django_querybudget))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        django_querybudget.nothing  # noqa: B018


def test_it_is_importable_before_settings_exist() -> None:
    script = "import django_querybudget as q; q.Budget; q.capture_queries; print('imported')"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == ("imported", "")


def test_the_version_is_the_distributions() -> None:
    assert metadata.version("django-querybudget") == django_querybudget.__version__


def test_it_is_typed() -> None:
    assert (Path(django_querybudget.__file__).parent / "py.typed").exists()
