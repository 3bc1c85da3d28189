"""How often each cache answers, and how right: one trace through this library and its peers.

Run: ``python benchmarks/hitrate.py [--steps N]`` (needs the extra ``bench``; peers that are not
installed are left out by name). It starts a Redis and a PostgreSQL of its own, or uses the Redis
that ``REDIS_URL`` names.

The trace: 1,000 users read the marketplace's seven endpoints through Django's handler, sessions and
authentication. The user, the endpoint, the page and the job are drawn by Zipf's law; 5 % of the
steps write, to all tables in turn. It is the same for all. Each library has a process, a database
(a copy of one) and a Redis database of its own; the processes take turns, a block of steps each.

After each read its answer is compared with the database's, with the clock stopped. Of each library:

hits      the share of reads that ran no query at all
ceiling   the share of reads whose answer had not changed since the same was read last: no cache
          that is right can answer more
queries   how many of no cache's queries were saved, of reads and writes
stale     reads that were not what the database said then
p50, p99  of a read, in milliseconds
step      the mean time of a step, reads and writes, and its ratio to no cache's
"""

from __future__ import annotations

import argparse
import random
import statistics
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import taking_turns
from taking_turns import OURS, TIMEOUT, zipf

LIBRARIES = {
    "no cache": None,
    "cached_view": OURS,
    "cached_queryset": OURS,
    "cachalot": "cachalot",
    "cacheops": "cacheops",
    "cache_page": None,
}
SCALE = 5.0
USERS, JOBS = 1000, 2500
WRITES = 0.05
SHARED = ("alljobs", "job-details", "reviews")
ENDPOINTS = (
    "alljobs", "job-details", "user-profile", "reviews", "applications", "saved-jobs", "payments",
)  # fmt: skip

urlpatterns: list[Any] = []
"""Filled by :func:`make_views`: this module is the URLconf."""

Step = tuple[str, int, int]
"""A read: its endpoint, the user, and the page or the job. A write: "write", a number, a table."""


def trace(steps: int) -> Iterator[Step]:
    """Return the steps, the same at each call."""
    drawn = random.Random(14)  # noqa: S311  # the same trace each time
    users, jobs, pages = zipf(USERS), zipf(JOBS), zipf(20)
    endpoints = zipf(len(ENDPOINTS), 0.5)

    def one(cumulated: list[float]) -> int:
        return drawn.choices(range(1, len(cumulated) + 1), cum_weights=cumulated)[0]

    for number in range(steps):
        if drawn.random() < WRITES:
            yield "write", number, one(jobs)
            continue
        name = ENDPOINTS[one(endpoints) - 1]
        detail = one(jobs) if name == "job-details" else 1
        if name in ("alljobs", "reviews"):
            detail = one(pages)
        yield name, one(users), detail


# In a library's own process


def settings(library: str) -> dict[str, Any]:
    """Return what differs from the settings of every such benchmark."""
    return {
        "ROOT_URLCONF": __name__,
        "INSTALLED_APPS": ["payment", "rating"],
        "MIDDLEWARE": [
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.common.CommonMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
        ],
        "AUTHENTICATION_BACKENDS": [f"{__name__}.Backend"],
        "QUERYBUDGET": {"CACHE": {"SCOPES": {"payment.Payment": ["payer", "recipient"]}}},
    }


class Backend:
    """Who is logged in, looked up as the library reads."""

    read: Callable[[Any], Any] = staticmethod(lambda queryset: queryset)

    def get_user(self, user_id: int) -> Any:
        from accounts.models import CustomUser

        return type(self).read(CustomUser.objects.filter(pk=user_id)).first()


def make_views(library: str) -> dict[str, Callable[[Any], Any]]:
    """Give the library's endpoints their addresses; return the same without any cache."""
    import libraries
    from django.urls import path
    from django.views.decorators.cache import cache_page
    from django.views.decorators.vary import vary_on_cookie

    import accounts.views_optimised as accounts
    import jobs.views_optimised as jobs
    import payment.views_optimised as payment
    import rating.views_optimised as rating
    from marketplace.api import endpoint, from_database

    reading: dict[str, Callable[[Any, Any], Any]] = {
        "alljobs": jobs.list_jobs,
        "job-details": jobs.show_job,
        "user-profile": accounts.show_profile,
        "reviews": rating.list_reviews,
        "applications": jobs.list_applications,
        "saved-jobs": jobs.list_saved_jobs,
        "payments": payment.list_payments,
    }
    read: Callable[[Any], Any] = from_database
    if LIBRARIES[library] == OURS:
        Backend.read = staticmethod(libraries.querybudget)
    if library == "cached_queryset":
        read = libraries.querybudget
    elif library == "cacheops":
        read = Backend.read = staticmethod(libraries.cacheops)
    plain: dict[str, Callable[[Any], Any]] = {}
    for name, show in reading.items():
        plain[name] = endpoint(lambda request, show=show: show(request, from_database))
        view: Any = endpoint(lambda request, show=show: show(request, read))
        view.__qualname__ = name
        if library == "cached_view":
            from django_querybudget.cache import cached_view

            view = cached_view(TIMEOUT, vary_on=() if name in SHARED else ("user",))(view)
        elif library == "cache_page":
            # What a careful project writes: without vary_on_cookie, users get each other's pages.
            view = cache_page(TIMEOUT)(view if name in SHARED else vary_on_cookie(view))
        urlpatterns.append(path(name, view, name=name))
    return plain


