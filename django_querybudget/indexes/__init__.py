"""Indexes: documented sets by mixin, audited against the database, advised by the planner."""

from __future__ import annotations

# Registered here and not by the app alone: a host may use the sets without the app.
from . import checks  # noqa: F401
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
