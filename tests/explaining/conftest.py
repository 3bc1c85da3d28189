"""A test run of the small host, whose files lie in a folder of the test's own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from django_querybudget.ratchet import collecting
from django_querybudget.ratchet.runs import Run
from jobs.models import Industry, Subcategory

Ran = Callable[..., Path]


@pytest.fixture
def rows(db: None) -> None:
    """Four subcategories, each of an industry of its own."""
    for number in range(4):
        industry = Industry.objects.create(name=f"Industry {number}")
        Subcategory.objects.create(name=f"Subcategory {number}", industry=industry)


@pytest.fixture
def ran(tmp_path: Path, settings: Any, client: Client) -> Iterator[Ran]:
    """Return a function that lets a recording run ask for paths, and returns the file."""
    settings.MIDDLEWARE = list(settings.MIDDLEWARE)  # start() may replace it
    outer = os.environ.get(collecting.SPOOL_VARIABLE)

    def run(*paths: str, mode: str = "record", passed: bool = True) -> Path:
        file = tmp_path / "querybudget.toml"
        one = Run(mode=mode, path=file, command="pytest --querybudget={mode}")
        one.start()
        for each in paths:
            client.get(each)
        one.finish("pytest tests", passed=passed)
        return file

    yield run
    if outer is not None:
        collecting.start(Path(outer))
