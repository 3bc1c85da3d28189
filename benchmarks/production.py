"""What the record of production costs a request, and what a process holds after many.

Run: ``python benchmarks/production.py [--rounds N] [--requests N] [--pages N]``.

Each round runs the view without any tool, under the bare middleware and under the middleware with
the record, without exporters and with both of ours, in random order. A ratio is the median over the
rounds of (one / another) *within the same round*, in processor time of the thread, so that other
work on the machine does not matter. The bare middleware is run twice: the distance of its second
row from 1 is the noise of this run. What the other threads take is told apart: a flush of so many
requests, by exporter.

At last the page of an hour of 500 series: the first one, when nobody looked for an hour, and those
after it.

The bounds to keep (issue 15): of a request with 20 queries 1.01 against the bare middleware and
1.04 against no tool; 20 µs more for a view without queries; as much resident memory after all
requests as after a tenth of them; 150 ms for the page.
"""

from __future__ import annotations

import argparse
import gc
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from time import process_time, thread_time

from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

# What follows needs the path above, or the settings below: E402 is right everywhere else.
import django  # noqa: E402
from django.conf import settings  # noqa: E402

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django_querybudget"],
    QUERYBUDGET={},
    ROOT_URLCONF=__name__,
    CACHES={
        "default": {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "OPTIONS": {"MAX_ENTRIES": 100_000},
        }
    },
    USE_TZ=True,
)
django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.core.cache import caches  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from django.http import HttpRequest, HttpResponse  # noqa: E402
from django.test import RequestFactory  # noqa: E402
from django.urls import include, path  # noqa: E402
from django.urls.resolvers import ResolverMatch  # noqa: E402

from django_querybudget import production  # noqa: E402
from django_querybudget.middleware import QueryBudgetMiddleware  # noqa: E402
from django_querybudget.production import process, views  # noqa: E402
from django_querybudget.production.process import ProcessRecord  # noqa: E402
from django_querybudget.production.record import Cost, ShapeAt, series_key  # noqa: E402

urlpatterns = [path("querybudget/", include("django_querybudget.urls"))]
EXPORTERS = [
    "django_querybudget.contrib.prometheus.PrometheusExporter",
    "django_querybudget.contrib.opentelemetry.OpenTelemetryExporter",
]
QUERIES = 20
REQUESTS = 10
WARMING = 12
"""A record begins anew at each flush, every 5 s: a request that comes first pays more."""
SLEEPING = 60.0
"""The record's thread does not come between."""


def queries(request: HttpRequest) -> HttpResponse:
    for number in range(QUERIES):
        User.objects.filter(pk=number).first()
    return HttpResponse()


