"""A view's statements that are pinned to a row: what they depend on where there is no such row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import caches
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from django_querybudget.cache import cache_stats, cached_view
from jobs.models import Industry

KEY = 50
READS: dict[str, Callable[[Any], Any]] = {
    "count": lambda rows: rows.count(),
    "aggregate": lambda rows: rows.aggregate(n=Count("pk")),
    "exists": lambda rows: rows.exists(),
    "values": lambda rows: list(rows.values_list("name", flat=True)),
    "rows": lambda rows: [each.name for each in rows],
}


@pytest.mark.parametrize(
    "alias",
    [
        pytest.param(alias, marks=pytest.mark.django_db(transaction=True, databases=[alias]))
        for alias in ("default", "postgres", "mariadb")
    ],
)
@pytest.mark.parametrize("read", READS)
def test_a_row_that_comes_is_seen_by_who_found_none(alias: str, read: str) -> None:
    """An aggregate has one row of an answer, whether there is one to count or not."""
    caches["default"].clear()

    @cached_view(600, vary_on=())
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(repr(READS[read](Industry.objects.using(alias).filter(pk=KEY))))

    def answer() -> bytes:
        return view(RequestFactory().get(f"/{alias}/{read}/")).content

    before = answer()
    cache_stats(reset=True)
    assert answer() == before
    assert cache_stats().hits == 1
    Industry.objects.using(alias).create(pk=KEY, name="new")
    assert answer() == repr(READS[read](Industry.objects.using(alias).filter(pk=KEY))).encode()
    assert answer() != before
