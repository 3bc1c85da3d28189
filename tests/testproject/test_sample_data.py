"""The sample data: the documented sizes, the same every time, all or nothing."""

from datetime import UTC, datetime

import pytest
from django.contrib.auth import authenticate
from django.db import IntegrityError

from accounts.models import CustomUser
from jobs.models import Job
from marketplace import sample_data
from marketplace.sample_rows import DEMO_PASSWORD, NOW, Sizes, build
from rating.models import Review


def everything() -> dict[str, list[tuple[object, ...]]]:
    return {
        model._meta.label: list(model._default_manager.order_by("pk").values_list())
        for model in sample_data.MODELS
    }


@pytest.mark.django_db
def test_users_log_in_with_the_demo_password() -> None:
    sample_data.fill(0.05)
    user = CustomUser.objects.get(pk=1)
    assert authenticate(username=user.username, password=DEMO_PASSWORD) == user


@pytest.mark.django_db
def test_filled_twice_it_is_the_same_to_the_last_value() -> None:
    sample_data.fill(0.05)
    first = everything()
    sample_data.clear()
    assert not any(everything().values())
    sample_data.fill(0.05)
    assert everything() == first


def test_no_row_depends_on_when_it_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django.utils.timezone.now", lambda: datetime(1999, 1, 1, tzinfo=UTC))
    for rows in build(Sizes.at(0.1)).values():
        for row in rows:
            for field in row._meta.concrete_fields:
                value = getattr(row, field.attname)
                if isinstance(value, datetime):
                    assert datetime(2020, 1, 1, tzinfo=UTC) < value <= NOW


@pytest.mark.django_db
def test_a_row_made_after_it_gets_a_free_key() -> None:
    sample_data.fill(0.05)
    last = Review.objects.order_by("-pk")[0].pk
    user = CustomUser.objects.create(username="later", email="later@example.com")
    review = Review.objects.create(reviewer=user, reviewed_id=1, job=Job.objects.all()[0], rating=5)
    assert review.pk > last


@pytest.mark.django_db
def test_a_fill_over_existing_keys_changes_nothing() -> None:
    sample_data.fill(0.05)
    Review.objects.all().delete()
    before = everything()
    with pytest.raises(IntegrityError):
        sample_data.fill(0.05)
    assert everything() == before


@pytest.mark.django_db
def test_progress_ends_at_the_number_of_rows() -> None:
    steps: list[tuple[str, int, int]] = []
    rows = sample_data.fill(0.05, lambda *step: steps.append(step))
    done = [step[1] for step in steps]
    assert done == sorted(done)
    assert steps[0][0] == "users"
    assert steps[-1][1:] == (rows, rows)


@pytest.mark.parametrize("scale", [0, -1, float("nan"), float("inf"), 101])
def test_a_scale_out_of_range_is_refused(scale: float) -> None:
    with pytest.raises(ValueError, match=r"scale must be above 0 and at most 100, not "):
        Sizes.at(scale)


@pytest.mark.parametrize("scale", [0.0001, 0.01, 0.02])
def test_the_smallest_scales_have_enough_pairs(scale: float) -> None:
    rows = build(Sizes.at(scale))
    assert all(rows[model] for model in sample_data.MODELS)
