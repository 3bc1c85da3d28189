"""What the record of production costs a request, and what a process holds after many.

Run: ``python benchmarks/production.py [--rounds N] [--requests N]``.

Each round runs the bare middleware and the middleware with the record, in random order; the ratio
is the median over the rounds of (with / without) *within the same round*, in processor time of the
thread, so that other work on the machine does not matter. The bare middleware is run twice: the
second row's distance from 1 is the noise of this run.

The bound to keep (issue 15): 1.01 of a request with 20 queries, against the bare middleware.
"""

from __future__ import annotations

import argparse
import gc
import random
import statistics
import sys
from pathlib import Path
from time import thread_time

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
from django.http import HttpRequest, HttpResponse  # noqa: E402
from django.test import RequestFactory  # noqa: E402
from django.urls.resolvers import ResolverMatch  # noqa: E402

from django_querybudget import production  # noqa: E402
from django_querybudget.middleware import QueryBudgetMiddleware  # noqa: E402

QUERIES = 20
REQUESTS = 10


def view(request: HttpRequest) -> HttpResponse:
    for number in range(QUERIES):
        User.objects.filter(pk=number).first()
    return HttpResponse()


def block(middleware: QueryBudgetMiddleware, request: HttpRequest, recorded: bool) -> float:
    """Return the seconds of one request."""
    (production.start if recorded else production.stop)()
    middleware(request)  # starts the record's thread
    gc.collect(0)
    started = thread_time()
    for _ in range(REQUESTS):
        middleware(request)
    return (thread_time() - started) / REQUESTS


def resident() -> float:
    """Return this process's resident memory in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--requests", type=int, default=10_000, help="for the resident memory")
    options = parser.parse_args()
    call_command("migrate", verbosity=0)
    middleware = QueryBudgetMiddleware(view)
    request = RequestFactory().get("/")
    request.resolver_match = ResolverMatch(view, (), {}, url_name="measured")
    variants = {"bare": False, "bare, again": False, "with the record": True}
    spent: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(options.rounds + 3):
        for name in random.sample(list(variants), len(variants)):
            seconds = block(middleware, request, variants[name])
            if number >= 3:  # the first rounds warm the caches
                spent[name].append(seconds)
    for name, seconds_ in spent.items():
        ratio = statistics.median(
            mine / bare for mine, bare in zip(seconds_, spent["bare"], strict=True)
        )
        print(f"{name:20} {statistics.median(seconds_) * 1e6:9.0f} µs  {ratio:.3f}")
    production.start()
    before = 0.0
    for number in range(options.requests):
        middleware(request)
        if number == options.requests // 10:
            before = resident()
    print(f"resident: {before:.1f} MiB after a tenth, {resident():.1f} after all requests")
    production.stop()


if __name__ == "__main__":
    main()
