"""The marketplace's data, filled once for a module and taken away after it.

A module uses one of the fixtures or none: they fill the same tables.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from pytest_django.plugin import DjangoDbBlocker

from marketplace import sample_data


@pytest.fixture(autouse=True)
def headers(settings: Any) -> None:
    """The marketplace shows its headers to everyone; the suite's settings take that away."""
    settings.QUERYBUDGET = {**settings.QUERYBUDGET, "HEADERS": True}


def _filled(scale: float, blocker: DjangoDbBlocker) -> Iterator[None]:
    with blocker.unblock():
        sample_data.fill(scale)
    yield
    with blocker.unblock():
        sample_data.clear()


@pytest.fixture(scope="module")
def full_marketplace(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Fill to the documented sizes: 200 users, 500 jobs."""
    yield from _filled(1, django_db_blocker)


@pytest.fixture(scope="module")
def small_marketplace(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Fill to a fifth of it: still several pages for the busiest users."""
    yield from _filled(0.2, django_db_blocker)
