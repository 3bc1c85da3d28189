"""What caching costs and saves on Redis and PostgreSQL: this library, its peers, and no cache.

Run: ``python benchmarks/caching.py [--rounds N] [--case "save()"]``. It starts a Redis and a
PostgreSQL of its own (the extra ``test``), or uses those that ``REDIS_URL`` and ``DATABASE_URL``
name. Peers that are not installed are left out by name.

Each library runs in a process of its own, since they patch what the others use; the processes
take turns, a short block each in every round. A figure is the median over the rounds, in
microseconds; behind it stand the ratio to no cache (the median of each round's own ratio) and the
number of commands sent to Redis. Below stands from which share of hits on caching pays.

``--case "atomic, 20,000 save()" --rounds 1`` is one transaction that saves so many rows, and how
much memory the process took for it. It takes minutes with the peers.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
from collections.abc import Callable
from operator import truediv
from time import perf_counter
from typing import Any

import taking_turns
from taking_turns import OURS

LIBRARIES = {
    "no cache": None,
    "querybudget": OURS,
    "querybudget, decorated": OURS,
    "cachalot": "cachalot",
    "cacheops": "cacheops",
}
READS = (
    "hit 1 row",
    "hit 100 rows",
    "hit 100 rows, own __init__",
    "hit 20 rows, 2 prefetches",
    "hit 100 rows, values_list()",
    "page of 10 querysets",
    "page of 10, together",
    "get()",
    "first()",
    "count()",
    "exists()",
)
CASES = (*READS, "miss 1 row", "miss 100 rows", "save()", "filter(pk).update()",
         "atomic, 10 save()", "bulk_create(100)")  # fmt: skip
PAYS = {"hit 1 row": "miss 1 row", "hit 100 rows": "miss 100 rows"}
"""What is compared to tell from which share of hits on caching pays."""
BIG = {f"atomic, {rows:,} save()": rows for rows in (1_000, 20_000, 100_000)}
"""Transactions that write many rows, each one: run where ``--case`` names them, once a round."""
BLOCK = {
    **dict.fromkeys(BIG, 1),
    **dict.fromkeys(READS, 20),
    "hit 1 row": 50,
    "page of 10 querysets": 5,
    "page of 10, together": 5,
    "miss 1 row": 20,
    "save()": 20,
    "filter(pk).update()": 20,
}


def cases(library: str) -> dict[str, Callable[[int], None]]:
    """Return the cases; each runs what it measures as often as it is told."""
    from django.core.cache import cache

    cache.clear()
    return {**_reads(library), **_writes()}


def _reads(library: str) -> dict[str, Callable[[int], None]]:  # noqa: C901  # one after another
    from accounts.models import CustomUser
    from jobs.models import Application, Industry, Job, Subcategory

    if library.startswith("querybudget"):
        from django_querybudget.cache import cached_queryset as cached
        from django_querybudget.cache import fetch_together as together
    elif library == "cacheops":

        def cached(queryset: Any) -> Any:
            return queryset.cache(ops=["get", "fetch", "count", "exists"], timeout=600)

    else:

        def cached(queryset: Any) -> Any:
            return queryset

    if not library.startswith("querybudget"):  # it has no such thing

        def together(*querysets: Any) -> Any:
            return querysets

    def reading(build: Callable[[], Any]) -> Callable[[], Any]:
        return cached(build) if library.endswith("decorated") else lambda: cached(build())

    # Job has a constructor of its own, which has to be called for each row.
    job = reading(lambda: Job.objects.filter(pk=1))
    applications = reading(lambda: Application.objects.order_by("pk")[:100])
    jobs = reading(lambda: Job.objects.order_by("pk")[:100])
    values = reading(lambda: Job.objects.order_by("pk").values_list("pk", "title", "budget")[:100])
    users = reading(
        lambda: CustomUser.objects.order_by("pk").prefetch_related("applications", "saved_jobs")[
            :20
        ]
    )
    page = [
        job,
        reading(lambda: Industry.objects.filter(pk=2)),
        reading(lambda: Industry.objects.filter(pk__in=[3, 4, 5])),
        reading(lambda: Industry.objects.order_by("-pk")[:5]),
        reading(lambda: Job.objects.filter(pk__gt=990, pk__lte=1000).order_by("pk")),
        reading(lambda: Subcategory.objects.filter(industry_id=1)),
        reading(lambda: Application.objects.filter(job_id=7)),
        reading(lambda: Application.objects.filter(applicant_id=1).order_by("-pk")[:10]),
        reading(lambda: CustomUser.objects.filter(pk__lt=6).order_by("pk")),
        reading(lambda: Application.objects.select_related("job").order_by("pk")[:5]),
    ]
    asked: dict[str, Callable[[], Any]] = {
        "hit 1 row": lambda: list(job()),
        "hit 100 rows": lambda: list(applications()),
        "hit 100 rows, own __init__": lambda: list(jobs()),
        "hit 20 rows, 2 prefetches": lambda: list(users()),
        "hit 100 rows, values_list()": lambda: list(values()),
        "page of 10 querysets": lambda: [list(each()) for each in page],
        "page of 10, together": lambda: list(map(list, together(*[each() for each in page]))),
        "get()": lambda: job().get(),
        "first()": lambda: job().first(),
        "count()": lambda: job().count(),
        "exists()": lambda: job().exists(),
    }

    def repeated(ask: Callable[[], Any]) -> Callable[[int], None]:
        def run(times: int) -> None:
            for _ in range(times):
                ask()

        return run

    # Of a function the arguments are others each time.
    def one(above: float) -> Any:
        return Job.objects.filter(pk=1, budget__gt=above)

    def hundred(above: int) -> Any:
        return Application.objects.filter(pk__gt=above).order_by("pk")[:100]

    if library.endswith("decorated"):
        one, hundred = cached(one), cached(hundred)
    else:
        one, hundred = (lambda above, build=build: cached(build(above)) for build in (one, hundred))

    def miss(times: int) -> None:
        for number in range(times):
            list(one(-perf_counter() - number))

    def miss_many(times: int) -> None:
        for number in range(times):
            list(hundred(-int(perf_counter() * 1e6) - number))

    misses = {"miss 1 row": miss, "miss 100 rows": miss_many}
    return {**{name: repeated(ask) for name, ask in asked.items()}, **misses}


def _writes() -> dict[str, Callable[[int], None]]:
    from django.db import transaction

    from accounts.models import CustomUser
    from jobs.models import Industry, Job

    job = Job.objects.get(pk=1)

    def save(times: int) -> None:
        for _ in range(times):
            job.save()

    def update(times: int) -> None:
        for number in range(times):
            Job.objects.filter(pk=1).update(budget=number)

    def saves(times: int) -> None:
        for _ in range(times):
            with transaction.atomic():
                for _ in range(10):
                    job.save()

    client, industry = CustomUser.objects.get(pk=1), Industry.objects.get(pk=1)

    def bulk_create(times: int) -> None:
        for _ in range(times):
            Job.objects.bulk_create(
                [Job(client=client, industry=industry, title="t", budget=1) for _ in range(100)]
            )

    def many_saves(rows: int) -> Callable[[int], None]:
        def run(times: int) -> None:
            for _ in range(times):
                with transaction.atomic():
                    for pk in range(2, rows + 2):
                        Industry(pk=pk, name=f"industry {pk}").save(force_update=True)

        return run

    return {
        "save()": save,
        "filter(pk).update()": update,
        "atomic, 10 save()": saves,
        "bulk_create(100)": bulk_create,
        **{name: many_saves(rows) for name, rows in BIG.items()},
    }


def serve(library: str, options: argparse.Namespace) -> None:
    """Be one library's process: run the blocks that stdin asks for."""
    del options
    taking_turns.configure(LIBRARIES[library])
    from redis.connection import AbstractConnection

    trips = 0
    send = AbstractConnection.send_packed_command

    def counted(self: Any, command: Any, check_health: bool = True) -> None:
        nonlocal trips
        trips += 1
        send(self, command, check_health)

    AbstractConnection.send_packed_command = counted  # type: ignore[method-assign]  # to count
    runs = cases(library)
    for line in sys.stdin:
        name = line.strip()
        times = BLOCK.get(name, 5)
        if name not in BIG:
            runs[name](1)
        trips, memory = 0, _peak()
        started = perf_counter()
        runs[name](times)
        seconds = perf_counter() - started
        print(json.dumps([seconds / times * 1e6, trips / times, _peak() - memory]), flush=True)


