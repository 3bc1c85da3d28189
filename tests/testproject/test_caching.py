"""The cached endpoints: the same JSON, no query when warm, right after each kind of write."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.cache import cache
from django.core.management import CommandError, call_command

from marketplace import sample_data
from marketplace.caching import WRITES
from marketplace.measuring import NAMES

pytestmark = pytest.mark.once

SHARED = ("alljobs", "reviews", "job-details")
"""Endpoints that answer all users alike: a hit looks no user up."""


@pytest.mark.django_db(transaction=True)
def test_the_demo_shows_every_endpoint_warm_and_right() -> None:
    cache.clear()
    sample_data.clear()
    sample_data.fill(0.2)
    output = StringIO()
    call_command("demo_cache", stdout=output, stderr=StringIO())
    rows = [line.split() for line in output.getvalue().splitlines() if "/cached/" in line]
    assert [row[0] for row in rows] == [f"/cached/{name}" for name in NAMES]
    for name, cold, warm, _, trips, *_, changed, anew, right, of, writes in rows:
        assert 1 <= int(cold) <= 3
        assert int(warm) == 0
        assert int(trips) == (1 if name.removeprefix("/cached/") in SHARED else 2)
        assert int(changed) <= int(anew) <= len(WRITES)
        assert (right, of, writes) == (str(len(WRITES)), "of", str(len(WRITES)))


@pytest.mark.django_db
def test_in_a_test_case_it_says_that_nothing_is_warm() -> None:
    with pytest.raises(CommandError, match="/cached/alljobs made 2 queries when it was warm"):
        call_command("demo_cache", stdout=StringIO(), stderr=StringIO())
