"""What a cached view costs: a hit, a 304 and a miss, beside the bare view and Django's cache_page.

Run: ``python benchmarks/views.py [--rounds N] [--profile CASE]``. It starts a Redis and a
PostgreSQL of its own (the extra ``test``), or uses those that ``REDIS_URL`` and ``DATABASE_URL``
name.

One process, one run: blocks of each case and each kind of cache take turns at random. A figure is
the lowest tenth's bound over the rounds, in microseconds: what else runs on the machine makes some
blocks slower, and none faster. Behind it stand the ratio to the bare view and the number of round
trips to Redis. Requests are made before the
clock starts. "alone" calls the decorated view; "request" goes through Django's handler and the
middleware that ``startproject`` brings (the session in a signed cookie).
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import random
import statistics
from collections.abc import Callable, Iterator
from itertools import count
from time import perf_counter
from typing import Any

import taking_turns

BARE, OURS = "bare view", "cached_view"
PEERS = {"cache_page, django-redis": "default", "cache_page, Django's": "django"}
KINDS = (BARE, OURS, *PEERS)
ROWS = {"1 kB": 7, "20 kB": 140}
CASES = (
    "hit 1 kB, alone",
    "hit 20 kB, alone",
    "hit 1 kB of a user, alone",
    "304 1 kB, alone",
    "304 20 kB, alone",
    "hit 1 kB, request",
    "hit 20 kB, request",
    "304 20 kB, request",
    "miss 1 kB, alone",
    "miss 20 kB, alone",
)
BLOCK = 10

urlpatterns: list[Any] = []
"""Filled by :func:`make_views`: this module is the URLconf."""


def configure() -> None:
    """Configure Django with both servers."""
    clients = {"default": "django_redis.cache", "django": "django.core.cache.backends.redis"}
    redis = taking_turns.redis_url()
    taking_turns.configure(
        taking_turns.OURS,
        CACHES={
            alias: {"BACKEND": f"{module}.RedisCache", "LOCATION": redis}
            for alias, module in clients.items()
        },
        ROOT_URLCONF=__name__,
        MIDDLEWARE=[
            "django.middleware.security.SecurityMiddleware",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.common.CommonMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.middleware.clickjacking.XFrameOptionsMiddleware",
        ],
    )


def fill() -> None:
    """Make the tables and the rows that the views show."""
    from django.core.management import call_command

    from accounts.models import CustomUser
    from jobs.models import Application, Industry, Job

    call_command("migrate", verbosity=0, interactive=False)
    Job.objects.all().delete()
    user, _ = CustomUser.objects.get_or_create(pk=1, defaults={"username": "u", "email": "u@x"})
    industry, _ = Industry.objects.get_or_create(pk=1, defaults={"name": "i"})
    numbers = range(1, max(ROWS.values()) + 1)
    Job.objects.bulk_create(
        [
            Job(pk=pk, client=user, industry=industry, title=f"Job {pk} " + "x" * 50, budget=pk)
            for pk in numbers
        ]
    )
    Application.objects.bulk_create(
        [Application(job_id=pk, applicant=user, offer=pk) for pk in numbers]
    )


def make_views() -> dict[tuple[str, str], Callable[..., Any]]:
    """Return the views by size and kind, and give them addresses."""
    from django.http import HttpRequest, HttpResponse, JsonResponse
    from django.urls import path
    from django.views.decorators.cache import cache_page

    from django_querybudget.cache import cached_view
    from jobs.models import Application, Job

    views: dict[tuple[str, str], Callable[..., Any]] = {}

    def nothing(request: HttpRequest) -> HttpResponse:
        return HttpResponse()

    urlpatterns.append(path("nothing/", nothing))
    for size, rows in ROWS.items():

        def bare(request: HttpRequest, rows: int = rows) -> HttpResponse:
            page = Application.objects.select_related("job", "applicant").order_by("pk")[:rows]
            shown = [
                {
                    "id": each.pk,
                    "job": each.job.title,
                    "by": each.applicant.username,
                    "offer": str(each.offer),
                    "status": each.status,
                }
                for each in page
            ]
            return JsonResponse({"jobs": Job.objects.count(), "results": shown})

        bare.__qualname__ = f"bare_{rows}"
        views[size, BARE] = bare
        views[size, OURS] = cached_view(600, vary_on=())(bare)
        views[f"{size} of a user", BARE] = bare
        views[f"{size} of a user", OURS] = cached_view(600)(bare)
        for name, alias in PEERS.items():
            views[size, name] = cache_page(600, cache=alias)(bare)
    for number, ((size, kind), view) in enumerate(views.items()):
        urlpatterns.append(path(f"{number}/", view, name=f"{size} {kind}"))
    return views


class Measured:
    """One case with one kind of cache: a block of requests made, then run."""

    def __init__(self, case: str, kind: str, views: dict[tuple[str, str], Any]) -> None:
        from django.test import RequestFactory
        from django.urls import reverse

        self.case, self.kind = case, kind
        what, self.way = case.split(", ")
        self.what, self.size = what.split(" ", 1)
        self.view = views.get((self.size, kind))
        if self.what == "304" and kind in PEERS:
            from django.views.decorators.http import conditional_page

            self.view = conditional_page(self.view)
            if self.way == "request":
                self.view = None  # needs a middleware that the others have not
        if self.view is None:
            return
        self.path = reverse(f"{self.size} {kind}")
        self.factory = RequestFactory()
        self.headers: dict[str, str] = {}
        if self.what != "miss":
            etag = self.ask(self.request()).headers.get("ETag")
            if self.what == "304" and etag:
                self.headers = {"HTTP_IF_NONE_MATCH": etag}
            expected = 304 if self.headers else 200
            assert self.ask(self.request()).status_code == expected, case

    def request(self) -> Any:
        query = {"n": next(_numbers)} if self.what == "miss" else {}
        request = self.factory.get(self.path, query, **self.headers)
        if self.size.endswith("of a user"):
            request.user = _user()
        return request

    def ask(self, request: Any) -> Any:
        if self.way == "request":
            return _handler().get_response(request)
        assert self.view is not None
        return self.view(request)

    def run(self) -> tuple[float, float]:
        """Return the microseconds and the round trips of one call."""
        requests = [self.request() for _ in range(BLOCK)]
        ask = _handler().get_response if self.way == "request" else self.view
        assert ask is not None
        _trips[0] = 0
        started = perf_counter()
        for each in requests:
            ask(each)
        seconds = perf_counter() - started
        return seconds / BLOCK * 1e6, _trips[0] / BLOCK


class Nothing(Measured):
    """The middleware around a view that does nothing."""

    def __init__(self) -> None:
        from django.test import RequestFactory

        self.case, self.kind, self.what, self.way = "middleware", BARE, "hit", "request"
        self.size, self.view, self.path = "", None, "/nothing/"
        self.factory, self.headers = RequestFactory(), {}


class RawRead(Measured):
    """One MGET by redis-py, as many bytes as a hit: what nobody can go below with it."""

    def __init__(self, size: str) -> None:
        from django_redis import get_redis_connection

        self.case, self.kind, self.view = f"raw mget {size}", BARE, None
        self.client = get_redis_connection("default")
        names = [f"raw:{number}" for number in range(6)]
        self.client.mset(dict.fromkeys(names[:5], b"x" * 30))
        self.client.set(f"raw:{size}", b"x" * int(size.partition(" ")[0]) * 1024)
        self.names = [*names[:5], f"raw:{size}"]

    def run(self) -> tuple[float, float]:
        started = perf_counter()
        for _ in range(BLOCK):
            self.client.mget(self.names)
        return (perf_counter() - started) / BLOCK * 1e6, 1


_numbers = count()
_trips = [0]
_made: dict[str, Any] = {}


def _handler() -> Any:
    if "handler" not in _made:
        from django.core.handlers.base import BaseHandler

        handler = BaseHandler()
        handler.load_middleware()
        _made["handler"] = handler
    return _made["handler"]


def _user() -> Any:
    if "user" not in _made:
        from accounts.models import CustomUser

        _made["user"] = CustomUser.objects.get(pk=1)
    return _made["user"]


def count_trips() -> None:
    """Count what is sent to Redis by this thread."""
    from threading import current_thread, main_thread

    from redis.connection import AbstractConnection

    send = AbstractConnection.send_packed_command

    def counted(self: Any, command: Any, check_health: bool = True) -> None:
        if current_thread() is main_thread():  # not the keeper of the pulse
            _trips[0] += 1
        send(self, command, check_health)

    AbstractConnection.send_packed_command = counted  # type: ignore[method-assign]  # to count


def main() -> None:
    """Start the servers, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--profile", choices=CASES, help="where cached_view spends it, of one case")
    options = parser.parse_args()
    with taking_turns.servers():
        configure()
        fill()
        from django.core.cache import cache

        cache.clear()
        count_trips()
        views = make_views()
        taking_turns.wait_for_the_pulse()
        if options.profile:
            _profile(Measured(options.profile, OURS, views))
            return
        print_table(measure(options.rounds, views))