class Run(taking_turns.Run):
    """One library's way through the trace."""

    def __init__(self, library: str, options: argparse.Namespace) -> None:
        import libraries
        from django.core.handlers.base import BaseHandler
        from django.test import RequestFactory

        super().__init__(trace(options.steps))
        self.plain = make_views(library)
        self.handler = BaseHandler()
        self.handler.load_middleware()
        self.factory = RequestFactory()
        self.cookies: dict[int, str] = {}
        self.last: dict[tuple[str, int, int], bytes] = {}
        self.uncached: Callable[[], AbstractContextManager[Any]] = (
            (lambda: libraries.without("cachalot")) if library == "cachalot" else nullcontext
        )
        self.times: list[float] = []
        self.hits = self.reads = self.same = 0

    def step(self, name: str, first: int, second: int) -> None:
        if name == "write":
            self.timed(lambda: write(first, second))
        else:
            self._read(name, first, second)

    def _read(self, name: str, user: int, detail: int) -> None:
        query = {"id": detail} if name == "job-details" else {"page": detail}
        request = self.factory.get(f"/{name}", query, HTTP_COOKIE=self._cookie(user))
        before = self.queries
        response, seconds = self.timed(lambda: self.handler.get_response(request))
        self.times.append(seconds)
        self.reads += 1
        self.hits += self.queries == before
        key = (name, 0 if name in SHARED else user, detail)
        with self.uncached():
            true = self._true(name, user, query)
        assert response.status_code in (200, 404), response.content
        self.stale += response.content != true
        self.same += self.last.get(key) == true
        self.last[key] = true

    def _true(self, name: str, user: int, query: dict[str, int]) -> bytes:
        from accounts.models import CustomUser

        request = self.factory.get(f"/{name}", query)
        request.user = CustomUser.objects.get(pk=user)
        return bytes(self.plain[name](request).content)

    def _cookie(self, user: int) -> str:
        if user not in self.cookies:
            from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
            from django.contrib.sessions.backends.signed_cookies import SessionStore

            from accounts.models import CustomUser

            with self.uncached():
                row = CustomUser.objects.get(pk=user)
            session = SessionStore()
            session[SESSION_KEY] = str(user)
            session[BACKEND_SESSION_KEY] = f"{__name__}.Backend"
            session[HASH_SESSION_KEY] = row.get_session_auth_hash()
            session.save()
            self.cookies[user] = f"sessionid={session.session_key}"
        return self.cookies[user]

    def figures(self) -> dict[str, Any]:
        cuts = statistics.quantiles(self.times, n=100)
        return {
            "reads": self.reads, "hits": self.hits, "same": self.same, "stale": self.stale,
            "queries": self.queries, "p50": cuts[49] * 1e3, "p99": cuts[98] * 1e3,
            "step": self.spent / self.done * 1e3,
        }  # fmt: skip


def write(number: int, job: int) -> None:
    """Write to one of the 13 tables, each in turn, as an application does."""
    from django.db.models import F

    from accounts.models import OTP, CustomUser, Profile, Wallet
    from jobs.models import Application, Industry, Job, JobPicture, SavedJob, Subcategory
    from payment.models import Payment
    from rating.models import Review

    user, other = number * 7 % USERS + 1, number * 11 % USERS + 1
    writes: list[Callable[[], Any]] = [
        lambda: CustomUser.objects.filter(pk=user).update(last_name=f"L{number}"),
        lambda: Profile.objects.filter(user=user).update(headline=f"H{number}"),
        lambda: Wallet.objects.filter(user=user).update(balance=F("balance") + 1),
        lambda: OTP.objects.create(user_id=user, code="123456"),
        lambda: Industry.objects.filter(pk=Industry.objects.first().pk).update(name=f"I{number}"),
        lambda: Subcategory.objects.create(industry=Industry.objects.first(), name=f"S{number}"),
        lambda: _save(Job.objects.get(pk=job), title=f"T{number}"),
        lambda: Job.objects.get(pk=job).subcategories.add(Subcategory.objects.first()),
        lambda: JobPicture.objects.create(job_id=job, image=f"{number}.png"),
        lambda: Application.objects.get_or_create(
            job_id=job, applicant_id=user, defaults={"offer": 5}
        ),
        lambda: SavedJob.objects.get_or_create(job_id=job, user_id=user),
        lambda: Payment.objects.create(
            payer_id=user, recipient_id=other, job_id=job, amount=number
        ),
        lambda: Review.objects.get_or_create(
            job_id=job, reviewer_id=user, reviewed_id=other, defaults={"rating": 3}
        ),
    ]
    writes[number % len(writes)]()


def _save(row: Any, **values: Any) -> None:
    vars(row).update(values)
    row.save()


def fill() -> None:
    """Make the rows."""
    from marketplace import sample_data

    sample_data.fill(SCALE)


def print_table(found: dict[str, dict[str, Any]]) -> None:
    """Print a row for each library."""
    none = found["no cache"]
    ceiling = none["same"] / none["reads"]
    print(f"{none['reads']} reads; ceiling {ceiling:.3f}")
    heads = ("hits", "of ceiling", "queries saved", "stale", "p50", "p99", "step ms (ratio)")
    print(f"{'':18}" + "".join(f"{head:>16}" for head in heads))
    for library, one in found.items():
        rate = one["hits"] / one["reads"]
        cells = (
            f"{rate:.3f}", f"{rate / ceiling:.2f}", f"{1 - one['queries'] / none['queries']:.0%}",
            f"{one['stale']}", f"{one['p50']:.2f}", f"{one['p99']:.2f}",
            f"{one['step']:.2f} ({one['step'] / none['step']:.2f})",
        )  # fmt: skip
        print(f"{library:18}" + "".join(f"{cell:>16}" for cell in cells))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=2500)
    taking_turns.trace_main(
        parser, LIBRARIES, settings=settings, fill=fill, run=Run, print_table=print_table
    )
