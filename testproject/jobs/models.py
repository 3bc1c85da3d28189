"""Jobs: where they belong, who applies for them and who keeps them in mind."""

from typing import Any

from django.conf import settings
from django.db import models
from django.utils import timezone


class Industry(models.Model):
    name = models.CharField(max_length=80, unique=True)

    class Meta:
        ordering = ["name"]
        verbose_name_plural = "industries"

    def __str__(self) -> str:
        return self.name


class Subcategory(models.Model):
    industry = models.ForeignKey(Industry, on_delete=models.CASCADE, related_name="subcategories")
    name = models.CharField(max_length=80)

    class Meta:
        ordering = ["name", "id"]
        verbose_name_plural = "subcategories"

    def __str__(self) -> str:
        return self.name


class JobStatus(models.TextChoices):
    OPEN = "open", "Open"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    CANCELLED = "cancelled", "Cancelled"


class Job(models.Model):
    client = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="jobs"
    )
    industry = models.ForeignKey(Industry, on_delete=models.PROTECT, related_name="jobs")
    subcategories = models.ManyToManyField(Subcategory, related_name="jobs", blank=True)
    title = models.CharField(max_length=120)
    description = models.TextField(blank=True)
    budget = models.DecimalField(max_digits=10, decimal_places=2)
    status = models.CharField(max_length=20, choices=JobStatus.choices, default=JobStatus.OPEN)
    requirements = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-id"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The usual way to see a change on save, and the usual trap for only() and defer():
        # an instance that was loaded without its status fetches it here, row by row.
        self._loaded_status = self.status

    def __str__(self) -> str:
        return self.title

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save, and note the time when the job stopped being open or running."""
        closed = {JobStatus.DONE, JobStatus.CANCELLED}
        if self.status in closed and self._loaded_status not in closed:
            self.closed_at = timezone.now()
            if (fields := kwargs.get("update_fields")) is not None:
                kwargs["update_fields"] = {*fields, "closed_at"}
        super().save(*args, **kwargs)
        self._loaded_status = self.status

    @property
    def application_count(self) -> int:
        return self.applications.count()

    @property
    def shortlisted_count(self) -> int:
        return self.applications.filter(status=ApplicationStatus.SHORTLISTED).count()


class JobPicture(models.Model):
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="pictures")
    image = models.CharField(max_length=200)
    caption = models.CharField(max_length=120, blank=True)
    position = models.PositiveSmallIntegerField(default=0)

    class Meta:
        ordering = ["position", "id"]

    def __str__(self) -> str:
        return self.caption or self.image

    @property
    def url(self) -> str:
        return f"/media/{self.image}"


class ApplicationStatus(models.TextChoices):
    SENT = "sent", "Sent"
    SHORTLISTED = "shortlisted", "Shortlisted"
    ACCEPTED = "accepted", "Accepted"
    DECLINED = "declined", "Declined"


class Application(models.Model):
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="applications")
    applicant = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="applications"
    )
    cover_letter = models.TextField(blank=True)
    offer = models.DecimalField(max_digits=10, decimal_places=2)
    status = models.CharField(
        max_length=20, choices=ApplicationStatus.choices, default=ApplicationStatus.SENT
    )
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["job", "applicant"], name="one_application_per_job"),
        ]

    def __str__(self) -> str:
        return f"Application {self.pk} for job {self.job_id}"


class SavedJob(models.Model):
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="saved_jobs"
    )
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="saves")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "job"], name="save_a_job_once"),
        ]

    def __str__(self) -> str:
        return f"Job {self.job_id} saved by user {self.user_id}"
