"""Calls every endpoint in two versions and measures both with django_querybudget."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter
from typing import TypeVar

from django.db.models import Count, Model, QuerySet
from django.test import Client
from django.urls import reverse

from accounts.models import CustomUser
from django_querybudget import Budget, capture_queries
from django_querybudget.recording.records import QueryLog
from jobs.models import Job

NAMES = (
    "alljobs",
    "saved-jobs",
    "applications",
    "payments",
    "reviews",
    "user-profile",
    "job-details",
)
VERSIONS = ("naive", "optimised")

M = TypeVar("M", bound=Model)


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request to one version of an endpoint."""

    log: QueryLog
    """Its queries, as a capture around the whole request has them."""
    header: str | None
    """What the response's ``X-Query-Count`` says."""
    status: int
    """The response's status."""
    body: bytes
    """The response's body."""
    seconds: float
    """The time from the request to the response, both with the test client's own part."""


@dataclass(frozen=True, kw_only=True)
class Version:
    """The measured calls of one version of an endpoint."""

    path: str
    """The address, as it was asked for."""
    calls: list[Call] = field(default_factory=list)
    """The calls, the warm-up left out."""

    @property
    def worst(self) -> QueryLog:
        """The log with the most queries; all calls of a sound view have the same number."""
        return max((call.log for call in self.calls), key=len)

    @property
    def database_ms(self) -> float:
        """How long the database took, in milliseconds: the median of the calls."""
        return median(call.log.duration for call in self.calls) * 1000

    @property
    def response_ms(self) -> float:
        """How long the response took, in milliseconds: the median of the calls."""
        return median(call.seconds for call in self.calls) * 1000


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What was measured of one endpoint."""

    name: str
    """The endpoint's name in the URLconf."""
    naive: Version
    """The version as it was written first."""
    optimised: Version
    """The version that has a budget."""
    budget: Budget
    """What the optimised version may execute."""

    @property
    def within(self) -> bool:
        """Whether every call of the optimised version kept within the budget."""
        return not any(self.budget.check(call.log) for call in self.optimised.calls)

    def problems(self) -> Iterator[str]:
        """Yield what is wrong, a sentence each: nothing for an endpoint that is as promised."""
        for version in (self.naive, self.optimised):
            yield from sorted({wrong for call in version.calls for wrong in _wrong(version, call)})
        for violation in self.budget.check(self.optimised.worst):
            yield (
                f"{self.optimised.path} exceeds its budget: {violation.dimension} is "
                f"{violation.actual}, {violation.limit} allowed."
            )
        if len({call.body for call in (*self.naive.calls, *self.optimised.calls)}) > 1:
            yield f"{self.naive.path} and {self.optimised.path} answer with different JSON."


def _wrong(version: Version, call: Call) -> Iterator[str]:
    if call.status != 200:
        yield f"{version.path} answered {call.status}: {call.body[:200]!r}"
    if call.header is None:
        yield f"{version.path} sent no X-Query-Count: is QueryBudgetMiddleware in MIDDLEWARE?"
    elif call.header != str(call.log.count):
        yield (
            f"{version.path} sent X-Query-Count: {call.header}, "
            f"but {call.log.count} queries were captured."
        )


def measure(
    budget: Budget, rounds: int, progress: Callable[[str, int, int], None]
) -> list[Measurement]:
    """Call the seven endpoints as the busiest user, ``rounds`` times after a warm-up.

    The versions take turns, so that a slow moment of the machine hits both. Raises LookupError
    where there is no user or no job to ask for.
    """
    client = Client()
    client.force_login(
        busiest(CustomUser.objects.all(), "users"),
        backend="django.contrib.auth.backends.ModelBackend",
    )
    parameters = {"job-details": {"id": busiest(Job.objects.all(), "jobs").pk}}
    measurements = []
    total = len(NAMES) * (rounds + 1)
    for number, name in enumerate(NAMES):
        versions = [Version(path=reverse(f"{version}:{name}")) for version in VERSIONS]
        for turn in range(rounds + 1):
            for version in versions:
                call = _call(client, version.path, parameters.get(name, {}))
                if turn > 0:
                    version.calls.append(call)
            progress(name, number * (rounds + 1) + turn + 1, total)
        naive, optimised = versions
        measurements.append(Measurement(name=name, naive=naive, optimised=optimised, budget=budget))
    return measurements


def busiest(rows: QuerySet[M], what: str) -> M:
    """Return the user or job with the most applications; LookupError where there is none."""
    busiest = rows.annotate(applied=Count("applications")).order_by("-applied", "pk").first()
    if busiest is None:
        raise LookupError(f"The database has no {what}: run fill --reset.")
    return busiest


def _call(client: Client, path: str, parameters: Mapping[str, int]) -> Call:
    with capture_queries() as log:
        start = perf_counter()
        response = client.get(path, parameters)
        seconds = perf_counter() - start
    return Call(
        log=log,
        header=response.headers.get("X-Query-Count"),
        status=response.status_code,
        body=response.content,
        seconds=seconds,
    )