def _peak() -> float:
    """Return the most memory that this process has had so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def fill() -> None:
    """Make the tables and 1,000 jobs."""
    taking_turns.configure(None)
    from django.core.management import call_command
    from django.core.management.color import no_style
    from django.db import connection

    from accounts.models import CustomUser
    from jobs.models import Application, Industry, Job, SavedJob, Subcategory

    call_command("migrate", verbosity=0, interactive=False)
    Job.objects.all().delete()
    user, _ = CustomUser.objects.get_or_create(pk=1, defaults={"username": "u", "email": "u@x"})
    industry, _ = Industry.objects.get_or_create(pk=1, defaults={"name": "i"})
    Job.objects.bulk_create(
        [
            Job(pk=pk, client=user, industry=industry, title=f"Job {pk}", budget=pk)
            for pk in range(1, 1001)
        ]
    )
    subcategories = [Subcategory(pk=pk, industry=industry, name=f"s{pk}") for pk in range(1, 5)]
    Subcategory.objects.bulk_create(subcategories, ignore_conflicts=True)
    users = [CustomUser(pk=pk, username=f"u{pk}", email=f"{pk}@x") for pk in range(2, 21)]
    CustomUser.objects.bulk_create(users, ignore_conflicts=True)
    SavedJob.objects.bulk_create(
        [SavedJob(user_id=pk % 20 + 1, job_id=pk // 20 + 1) for pk in range(60)]
    )
    Application.objects.bulk_create(
        [Application(job_id=pk, applicant_id=pk % 20 + 1, offer=pk) for pk in range(1, 101)]
    )
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO jobs_industry (id, name) SELECT n, 'industry ' || n "
            "FROM generate_series(2, %s) AS n ON CONFLICT DO NOTHING",
            [max(BIG.values()) + 1],
        )
        for statement in connection.ops.sequence_reset_sql(no_style(), [Job]):
            cursor.execute(statement)


def compare(options: argparse.Namespace) -> None:
    """Let the libraries take turns, and print what they took."""
    wanted = options.case or CASES
    processes = taking_turns.start(LIBRARIES, LIBRARIES)
    figures: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    for _ in range(options.rounds):
        for case in wanted:
            for library, answer in taking_turns.ask(processes, case):
                figures.setdefault((case, library), []).append(tuple(json.loads(answer)))
    for process in processes.values():
        process.communicate()
    heads = "".join(f"{name:>28}" for name in processes)
    print(f"{'µs, ratio (trips to Redis)':28}{heads}")
    ratios: dict[tuple[str, str], float] = {}
    for case in wanted:
        row = f"{case:28}"
        without = [time for time, *_ in figures[case, "no cache"]]
        for library in processes:
            times, trips, _ = zip(*figures[case, library], strict=True)
            ratio = statistics.median(map(truediv, times, without))
            ratios[case, library] = ratio
            spent = f"{statistics.median(times):,.0f} {ratio:.2f} ({statistics.median(trips):.1f})"
            row += f"{spent:>28}"
        print(row)
        if case in BIG:
            grown = (max(memory for *_, memory in figures[case, name]) for name in processes)
            print(f"{'  memory grown by, MB':28}" + "".join(f"{each:>28,.1f}" for each in grown))
    for hit, miss in PAYS.items():
        if hit in wanted and miss in wanted:
            shares = (_break_even(ratios[hit, name], ratios[miss, name]) for name in processes)
            print(f"{f'{hit}, pays from':28}" + "".join(f"{each:>28}" for each in shares))


def _break_even(hit: float, miss: float) -> str:
    """Return the share of hits above which reads cost less than without a cache."""
    return f"{(miss - 1) / (miss - hit):.2f}" if hit < 1 < miss else "-"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument(
        "--case", choices=[*CASES, *BIG], action="append", help="all, if none is named"
    )
    taking_turns.main(parser, fill=fill, serve=serve, compare=compare)
