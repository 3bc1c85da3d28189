"""People: the user, the codes they confirm with, their profile and their wallet."""

from decimal import Decimal

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import Avg
from django.utils import timezone

from django_querybudget.indexes import OTPIndexMixin, ProfileIndexMixin, UserIndexMixin


class Role(models.TextChoices):
    CLIENT = "client", "Client"
    FREELANCER = "freelancer", "Freelancer"
    STAFF = "staff", "Staff"


class CustomUser(UserIndexMixin, AbstractUser):
    email = models.EmailField(unique=True)
    role = models.CharField(max_length=20, choices=Role.choices, default=Role.FREELANCER)

    @property
    def full_name(self) -> str:
        return self.get_full_name() or self.username

    @property
    def avatar(self) -> str:
        """The picture's address; empty for a user without a picture or a profile."""
        try:
            return self.profile.avatar
        except Profile.DoesNotExist:
            return ""

    @property
    def average_rating(self) -> float | None:
        """The mean of the ratings received (1 to 5), None without a review."""
        average: float | None = self.reviews_received.aggregate(value=Avg("rating"))["value"]
        return average

    @property
    def review_count(self) -> int:
        return self.reviews_received.count()


class OTP(OTPIndexMixin, models.Model):
    """A one-time code that confirms an address."""

    user = models.ForeignKey(CustomUser, on_delete=models.CASCADE, related_name="otps")
    code = models.CharField(max_length=6)
    is_verified = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name = "OTP"

    def __str__(self) -> str:
        return f"{self.user_id}: {'verified' if self.is_verified else 'open'}"


class Profile(ProfileIndexMixin, models.Model):
    user = models.OneToOneField(CustomUser, on_delete=models.CASCADE, related_name="profile")
    role = models.CharField(max_length=20, choices=Role.choices, default=Role.FREELANCER)
    headline = models.CharField(max_length=120, blank=True)
    bio = models.TextField(blank=True)
    avatar = models.CharField(max_length=200, blank=True)
    city = models.CharField(max_length=80, blank=True)
    skills = models.JSONField(default=list, blank=True)
    joined_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.headline or f"Profile {self.pk}"


class Wallet(models.Model):
    user = models.OneToOneField(CustomUser, on_delete=models.CASCADE, related_name="wallet")
    balance = models.DecimalField(max_digits=12, decimal_places=2, default=Decimal("0.00"))
    currency = models.CharField(max_length=3, default="EUR")
    updated_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"{self.balance} {self.currency}"
