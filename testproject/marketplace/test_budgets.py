"""The marketplace's own suite: each optimised endpoint on a full page, under a recorded budget.

It holds no number itself: ``querybudget.toml`` has them. Runs under Django's runner and pytest's.
"""

from django.test import TestCase
from django.urls import reverse

from accounts.models import CustomUser
from jobs.models import Job
from marketplace.sample_data import fill


class EndpointTests(TestCase):
    """Asks each endpoint for what the busiest of a small marketplace see."""

    @classmethod
    def setUpTestData(cls) -> None:
        """Fill a small marketplace."""
        fill(0.1)
        cls.user = CustomUser.objects.order_by("pk")[0]
        cls.job = Job.objects.order_by("pk")[0]

    def setUp(self) -> None:
        """Log in."""
        self.client.force_login(self.user)

    def ask(self, name: str, **parameters: object) -> None:
        """Call the optimised version of an endpoint."""
        response = self.client.get(reverse(f"optimised:{name}"), parameters)
        assert response.status_code == 200, response.content

    def test_alljobs(self) -> None:
        """The list of open jobs."""
        self.ask("alljobs")

    def test_saved_jobs(self) -> None:
        """The user's saved jobs."""
        self.ask("saved-jobs")

    def test_applications(self) -> None:
        """The user's applications."""
        self.ask("applications")

    def test_payments(self) -> None:
        """The user's payments."""
        self.ask("payments")

    def test_reviews(self) -> None:
        """All reviews."""
        self.ask("reviews")

    def test_user_profile(self) -> None:
        """The user's profile."""
        self.ask("user-profile")

    def test_job_details(self) -> None:
        """One job."""
        self.ask("job-details", id=self.job.pk)

    def test_unknown_job(self) -> None:
        """A job that is not there."""
        response = self.client.get(reverse("optimised:job-details"), {"id": 10**6})
        assert response.status_code == 404
