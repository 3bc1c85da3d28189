"""Hosts whose models other apps build: django-polymorphic, django-mptt, django-simple-history."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import models
from django.db.migrations.operations import CreateModel
from django.test.utils import isolate_apps
from mptt.models import MPTTModel, TreeForeignKey
from polymorphic.models import PolymorphicModel
from simple_history.models import HistoricalRecords

from django_querybudget.indexes import IndexMixin, PaymentIndexMixin
from django_querybudget.indexes.models.resolve import resolution_of
from tests.indexes.conftest import Changes
from tests.indexes.test_hosts import PAYMENT_COLUMNS, PaymentFields, fields


@pytest.fixture(autouse=True)
def _own_registry() -> Iterator[None]:
    with isolate_apps("accounts", "payment", "django.contrib.contenttypes", "django.contrib.auth"):
        yield


class StatusSet(IndexMixin):
    documented_indexes = ("status",)

    class Meta:
        abstract = True


@pytest.mark.parametrize("mixin_first", [True, False])
def test_polymorphic(mixin_first: bool) -> None:
    bases = (PaymentIndexMixin, PaymentFields, PolymorphicModel)

    class Payment(*(bases if mixin_first else bases[::-1])):
        class Meta:
            app_label = "payment"

    class CardPayment(Payment):
        card = models.CharField(max_length=9)

        class Meta:
            app_label = "payment"

    assert fields(Payment) == PAYMENT_COLUMNS
    assert fields(CardPayment) == []
    assert resolution_of(Payment).problems == ()
    assert resolution_of(CardPayment).problems == ()


def test_polymorphic_without_a_meta() -> None:
    class Payment(StatusSet, PolymorphicModel):
        status = models.CharField(max_length=9)
        __module__ = "payment.models"

    assert fields(Payment) == [["status"]]
    assert Payment._meta.base_manager_name == PolymorphicModel._meta.base_manager_name


@pytest.mark.parametrize("mixin_first", [True, False])
def test_mptt(mixin_first: bool, changes: Changes) -> None:
    bases = (StatusSet, MPTTModel)

    class Category(*(bases if mixin_first else bases[::-1])):
        status = models.CharField(max_length=9)
        parent = TreeForeignKey("self", models.CASCADE, null=True, related_name="children")

        class Meta:
            app_label = "payment"

        class MPTTMeta:
            order_insertion_by = ["status"]

    assert ["status"] in fields(Category)
    # mptt's own index over its tree's columns is still there.
    assert {f for columns in fields(Category) for f in columns} >= {"status", "tree_id", "lft"}
    assert resolution_of(Category).problems == ()
    (create, *_) = changes(None, Category)
    assert isinstance(create, CreateModel)
    assert all("querybudget" not in getattr(b, "__module__", "") for b in create.bases)


def test_simple_history() -> None:
    class Payment(PaymentIndexMixin, PaymentFields):
        history = HistoricalRecords(user_model="accounts.CustomUser")

        class Meta:
            app_label = "payment"

    history = Payment.history.model
    assert history._meta.object_name == "HistoricalPayment"
    assert fields(Payment) == PAYMENT_COLUMNS
    # A row of the history is looked up by the row it is of: the set is the live table's.
    assert not set(map(tuple, fields(history))) & set(map(tuple, PAYMENT_COLUMNS))
    assert resolution_of(history).problems == ()
