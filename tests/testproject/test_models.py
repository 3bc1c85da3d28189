"""The models: migrations that are complete, and the behaviour that the endpoints rest on."""

import pytest
from django.core.management import call_command
from django.db.models import Model

from accounts.models import OTP, CustomUser, Profile
from django_querybudget import capture_queries
from jobs.models import Industry, Job, JobStatus
from payment.models import Payment
from rating.models import Review

pytestmark = pytest.mark.django_db


@pytest.fixture
def job() -> Job:
    client = CustomUser.objects.create(username="client", email="client@example.com")
    industry = Industry.objects.create(name="Garden")
    return Job.objects.create(client=client, industry=industry, title="Prune", budget=100)


def test_the_migrations_are_complete() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


@pytest.mark.parametrize(
    ("model", "columns"),
    [
        (CustomUser, {"email", "username", "is_active", "role"}),
        (OTP, {"user_id", "is_verified", "created_at"}),
        (Profile, {"user_id", "role", "joined_at"}),
        (Payment, {"status", "payer_id", "recipient_id", "job_id", "created_at"}),
        (Review, {"reviewed_id", "reviewer_id", "job_id", "created_at"}),
    ],
)
def test_the_columns_of_the_documented_indexes_are_there(
    model: type[Model], columns: set[str]
) -> None:
    assert columns <= {field.column for field in model._meta.concrete_fields}


def test_a_job_loaded_without_its_status_fetches_it_in_its_constructor(job: Job) -> None:
    with capture_queries() as log:
        Job.objects.only("title").get(pk=job.pk)
    assert log.count == 2


def test_a_job_that_ends_notes_when(job: Job) -> None:
    job.status = JobStatus.DONE
    job.save(update_fields=["status"])
    job.refresh_from_db()
    assert job.closed_at is not None
    closed_at = job.closed_at
    job.title = "Prune and mow"
    job.save()
    job.refresh_from_db()
    assert job.closed_at == closed_at


def test_a_user_without_a_profile_has_no_avatar(job: Job) -> None:
    assert job.client.avatar == ""
