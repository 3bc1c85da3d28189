"""What clients pay to freelancers for jobs."""

from django.conf import settings
from django.db import models
from django.utils import timezone

from django_querybudget.indexes import PaymentIndexMixin
from jobs.models import Job


class PaymentStatus(models.TextChoices):
    PENDING = "pending", "Pending"
    PAID = "paid", "Paid"
    FAILED = "failed", "Failed"
    REFUNDED = "refunded", "Refunded"


class Payment(PaymentIndexMixin, models.Model):
    payer = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="payments_made"
    )
    recipient = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="payments_received"
    )
    job = models.ForeignKey(Job, on_delete=models.PROTECT, related_name="payments")
    amount = models.DecimalField(max_digits=10, decimal_places=2)
    currency = models.CharField(max_length=3, default="EUR")
    status = models.CharField(
        max_length=20, choices=PaymentStatus.choices, default=PaymentStatus.PENDING
    )
    details = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.reference

    @property
    def reference(self) -> str:
        """What stands on the bank statement: the month and the number, ``2026-03/000017``."""
        return f"{self.created_at:%Y-%m}/{self.pk:06d}"
