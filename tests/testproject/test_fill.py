"""``manage.py fill``: once, unless it is told to reset."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from accounts.models import CustomUser

pytestmark = pytest.mark.django_db


def fill(**options: object) -> str:
    output = StringIO()
    call_command("fill", stdout=output, **options)
    return output.getvalue()


def test_it_fills_and_says_how_much() -> None:
    assert fill(scale=0.05).startswith("Filled the database 'default': ")
    assert CustomUser.objects.count() == 10


def test_a_second_run_says_so_and_changes_nothing() -> None:
    fill(scale=0.05)
    CustomUser.objects.filter(pk=1).update(first_name="Changed")
    assert "has data already: nothing done" in fill(scale=0.1)
    assert CustomUser.objects.count() == 10
    assert CustomUser.objects.get(pk=1).first_name == "Changed"


def test_reset_deletes_and_fills_again() -> None:
    fill(scale=0.05)
    CustomUser.objects.filter(pk=1).update(first_name="Changed")
    fill(scale=0.05, reset=True)
    assert CustomUser.objects.count() == 10
    assert CustomUser.objects.get(pk=1).first_name != "Changed"


def test_a_bad_scale_is_refused_before_anything_is_deleted() -> None:
    fill(scale=0.05)
    with pytest.raises(CommandError, match="--scale: scale must be above 0"):
        fill(scale=0, reset=True)
    assert CustomUser.objects.count() == 10


@pytest.mark.django_db(databases=["default", "other"])
def test_it_fills_the_database_that_is_named() -> None:
    fill(scale=0.05, database="other")
    assert CustomUser.objects.using("other").count() == 10
    assert not CustomUser.objects.exists()
