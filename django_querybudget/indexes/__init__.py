"""Indexes: documented sets by mixin, audited against the database, advised by the planner."""

from __future__ import annotations

from django_querybudget.indexes.models.mixins import (
    IndexMixin,
    OTPIndexMixin,
    PaymentIndexMixin,
    ProfileIndexMixin,
    ReviewIndexMixin,
    UserIndexMixin,
)

# Registered here and not by the app alone: a host may use the sets without the app.
from . import checks  # noqa: F401 - registers them

__all__ = [
    "IndexMixin",
    "OTPIndexMixin",
    "PaymentIndexMixin",
    "ProfileIndexMixin",
    "ReviewIndexMixin",
    "UserIndexMixin",
]
