"""What counting costs: the cheapest ORM query, and a view without queries, with and without us.

Run: ``make bench`` or ``python benchmarks/counting.py [--rounds N]``. It needs the extra ``bench``
only for the peers; a peer that is not installed is left out by name.

Each round runs every variant once, in random order, a short block of queries each; the ratio is
the median over the rounds of (variant / no tool) *within the same round*, so that a machine whose
speed drifts does not matter. Every variant's block has a fresh capture, as a request has.
``no tool`` is run twice: the second row's distance from 1 is the noise of this run.

The bounds to keep (issue 2): 1.02 for count, time and grouping, 1.03 with the caller's line; and
no more than 30 µs for the middleware around a view without queries.
"""

from __future__ import annotations

import argparse
import gc
import random
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

# What follows needs the path above, or the settings below: E402 is right everywhere else.
import django  # noqa: E402
from django.conf import settings  # noqa: E402

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django_querybudget"],
    QUERYBUDGET={},
    USE_TZ=True,
)
django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from django.http import HttpRequest, HttpResponse  # noqa: E402
from django.test import RequestFactory  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402

from django_querybudget.capture import Recording  # noqa: E402
from django_querybudget.middleware import QueryBudgetMiddleware  # noqa: E402
from django_querybudget.recording import hook  # noqa: E402

QUERIES = 25
REQUESTS = 100
Block = Callable[[], float]


def queries() -> float:
    """Run a block of the cheapest ORM query; return the seconds of one."""
    get = User.objects.get
    started = perf_counter()
    for _ in range(QUERIES):
        get(pk=1)
    return (perf_counter() - started) / QUERIES


def recorded(*, origins: bool, read: Callable[[Any], object], causes: bool = False) -> Block:
    def block() -> float:
        recording = Recording(origins=origins, causes=causes)
        with recording:
            seconds = queries()
        started = perf_counter()
        read(recording.log)
        return seconds + (perf_counter() - started) / QUERIES

    return block


def idle() -> float:
    hook.install_everywhere()
    return queries()


def capture_queries_context() -> float:
    with CaptureQueriesContext(connection):
        return queries()


def read_as_the_middleware(log: Any) -> object:
    return log.count, log.duration, log.duplicate_count


def view(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


class TrivialMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)


def requests(handler: Callable[[HttpRequest], Any]) -> Block:
    request = RequestFactory().get("/")
    request.resolver_match = None

    def block() -> float:
        started = perf_counter()
        for _ in range(REQUESTS):
            handler(request)
        return (perf_counter() - started) / REQUESTS

    return block


QUERY_VARIANTS: dict[str, Block] = {
    "no tool": queries,
    "no tool, again": queries,
    "hook alone, nobody listens": idle,
    "count, time, duplicates": recorded(origins=False, read=read_as_the_middleware),
    "the same, with the caller's line": recorded(origins=True, read=read_as_the_middleware),
    "the same, and N+1 causes": recorded(origins=True, causes=True, read=read_as_the_middleware),
    "the line, grouped by shape": recorded(origins=True, read=lambda log: log.by_fingerprint()),
    "Django's CaptureQueriesContext": capture_queries_context,
}
VIEW_VARIANTS: dict[str, Block] = {
    "trivial middleware": requests(TrivialMiddleware(view)),
    "trivial middleware, again": requests(TrivialMiddleware(view)),
    "QueryBudgetMiddleware": requests(QueryBudgetMiddleware(view)),
}


def measure(variants: dict[str, Block], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of every variant in every round."""
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(rounds + 3):
        for name in random.sample(list(variants), len(variants)):
            connection.execute_wrappers.clear()
            gc.collect(0)
            spent = variants[name]()
            if number >= 3:  # The first rounds warm the caches.
                seconds[name].append(spent)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=400)
    rounds = parser.parse_args().rounds
    call_command("migrate", verbosity=0)
    User.objects.create(username="somebody")
    print(f"Python {sys.version.split()[0]}, Django {django.__version__}, {rounds} rounds\n")

    spent = measure(QUERY_VARIANTS, rounds)
    print(f"{'.get(pk) on SQLite in memory':36} {'µs':>8} {'ratio':>7}")
    for name, values in spent.items():
        ratio = statistics.median(
            value / bare for value, bare in zip(values, spent["no tool"], strict=True)
        )
        print(f"{name:36} {statistics.median(values) * 1e6:8.1f} {ratio:7.3f}")

    spent = measure(VIEW_VARIANTS, rounds)
    trivial = spent["trivial middleware"]
    print(f"\n{'a view without queries':36} {'µs':>8} {'more':>7}")
    for name, values in spent.items():
        more = statistics.median(value - bare for value, bare in zip(values, trivial, strict=True))
        print(f"{name:36} {statistics.median(values) * 1e6:8.1f} {more * 1e6:7.1f}")


if __name__ == "__main__":
    main()
