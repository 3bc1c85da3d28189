"""What a bulk method would leave out: it is not suggested then."""

from __future__ import annotations

from typing import Any

import pytest
from django.db.models.signals import m2m_changed, post_save

from django_querybudget import capture_queries
from django_querybudget.nplusone import find_nplusone
from django_querybudget.nplusone.rendering import render_findings

from .data import fill
from .models import Book, Setting, Tag

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _library(db: None) -> None:
    fill()


def _hear(**kwargs: Any) -> None:
    del kwargs


def test_receivers_are_not_left_out() -> None:
    post_save.connect(_hear, sender=Tag)
    try:
        with capture_queries() as log:
            for number in range(4):
                Tag.objects.create(name=f"new {number}")
        (finding,) = find_nplusone(log)
    finally:
        post_save.disconnect(_hear, sender=Tag)
    assert (finding.operation, finding.count, finding.fix) == ("create", 4, None)
    assert "if no save() or receiver is left out" in "\n".join(render_findings([finding]))
    (unheard,) = find_nplusone(log)
    assert unheard.fix is not None


def test_receivers_of_a_many_to_many_relation_are_not_left_out() -> None:
    tag = Tag.objects.create(name="new")
    m2m_changed.connect(_hear, sender=Book.tags.through)
    try:
        with capture_queries() as log:
            for book in Book.objects.all():
                book.tags.add(tag)
        (finding,) = find_nplusone(log)
    finally:
        m2m_changed.disconnect(_hear, sender=Book.tags.through)
    # With a receiver add() asks first what is there.
    assert (finding.relation, finding.operation, finding.count) == ("Book.tags", "add", 12)
    assert finding.fix is None


def test_mysql_names_no_unique_fields() -> None:
    with capture_queries() as log:
        for number in range(4):
            Setting.objects.update_or_create(key=f"key-{number}", defaults={"value": "new"})
    log.raw[:] = [raw._replace(vendor="mysql") for raw in log.raw]
    (finding,) = find_nplusone(log)
    assert finding.fix is not None
    assert finding.fix.code == (
        'Setting.objects.bulk_create(setting_list, update_conflicts=True, update_fields=["value"])'
    )