def nothing(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


def request_for(view: Callable[[HttpRequest], HttpResponse]) -> HttpRequest:
    request = RequestFactory().get("/")
    request.resolver_match = ResolverMatch(view, (), {}, url_name=view.__name__)
    return request


def block(call: Callable[[HttpRequest], object], request: HttpRequest, number: int) -> float:
    """Return the seconds of one request, once the record knows its view and shapes."""
    for _ in range(WARMING):
        call(request)
    gc.collect(0)
    started = thread_time()
    for _ in range(number):
        call(request)
    return (thread_time() - started) / number


def compare(view: Callable[[HttpRequest], HttpResponse], rounds: int, number: int) -> None:
    """Print what each variant takes."""
    request, middleware = request_for(view), QueryBudgetMiddleware(view)
    variants: dict[str, tuple[bool, list[str], Callable[[HttpRequest], object]]] = {
        "no tool": (False, [], view),
        "bare": (False, [], middleware),
        "bare, again": (False, [], middleware),
        "with the record": (True, [], middleware),
        "and exporters": (True, EXPORTERS, middleware),
    }
    spent: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(rounds + 3):
        for name in random.sample(list(variants), len(variants)):
            recorded, exporters, call = variants[name]
            production.stop()
            settings.QUERYBUDGET = recorded_by(exporters)
            if recorded:
                production.start()
            seconds = block(call, request, number)
            if turn >= 3:  # the first rounds warm the caches
                spent[name].append(seconds)
    for name, seconds_ in spent.items():
        of_bare, of_none = (
            statistics.median(
                mine / other for mine, other in zip(seconds_, spent[than], strict=True)
            )
            for than in ("bare", "no tool")
        )
        more = statistics.median(
            mine - bare for mine, bare in zip(seconds_, spent["bare"], strict=True)
        )
        print(
            f"{view.__name__:8} {name:16} {statistics.median(seconds_) * 1e6:9.1f} µs"
            f"  of bare {of_bare:.3f}  of no tool {of_none:.3f}  {more * 1e6:+7.1f} µs"
        )


def recorded_by(exporters: list[str]) -> dict[str, object]:
    """Return the settings with these exporters."""
    return {"PRODUCTION": {"INTERVAL": SLEEPING, "EXPORTERS": exporters}}


def flushes(number: int, *exporters: str) -> None:
    """Print what the threads take for a flush of so many requests."""
    settings.QUERYBUDGET = recorded_by(list(exporters))
    request, middleware = request_for(queries), QueryBudgetMiddleware(queries)
    record = production.start()
    taken = []
    for _ in range(3):
        for _ in range(number):
            middleware(request)
        started = process_time()
        record.exported()
        taken.append(process_time() - started)
    production.stop()
    seconds = statistics.median(taken)
    each = seconds / number * 1e6
    names = ", ".join(each.rpartition(".")[2] for each in exporters) or "no exporter"
    print(f"a flush of {number} requests, {names}: {seconds * 1e3:.2f} ms, {each:.1f} µs each")


def resident() -> float:
    """Return this process's resident memory in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def memory(number: int) -> None:
    """Print the resident memory on the way to so many requests, of 600 views and ever new texts."""
    views = [request_for(queries) for _ in range(600)]
    for at, request in enumerate(views):
        request.resolver_match = ResolverMatch(queries, (), {}, url_name=f"view {at}")
    texts = iter(range(10**9))

    def view(request: HttpRequest) -> HttpResponse:
        for _ in range(2):
            User.objects.filter(pk=1).exists()
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {next(texts)}")
        return HttpResponse()

    middleware = QueryBudgetMiddleware(view)
    record = production.start()
    told = []
    for turn in range(number):
        middleware(views[turn % len(views)])
        if turn % 1000 == 999:
            record.flush()
        if turn + 1 in (number // 10, number // 2, number):
            told.append(f"{resident():.1f} MiB after {turn + 1:,}")
    print(f"resident: {', '.join(told)} requests")
    production.stop()


class Clock:
    """What the record takes for the time."""

    now = time.time()
    time = monotonic = staticmethod(lambda: Clock.now)


def fill(processes: int) -> None:
    """Let so many processes have an hour of requests to 500 series, in each minute to each."""
    records = [ProcessRecord("default") for _ in range(processes)]
    end, vars(process)["time"] = time.time(), Clock
    for minute in range(60):
        Clock.now = end - (59 - minute) * 60
        for record in records:
            for number in range(499):
                key = series_key("view", f"app{number % 20}:view-{number}", "GET")
                values = (number % 40, 0.01, None, number % 3, None, int(number % 9 == 0), 1, 0, 0)
                record.add(key, values, [], 30)
                pending = record._pending.record
                for at in range(4):
                    shape = ShapeAt("SELECT … FROM t WHERE id = ?", f"app/views.py:{at}")
                    pending.add_shape(pending.of(key), shape, Cost(1, 0.002))
            record.flush()
    vars(process)["time"] = time


def page(processes: int) -> None:
    """Print what the page takes, of an hour of so many processes."""
    settings.QUERYBUDGET = recorded_by([])
    caches["default"].clear()
    fill(processes)
    request = RequestFactory().get("/querybudget/")
    request.user = User(is_staff=True)
    taken = []
    for _ in range(8):
        started = process_time()
        length = len(views.overview(request).content)
        taken.append(process_time() - started)
    print(
        f"the page of 500 series of {processes} processes: {statistics.median(taken[1:]) * 1e3:.0f}"
        f" ms, the first one {taken[0] * 1e3:.0f} ms ({length:,} bytes)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--requests", type=int, default=20_000, help="for the resident memory")
    parser.add_argument("--pages", type=int, default=8, help="processes that the page is of")
    options = parser.parse_args()
    call_command("migrate", verbosity=0)
    settings.QUERYBUDGET = recorded_by([])
    metrics.set_meter_provider(MeterProvider([InMemoryMetricReader()]))
    if options.rounds:
        compare(queries, options.rounds, REQUESTS)
        compare(nothing, options.rounds, 20 * REQUESTS)
        flushes(500)
        for each in EXPORTERS:
            flushes(500, each)
    if options.requests:
        memory(options.requests)
    if options.pages:
        for number in sorted({1, options.pages}):
            page(number)


if __name__ == "__main__":
    main()
