"""Ten missing, five redundant and five useless indexes; beside them some that only look so.

The fifth redundant index is in no model: ``plant.py`` makes it in the database.
"""

import os

from django.db import models
from django.db.models import Index, Q

CURED = "PLANTED_CURED" in os.environ


def cure(*indexes: Index) -> list[Index]:
    return list(indexes) if CURED else []


class Customer(models.Model):
    email = models.EmailField(unique=True)
    country = models.CharField(max_length=2)
    referral_code = models.CharField(max_length=12)
    created_at = models.DateTimeField()
    last_login = models.DateTimeField()
    nickname = models.CharField(max_length=20)
    active = models.BooleanField(default=True)

    class Meta:
        indexes = [
            Index(fields=["email"], name="redundant_unique"),
            Index(fields=["last_login"], name="useless_last_login"),
            Index(fields=["nickname"], name="blank_nicknames", condition=Q(nickname="")),
            *cure(Index(fields=["referral_code"]), Index(fields=["country", "created_at"])),
        ]


class Order(models.Model):
    customer = models.ForeignKey(Customer, models.CASCADE, related_name="orders")
    status = models.CharField(max_length=10)
    channel = models.CharField(max_length=10)
    coupon = models.CharField(max_length=10)
    total = models.IntegerField()
    placed_at = models.DateTimeField()
    note_code = models.CharField(max_length=10)

    class Meta:
        indexes = [
            Index(fields=["customer"], name="redundant_foreign_key"),
            Index(fields=["placed_at"], name="placed"),
            Index(fields=["-placed_at"], name="redundant_duplicate"),
            Index(fields=["note_code"], name="useless_note_code"),
            # Longer than "placed", but of some rows only: neither covers the other.
            Index(fields=["placed_at", "total"], name="big", condition=Q(total__gt=900)),
            *cure(
                Index(fields=["status", "channel"]),
                Index(fields=["coupon"]),
                Index(fields=["total"]),
            ),
        ]


class Item(models.Model):
    order = models.ForeignKey(Order, models.CASCADE, related_name="items")
    sku = models.CharField(max_length=10)
    warehouse = models.CharField(max_length=10)
    quantity = models.IntegerField()
    batch = models.CharField(max_length=10)
    returned = models.BooleanField(default=False)

    class Meta:
        indexes = [
            Index(fields=["batch"], name="useless_batch"),
            *cure(Index(fields=["sku", "warehouse"]), Index(fields=["warehouse", "quantity"])),
        ]


class Event(models.Model):
    kind = models.CharField(max_length=10)
    subject_id = models.BigIntegerField()
    happened_at = models.DateTimeField()
    source = models.CharField(max_length=10)
    severity = models.IntegerField()

    class Meta:
        ordering = ["-happened_at"]
        indexes = [
            Index(fields=["source"], name="redundant_prefix"),
            Index(fields=["source", "happened_at"], name="source_and_time"),
            Index(fields=["severity"], name="useless_severity"),
            *cure(
                Index(fields=["kind", "subject_id", "happened_at"]), Index(fields=["happened_at"])
            ),
        ]


class Visit(models.Model):
    customer = models.ForeignKey(Customer, models.CASCADE, related_name="visits", db_index=False)
    page = models.CharField(max_length=20, unique=True)
    agent = models.CharField(max_length=20)

    class Meta:
        indexes = [
            Index(fields=["agent"], name="useless_agent"),
            *cure(Index(fields=["customer_id"])),
        ]
