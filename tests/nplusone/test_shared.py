"""One endpoint's advice, written into the code that it shares with others: all must stay right."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction

from django_querybudget import capture_queries
from django_querybudget.nplusone import Finding, find_nplusone
from django_querybudget.stacks import Origin

from . import shared
from .applying import Applied
from .data import fill
from .models import Author, Book

pytestmark = pytest.mark.django_db

# What is left where no one line is valid for all callers, or none saves.
AFTER = {
    "writers": 2,
    "rows_by_a_mixin": 2,
    "titles_by_a_mixin": 1,
    "cards": 2,
    "sell_all": 26,
    "list_authors": 2,
    "authors_of_publishers": 3,
    "mentors": 2,
    "authors_with_books": 2,
    "persons_of_tickets": 3,
    "books_with_their_best": 1,
    "titles_of_authors": 2,
    "tags_of_books": 2,
    "tags_of_books_that_are_prefetched": 2,
    "seats_of_a_club": 3,
    "seats_of_clubs": 5,
    "seats": 2,
    "report_of_all": 2,
    "report_of_some": 3,
}


@pytest.fixture(autouse=True)
def _library(db: None) -> None:
    fill()
    for number, author in enumerate(Author.objects.order_by("pk")):
        Book.objects.create(title=f"sold {number}", isbn=f"sold {number}", author=author)
    Book.objects.filter(title__in=["sold 0", "sold 4"]).update(status="sold")


def _answers(module: Any) -> dict[str, Any]:
    answers = {}
    for each in shared.ENDPOINTS:
        with transaction.atomic():
            answers[each.__name__] = getattr(module, each.__name__)()
            transaction.set_rollback(True)
    return answers


def _find(endpoint: Callable[[], Any]) -> tuple[int, tuple[Finding, ...]]:
    with transaction.atomic():
        with capture_queries() as log:
            endpoint()
        transaction.set_rollback(True)
    return log.count, find_nplusone(log)


@pytest.mark.parametrize("name", AFTER)
def test_what_one_endpoint_is_told_is_right_for_all(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = _answers(shared)
    before, findings = _find(getattr(shared, name))
    applied = Applied(findings)
    changed = applied.module(shared)
    applied.patch_models(monkeypatch)
    assert _answers(changed) == expected
    after, _ = _find(getattr(changed, name))
    assert after == before - sum(each.saves for each in findings), findings
    assert after == AFTER[name], findings


def test_the_others_have_no_loop() -> None:
    silent = [each for each in shared.ENDPOINTS if each.__name__ not in AFTER]
    assert [each.__name__ for each in silent if _find(each)[1]] == []


def test_one_line_gets_one_advice_whoever_asks() -> None:
    told: dict[tuple[Origin | None, str | None], set[str]] = defaultdict(set)
    for endpoint in shared.ENDPOINTS:
        for finding in _find(endpoint)[1]:
            if finding.use is not None:
                told[finding.origin, finding.replaces].add(finding.use)
    assert told
    assert {place: uses for place, uses in told.items() if len(uses) > 1} == {}
