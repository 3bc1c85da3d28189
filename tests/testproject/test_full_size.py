"""The marketplace at its documented size: the rows, and the queries they cost."""

import pytest

from accounts.models import OTP, CustomUser, Profile, Wallet
from jobs.models import Application, Industry, Job, JobPicture, SavedJob, Subcategory
from marketplace import sample_data
from marketplace.measuring import NAMES
from payment.models import Payment
from rating.models import Review
from tests.testproject.endpoints import PAGED, ask, client_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("full_marketplace")]


def test_the_documented_number_of_rows() -> None:
    counts = {model: model._default_manager.count() for model in sample_data.MODELS}
    assert counts[CustomUser] == counts[Profile] == counts[Wallet] == 200
    assert counts[Job] == 500
    assert counts[Application] == 2000
    assert counts[Payment] == 1000
    assert counts[Review] == 1500
    assert counts[SavedJob] == 1000
    assert min(counts[OTP], counts[Industry], counts[Subcategory], counts[JobPicture]) > 0


def test_a_job_has_none_to_three_pictures() -> None:
    assert {job.pictures.count() for job in Job.objects.all()} == {0, 1, 2, 3}


@pytest.mark.parametrize("pk", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_naive_takes_ten_queries_or_more_and_optimised_three_at_most(name: str, pk: int) -> None:
    naive, optimised = ask(client_of(pk), name, {"id": 17} if name == "job-details" else None)
    assert naive.status == optimised.status == 200
    assert naive.body == optimised.body
    assert naive.queries >= 10
    assert 1 <= optimised.queries <= 3


@pytest.mark.parametrize("name", PAGED)
def test_the_number_of_queries_does_not_grow_with_the_page(name: str) -> None:
    first, second = (ask(client_of(1), name, {"page": page})[1] for page in (1, 2))
    assert first.queries == second.queries
