"""Each endpoint's two versions answer the same bytes, at what each of them may cost."""

import json

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import CustomUser
from jobs.models import Job
from marketplace import sample_data
from marketplace.measuring import NAMES, VERSIONS
from tests.testproject.endpoints import PAGED, PER_USER, ask, client_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("small_marketplace")]


@pytest.fixture
def client_of_nobody() -> Client:
    """Log a user in who has neither profile nor wallet nor any row of their own."""
    client = Client()
    client.force_login(CustomUser.objects.create(username="new", email="new@example.com"))
    return client


# 1 is the busiest freelancer, 3 the busiest client, 20 and 40 have little.
@pytest.mark.parametrize(
    ("name", "pk"),
    [(name, pk) for name in PAGED for pk in ([1, 3, 20, 40] if name in PER_USER else [1])],
)
def test_every_page_is_the_same_in_both_versions(name: str, pk: int) -> None:
    client = client_of(pk)
    seen: list[int] = []
    for page in range(1, 1000):
        naive, optimised = ask(client, name, {"page": page})
        assert naive[:2] == optimised[:2]
        assert optimised.queries <= 3
        answer = json.loads(naive.body)
        if naive.status == 404:
            break
        assert naive.status == 200
        assert len(answer["results"]) == min(20, answer["count"] - len(seen))
        seen += [row["id"] for row in answer["results"]]
    assert page > 1
    assert len(seen) == len(set(seen)) == answer_count(client, name)


def answer_count(client: Client, name: str) -> int:
    count: int = json.loads(client.get(reverse(f"optimised:{name}")).content)["count"]
    return count


@pytest.mark.parametrize("pk", [1, 3, 20, 40])
def test_the_profile_is_the_same_in_both_versions(pk: int) -> None:
    naive, optimised = ask(client_of(pk), "user-profile")
    assert naive.status == 200
    assert naive[:2] == optimised[:2]
    assert json.loads(naive.body)["id"] == pk


def test_the_details_of_every_job_are_the_same_in_both_versions() -> None:
    client = Client()
    keys = list(Job.objects.values_list("pk", flat=True))
    assert keys
    for pk in keys:
        naive, optimised = ask(client, "job-details", {"id": pk})
        assert naive.status == 200
        assert naive[:2] == optimised[:2]
        assert optimised.queries <= 3


@pytest.mark.parametrize("name", [name for name in NAMES if name != "job-details"])
def test_a_user_without_rows_gets_the_same_from_both_versions(
    client_of_nobody: Client, name: str
) -> None:
    naive, optimised = ask(client_of_nobody, name)
    assert naive.status == 200
    assert naive[:2] == optimised[:2]
    if name in PER_USER and name != "user-profile":
        answer = json.loads(naive.body)
        assert (answer["count"], answer["results"]) == (0, [])


@pytest.mark.parametrize("name", ["alljobs", "reviews"])
def test_an_empty_database_has_an_empty_first_page(name: str) -> None:
    sample_data.clear()
    naive, optimised = ask(Client(), name)
    assert json.loads(naive.body) == {"count": 0, "page": 1, "results": []}
    assert naive[:2] == optimised[:2]


def test_values_are_those_of_the_rows() -> None:
    user = CustomUser.objects.get(pk=3)
    _, optimised = ask(client_of(3), "user-profile")
    shown = json.loads(optimised.body)
    ratings = list(user.reviews_received.values_list("rating", flat=True))
    assert ratings
    assert shown["reviews"] == len(ratings)
    assert shown["rating"] == round(sum(ratings) / len(ratings), 2)
    assert shown["jobs"] == Job.objects.filter(client=user).count()
    spent = sum(p.amount for p in user.payments_made.all() if p.status == "paid")
    assert shown["spent"] == f"{spent:.2f}"


@pytest.mark.parametrize("page", ["0", "-1", "x", "", "1.0", "²", "9" * 40])
@pytest.mark.parametrize("name", PAGED)
def test_a_bad_page_number_is_refused_by_name(name: str, page: str) -> None:
    naive, optimised = ask(client_of(1), name, {"page": page})
    assert naive.status == 400
    error = json.loads(naive.body)["error"]
    assert error == f"page must be a whole number from 1 to 1000000, not {page!r}."
    assert naive[:2] == optimised[:2]


@pytest.mark.parametrize("name", PAGED)
def test_a_page_beyond_the_end_is_not_found(name: str) -> None:
    naive, optimised = ask(client_of(1), name, {"page": 1000})
    assert naive.status == 404
    assert json.loads(naive.body)["error"].startswith("There is no page 1000: the last one is ")
    assert naive[:2] == optimised[:2]


@pytest.mark.parametrize(
    ("parameters", "status", "error"),
    [
        ({}, 400, "id must be a whole number from 1 to 2147483647, not ''."),
        ({"id": "x"}, 400, "id must be a whole number from 1 to 2147483647, not 'x'."),
        (
            {"id": "9" * 30},
            400,
            f"id must be a whole number from 1 to 2147483647, not '{'9' * 30}'.",
        ),
        ({"id": "2147483647"}, 404, "There is no job 2147483647."),
    ],
)
def test_a_job_that_is_not_there_is_said_so(
    parameters: dict[str, str], status: int, error: str
) -> None:
    naive, optimised = ask(Client(), "job-details", parameters)
    assert (naive.status, json.loads(naive.body)) == (status, {"error": error})
    assert naive[:2] == optimised[:2]


@pytest.mark.parametrize("name", PER_USER)
def test_a_stranger_is_asked_to_log_in(name: str) -> None:
    naive, optimised = ask(Client(), name)
    assert (naive.status, json.loads(naive.body)) == (401, {"error": "Log in to see this."})
    assert naive[:2] == optimised[:2]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", NAMES)
def test_an_endpoint_only_reads(name: str, version: str) -> None:
    assert Client().post(reverse(f"{version}:{name}")).status_code == 405


@pytest.mark.parametrize("version", VERSIONS)
def test_the_header_says_what_was_captured(version: str) -> None:
    response = client_of(1).get(reverse(f"{version}:payments"))
    naive, optimised = ask(client_of(1), "payments")
    expected = naive if version == "naive" else optimised
    assert response.headers["X-Query-Count"] == str(expected.queries)


def test_both_versions_have_their_own_addresses() -> None:
    assert reverse("optimised:alljobs") == "/alljobs"
    assert reverse("naive:alljobs") == "/naive/alljobs"
