"""How often lists, counts and rows of one user each are answered from a cache: one trace.

Run: ``python benchmarks/users.py [--steps N] [--delay MS] [--updates SHARE] [--only LIBRARY]``. It
starts a Redis and a PostgreSQL of its own, or uses the Redis that ``REDIS_URL`` names.

The trace: 1,000 users with eight applications each; the user of a step is drawn by Zipf's law. A
read is the user's applications, newest first (0.30), the same with their jobs joined (0.15), how
many there are (0.20), the user's own row (0.20), or one application (0.15). One step of twenty
writes, in autocommit: ``save()`` of an application (0.5), a new one (0.2), a deletion (0.1),
``save()`` of a user (0.1), ``filter(applicant=…).update()`` (0.1; ``--updates 0`` has none, and as
many more of ``save()``). Nothing is declared, but in the line with SCOPES. Each library has a
process, a database and a Redis database of its own, and the processes take turns, a block of steps
each. ``--delay`` lets each query take so much longer.

The columns are those of ``benchmarks/hitrate.py``; *miss* and *hit* are the mean of a read, in
microseconds.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "testproject"), str(ROOT / "benchmarks")]

LIBRARIES = {
    "no cache": None,
    "querybudget": None,
    "querybudget, SCOPES": None,
    "cachalot": "cachalot",
    "cacheops": "cacheops",
}
USERS, EACH, JOBS = 1000, 8, 500
BLOCK = 50
WRITES = 0.05
READS = {"list": 0.30, "joined": 0.15, "count": 0.20, "user": 0.20, "row": 0.15}
KINDS = {"save": 0.5, "create": 0.2, "delete": 0.1, "save user": 0.1, "update": 0.1}

Step = tuple[bool, str, int, int]
"""Whether it writes, what, the user, and a number."""


def trace(steps: int, updates: float) -> Iterator[Step]:
    """Return the steps, the same at each call; ``updates`` is the share of the writes."""
    from hitrate import _zipf

    drawn = random.Random(18)  # noqa: S311  # the same trace each time
    users, writes = _zipf(USERS), {**KINDS, "save": 0.6 - updates, "update": updates}
    for number in range(steps):
        is_write = drawn.random() < WRITES
        kinds = writes if is_write else READS
        kind = drawn.choices(list(kinds), list(kinds.values()))[0]
        user = drawn.choices(range(1, USERS + 1), cum_weights=users)[0]
        yield is_write, kind, user, number


def configure(library: str, database: str) -> None:
    """Configure Django for one library on a database of its own."""
    import django
    from django.conf import settings

    from tests.servers import PostgreSQL, Redis, Run

    run = Run.current()
    redis = os.environ.get("REDIS_URL") or Redis(run).url()
    redis += f"{'&' if '?' in redis else '?'}db={list(LIBRARIES).index(library)}"
    scopes = {"jobs.Application": ["applicant"]} if library.endswith("SCOPES") else {}
    settings.configure(
        DATABASES={"default": {**PostgreSQL(run).settings(), "NAME": database}},
        CACHES={"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": redis}},
        INSTALLED_APPS=[
            *({"cachalot": ["cachalot"], "cacheops": ["cacheops"]}.get(library, [])),
            *(["django_querybudget"] if library.startswith("querybudget") else []),
            "django.contrib.contenttypes",
            "django.contrib.auth",
            "accounts",
            "jobs",
        ],
        AUTH_USER_MODEL="accounts.CustomUser",
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
        QUERYBUDGET={"CACHE": {"SCOPES": scopes}},
        CACHALOT_TIMEOUT=600,
        CACHEOPS_REDIS=redis,
        CACHEOPS={"*.*": {"ops": (), "timeout": 600}},
    )
    django.setup()


def answer(kind: str, user: int, cached: Callable[[Any], Any]) -> Any:
    """Return what a read shows."""
    from accounts.models import CustomUser
    from jobs.models import Application

    mine = Application.objects.filter(applicant=user)
    newest = mine.order_by("-created_at", "-id")[:20]
    if kind == "list":
        return [_values(row) for row in cached(newest)]
    if kind == "joined":
        rows = cached(mine.select_related("job").order_by("-created_at", "-id")[:20])
        return [(*_values(row), row.job.title) for row in rows]
    if kind == "count":
        return cached(mine).count()
    if kind == "user":
        return [(row.pk, row.last_name) for row in cached(CustomUser.objects.filter(pk=user))]
    return [_values(row) for row in cached(Application.objects.filter(pk=(user - 1) * EACH + 1))]


def _values(row: Any) -> tuple[Any, ...]:
    return row.pk, row.offer, row.status, row.job_id


def write(kind: str, user: int, number: int) -> None:
    """Write, as an application does; what it reads for that is not cached."""
    from accounts.models import CustomUser
    from jobs.models import Application

    mine = Application.objects.filter(applicant=user).order_by("id")
    if kind == "create":
        Application.objects.create(job_id=number % JOBS + 1, applicant_id=user, offer=number)
    elif kind == "save user":
        row = CustomUser.objects.get(pk=user)
        row.last_name = f"L{number}"
        row.save()
    elif kind == "update":
        mine.update(status="declined" if number % 2 else "sent")
    elif (rows := list(mine)) and kind == "delete":
        rows[-1].delete()
    elif rows:
        row = rows[number % len(rows)]
        row.offer = number
        row.save()


class Run:
    """One library's way through the trace."""

    def __init__(self, library: str, steps: int, delay: float, updates: float) -> None:
        import libraries
        from django.core.cache import cache
        from django.db import connection

        cache.clear()
        self.steps, self.delay = trace(steps, updates), delay
        self.cached: Callable[[Any], Any] = getattr(
            libraries, library.partition(",")[0], lambda queryset: queryset
        )
        self.uncached = lambda: libraries.without(library)
        self.last: dict[tuple[str, int], Any] = {}
        self.by_kind: dict[str, list[int]] = {kind: [0, 0, 0] for kind in READS}
        self.spent: dict[str, list[float]] = {"hit": [], "miss": [], "write": []}
        self.queries = self.stale = self.done = self.before = 0
        self.counted = False
        connection.execute_wrappers.append(self._count)

    def _count(self, execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        if self.counted:
            self.queries += 1
            if self.delay:
                time.sleep(self.delay)
        return execute(sql, params, many, context)

    def go(self, steps: int) -> None:
        for _ in range(steps):
            step = next(self.steps, None)
            if step is None:
                return
            is_write, kind, user, number = step
            self.done += 1
            before, self.counted, began = self.queries, True, perf_counter()
            if is_write:
                write(kind, user, number)
            else:
                shown = answer(kind, user, self.cached)
            seconds, self.counted = perf_counter() - began, False
            is_hit = self.queries == before
            self.spent["write" if is_write else "hit" if is_hit else "miss"].append(seconds)
            if is_write:
                self.before += self.queries - before
                continue
            with self.uncached():
                true = answer(kind, user, lambda queryset: queryset)
            self.stale += shown != true
            found = self.by_kind[kind]
            found[0] += 1
            found[1] += is_hit
            found[2] += self.last.get((kind, user)) == true
            self.last[kind, user] = true

    def figures(self) -> dict[str, Any]:
        means = {name: sum(each) / len(each or [0]) * 1e6 for name, each in self.spent.items()}
        whole = sum(map(sum, self.spent.values()))
        return {
            "kinds": self.by_kind, "stale": self.stale, "queries": self.queries - self.before,
            "means": means, "step": whole / self.done * 1e6,
        }  # fmt: skip


def serve(library: str, options: argparse.Namespace) -> None:
    """Be one library's process: run the blocks that stdin asks for, then print the figures."""
    configure(library, options.database)
    run = Run(library, options.steps, options.delay / 1000, options.updates)
    if library.startswith("querybudget"):
        from hitrate import _wait_for_the_pulse

        _wait_for_the_pulse()
    for line in sys.stdin:
        run.go(int(line))
        print(".", flush=True)
    print(json.dumps(run.figures()), flush=True)


# The process that starts the others


def main() -> None:
    """Start the servers and the libraries' processes, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--delay", type=float, default=0.0, metavar="MS")
    parser.add_argument("--updates", type=float, default=0.1, metavar="SHARE")
    parser.add_argument("--only", choices=LIBRARIES, action="append", help="with no cache, these")
    parser.add_argument("--library", help=argparse.SUPPRESS)
    parser.add_argument("--database", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.library == "fill":
        fill()
        return
    if options.library:
        serve(options.library, options)
        return
    from tests.servers import PostgreSQL, Redis
    from tests.servers import Run as ServerRun

    run = ServerRun.current()
    if not os.environ.get("REDIS_URL"):
        Redis(run).start()
    PostgreSQL(run).start()
    try:
        print_table(compare(options))
    finally:
        run.clean_up()


def fill() -> None:
    """Make the database that the others are copies of."""
    import psycopg

    from tests.servers import PostgreSQL
    from tests.servers import Run as ServerRun

    own = PostgreSQL(ServerRun.current()).settings()
    where = {"host": own["HOST"], "user": own["USER"], "dbname": own["NAME"]}
    with psycopg.connect(**where, autocommit=True) as connection:
        connection.execute("CREATE DATABASE users_filled")
        configure("no cache", "users_filled")
        from django.core.management import call_command
        from django.db import connections

        from accounts.models import CustomUser
        from jobs.models import Application, Industry, Job

        call_command("migrate", verbosity=0, interactive=False)
        with connections["default"].cursor() as cursor:
            # One user may apply to one job again and again here.
            cursor.execute("ALTER TABLE jobs_application DROP CONSTRAINT one_application_per_job")
        people = range(1, USERS + 1)
        CustomUser.objects.bulk_create(
            CustomUser(pk=pk, username=f"u{pk}", email=f"{pk}@x") for pk in people
        )
        industry = Industry.objects.create(name="i")
        Job.objects.bulk_create(
            Job(client_id=pk, industry=industry, title=f"Job {pk}", budget=pk)
            for pk in range(1, JOBS + 1)
        )
        Application.objects.bulk_create(
            Application(job_id=(pk + number) % JOBS + 1, applicant_id=pk, offer=number)
            for pk in people
            for number in range(EACH)
        )
        with connections["default"].cursor() as cursor:
            cursor.execute("ANALYZE")
        connections.close_all()
        for number in range(len(LIBRARIES)):
            connection.execute(f"CREATE DATABASE users_{number} TEMPLATE users_filled")


def compare(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Let the libraries take turns; return their figures."""
    command = [sys.executable, __file__]
    for name in ("steps", "delay", "updates"):
        command += [f"--{name}", str(getattr(options, name))]
    command += ["--library"]
    wanted = options.only or list(LIBRARIES)
    subprocess.run([*command, "fill"], check=True)
    processes: dict[str, subprocess.Popen[str]] = {}
    for number, (library, module) in enumerate(LIBRARIES.items()):
        if library != "no cache" and library not in wanted:
            continue
        if module and importlib.util.find_spec(module) is None:
            print(f"{library}: not installed, left out")
            continue
        processes[library] = subprocess.Popen(
            [*command, library, "--database", f"users_{number}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
    for _ in range(0, options.steps, BLOCK):
        for process in random.sample(list(processes.values()), len(processes)):
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{BLOCK}\n")
            process.stdin.flush()
            if process.stdout.readline().strip() != ".":
                raise SystemExit("A library's process failed; its own words are above.")
    return {library: json.loads(process.communicate()[0]) for library, process in processes.items()}


def print_table(found: dict[str, dict[str, Any]]) -> None:
    """Print a row for each library."""
    none = found["no cache"]
    reads, _, same = map(sum, zip(*none["kinds"].values(), strict=True))
    print(f"{reads} reads; ceiling {same / reads:.3f}")
    kinds = " ".join(f"{kind} {each[2] / each[0]:.2f}" for kind, each in none["kinds"].items())
    print(f"of each kind: {kinds}")
    heads = ("hits", "of ceiling", "queries saved", "stale", "hit", "miss", "write", "step (ratio)")
    print(f"{'':20}" + "".join(f"{head:>14}" for head in heads))
    for library, one in found.items():
        hits = sum(each[1] for each in one["kinds"].values())
        cells = (
            f"{hits / reads:.3f}", f"{hits / same:.2f}",
            f"{1 - one['queries'] / none['queries']:.0%}", f"{one['stale']}",
            *(f"{one['means'][name]:.0f}" for name in ("hit", "miss", "write")),
            f"{one['step']:.0f} ({one['step'] / none['step']:.2f})",
        )  # fmt: skip
        print(f"{library:20}" + "".join(f"{cell:>14}" for cell in cells))
        of_kinds = (f"{kind} {each[1] / each[0]:.2f}" for kind, each in one["kinds"].items())
        print(f"{'':20}  {' '.join(of_kinds)}")


if __name__ == "__main__":
    main()