def _profile(one: Measured) -> None:
    for _ in range(20):
        one.run()
    profile = cProfile.Profile()
    requests = [one.request() for _ in range(2000)]
    profile.enable()
    for each in requests:
        one.ask(each)
    profile.disable()
    from django_querybudget.cache import cache_stats

    print(cache_stats())
    stats = pstats.Stats(profile)
    stats.sort_stats("tottime").print_stats(30)
    stats.sort_stats("cumtime").print_stats("django_querybudget", 70)


Figures = dict[tuple[str, str], list[tuple[float, float]]]


def measure(rounds: int, views: dict[tuple[str, str], Any]) -> Figures:
    """Let all take turns."""
    all_of_them: list[Measured] = [Measured(case, kind, views) for case in CASES for kind in KINDS]
    measured = [each for each in all_of_them if each.view is not None]
    measured += [Nothing(), *map(RawRead, ROWS)]
    for each in measured:
        each.run()
    figures: Figures = {}
    for _ in range(rounds):
        for each in random.sample(measured, len(measured)):
            figures.setdefault((each.case, each.kind), []).append(each.run())
    return figures


def _typical(found: list[tuple[float, float]]) -> float:
    return statistics.quantiles([time for time, _ in found], n=10)[0]


def print_table(figures: Figures) -> None:
    """Print the figures, and how they stand to the targets."""
    print(f"{'µs, ratio to the view (trips)':32}" + "".join(f"{kind:>28}" for kind in KINDS))
    for case in (*CASES, "middleware", *(f"raw mget {size}" for size in ROWS)):
        row = f"{case:32}"
        for kind in KINDS:
            found = figures.get((case, kind))
            if found is None:
                row += f"{'-':>28}"
                continue
            time = _typical(found)
            ratio = time / _typical(figures[case, BARE])
            trips = statistics.median(trips for _, trips in found)
            row += f"{f'{time:,.0f} {ratio:.2f} ({trips:.1f})':>28}"
        print(row)
    print()
    for line in _verdicts(figures):
        print(line)


