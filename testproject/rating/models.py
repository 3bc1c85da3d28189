"""What people say of one another after a job."""

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone

from django_querybudget.indexes import ReviewIndexMixin
from jobs.models import Job


class Review(ReviewIndexMixin, models.Model):
    reviewed = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="reviews_received"
    )
    reviewer = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="reviews_written"
    )
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="reviews")
    rating = models.PositiveSmallIntegerField(
        validators=[MinValueValidator(1), MaxValueValidator(5)]
    )
    comment = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["reviewer", "reviewed", "job"], name="one_review_per_job"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.rating} of 5 for user {self.reviewed_id}"
