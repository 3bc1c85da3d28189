"""Copies of rows: what must differ differs, and what cannot be copied says why."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import models, transaction
from django.db.models.functions import Concat, Lower

from accounts.models import CustomUser, Profile
from django_querybudget.trying.copying import CannotCopy, _names_in, copy_rows
from jobs.models import Application, Industry, Job
from tests.cache.hosts.models import ByCode, ByUuid, Dog, Shelf
from tests.nplusone.models import Stamped


def make(alias: str) -> Application:
    user = CustomUser.objects.using(alias).create(username="reader", email="reader@example.com")
    Profile.objects.using(alias).create(user=user, headline="h")
    industry = Industry.objects.using(alias).create(name="i")
    job = Job.objects.using(alias).create(client=user, industry=industry, title="t", budget=1)
    return Application.objects.using(alias).create(job=job, applicant=user, offer=1)


def test_what_is_unique_differs_on_every_database(vendor_alias: str) -> None:
    """A user of its own for each profile, a job of its own for each application, and so on."""
    make(vendor_alias)
    for model, number in ((Profile, 4), (Application, 4), (Job, 4)):
        before = model._base_manager.using(vendor_alias).count()
        assert copy_rows(model, number, vendor_alias) == before * number
        assert model._base_manager.using(vendor_alias).count() == before * (number + 1)
    users = CustomUser.objects.using(vendor_alias)
    assert {user.profile.headline for user in users.exclude(profile=None)} == {"h"}
    assert users.filter(email__endswith="reader@example.com").count() == users.count()


@pytest.mark.django_db
def test_keys_of_each_kind_and_sets_of_fields() -> None:
    Stamped.objects.create(shelf="a", number=1)
    Stamped.objects.create(shelf="a", number=2)
    shelf = Shelf.objects.create()
    ByUuid.objects.create(name="u", shelf=shelf)
    ByCode.objects.create(id="code", name="c", shelf=shelf)
    for model, made in ((Stamped, 6), (ByUuid, 3), (ByCode, 3)):
        assert copy_rows(model, 3, "default") == made
    assert not ByCode.objects.filter(id__regex="^.{9}").exists()


@pytest.mark.django_db
def test_what_cannot_be_copied_says_why_and_leaves_the_transaction_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(CannotCopy, match="no row was there"):
        copy_rows(Industry, 3, "default")
    Dog.objects.create(name="d")
    with pytest.raises(CannotCopy, match="two tables: it inherits"):
        copy_rows(Dog, 3, "default")
    make("default")
    # A constraint that the model does not tell of: the database refuses.
    name: Any = Industry._meta.get_field("name")
    # A cached property: it may have been asked before, and is not to stay false.
    monkeypatch.setitem(vars(name), "unique", False)
    assert not name.unique
    with transaction.atomic():
        with pytest.raises(CannotCopy, match="IntegrityError: UNIQUE"):
            copy_rows(Industry, 3, "default")
        assert Industry.objects.count() == 1


@pytest.mark.django_db
def test_there_are_never_more_than_some_hundred() -> None:
    Stamped.objects.bulk_create(Stamped(shelf="a", number=number) for number in range(30))
    assert copy_rows(Stamped, 200, "default") == 400


@pytest.mark.django_db
def test_no_code_of_the_project_is_told() -> None:
    make("default")
    told: list[object] = []

    def receive(**names: object) -> None:
        told.append(names["instance"])

    models.signals.post_save.connect(receive)
    try:
        copy_rows(Job, 3, "default")
    finally:
        models.signals.post_save.disconnect(receive)
    assert told == []


def test_an_expression_that_is_unique_names_its_fields() -> None:
    expressions = [Lower("email").desc(), Concat("shelf", "number")]
    assert list(_names_in(expressions)) == ["email", "shelf", "number"]