def _verdicts(figures: Figures) -> Iterator[str]:
    def taken(case: str, kind: str = OURS) -> float:
        return _typical(figures[case, kind])

    def of(case: str, other: str) -> float:
        return taken(case) / taken(case, other)

    for size in ROWS:
        for way in ("alone", "request"):
            case = f"hit {size}, {way}"
            for peer, alias in PEERS.items():
                target = " (target 0.55)" if way == "alone" and alias == "default" else ""
                yield f"{case}: {of(case, peer):.2f} of {peer}{target}"
        beyond = taken(f"hit {size}, request") - taken("middleware", BARE)
        yield (
            f"hit {size}: {beyond:.0f} µs beyond the middleware (target 150 where a raw mget takes "
            f"75; here it takes {taken(f'raw mget {size}', BARE):.0f})"
        )
        hit, same = taken(f"hit {size}, alone"), taken(f"304 {size}, alone")
        yield f"304 {size}: {same:.0f} µs, a hit {hit:.0f}"
        case, trip = f"miss {size}, alone", taken(f"raw mget {size}", BARE)
        view = taken(case, BARE)
        yield (
            f"miss {size}: {taken(case):.0f} µs (target {1.1 * view + 2 * trip:.0f}: 1.10 of the "
            f"view, {view:.0f}, and two trips)"
        )


if __name__ == "__main__":
    main()
