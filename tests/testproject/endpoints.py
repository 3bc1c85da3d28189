"""What the tests ask of the endpoints, in both versions."""

from collections.abc import Mapping
from typing import NamedTuple

from django.test import Client
from django.urls import reverse

from accounts.models import CustomUser
from django_querybudget import capture_queries
from marketplace.measuring import NAMES, VERSIONS

PER_USER = ("saved-jobs", "applications", "payments", "user-profile")
PAGED = tuple(name for name in NAMES if name not in ("user-profile", "job-details"))


class Answer(NamedTuple):
    """An answer and the number of queries it took."""

    status: int
    body: bytes
    queries: int


def client_of(pk: int) -> Client:
    """Return a client that the user with this key is logged in with."""
    client = Client()
    client.force_login(CustomUser.objects.get(pk=pk))
    return client


def ask(
    client: Client, name: str, parameters: Mapping[str, str | int] | None = None
) -> tuple[Answer, Answer]:
    """Return the answers of the naive and the optimised version of the endpoint."""
    answers = []
    for version in VERSIONS:
        with capture_queries() as log:
            response = client.get(reverse(f"{version}:{name}"), parameters or {})
        answers.append(Answer(response.status_code, response.content, log.count))
    naive, optimised = answers
    return naive, optimised
