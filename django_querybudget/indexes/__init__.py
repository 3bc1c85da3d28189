"""Indexes: documented sets by mixin, audited against the database, advised by the planner."""

from __future__ import annotations

from .mixins import (
    IndexMixin,
    OTPIndexMixin,
    PaymentIndexMixin,
    ProfileIndexMixin,
    ReviewIndexMixin,
    UserIndexMixin,
)

__all__ = [
    "IndexMixin",
    "OTPIndexMixin",
    "PaymentIndexMixin",
    "ProfileIndexMixin",
    "ReviewIndexMixin",
    "UserIndexMixin",
]
