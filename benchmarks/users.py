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
import random
from collections.abc import Callable, Iterator
from typing import Any

import taking_turns
from taking_turns import OURS

LIBRARIES = {
    "no cache": None,
    "querybudget": OURS,
    "querybudget, SCOPES": OURS,
    "cachalot": "cachalot",
    "cacheops": "cacheops",
}
USERS, EACH, JOBS = 1000, 8, 500
WRITES = 0.05
READS = {"list": 0.30, "joined": 0.15, "count": 0.20, "user": 0.20, "row": 0.15}
KINDS = {"save": 0.5, "create": 0.2, "delete": 0.1, "save user": 0.1, "update": 0.1}

Step = tuple[bool, str, int, int]
"""Whether it writes, what, the user, and a number."""


def trace(steps: int, updates: float) -> Iterator[Step]:
    """Return the steps, the same at each call; ``updates`` is the share of the writes."""
    drawn = random.Random(18)  # noqa: S311  # the same trace each time
    users, writes = taking_turns.zipf(USERS), {**KINDS, "save": 0.6 - updates, "update": updates}
    for number in range(steps):
        is_write = drawn.random() < WRITES
        kinds = writes if is_write else READS
        kind = drawn.choices(list(kinds), list(kinds.values()))[0]
        user = drawn.choices(range(1, USERS + 1), cum_weights=users)[0]
        yield is_write, kind, user, number


def settings(library: str) -> dict[str, Any]:
    """Return what differs from the settings of every such benchmark."""
    scopes = {"jobs.Application": ["applicant"]} if library.endswith("SCOPES") else {}
    return {"QUERYBUDGET": {"CACHE": {"SCOPES": scopes}}}


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


class Run(taking_turns.Run):
    """One library's way through the trace."""

    def __init__(self, library: str, options: argparse.Namespace) -> None:
        import libraries

        super().__init__(trace(options.steps, options.updates), options.delay / 1000)
        self.cached: Callable[[Any], Any] = getattr(
            libraries, library.partition(",")[0], lambda queryset: queryset
        )
        self.uncached = lambda: libraries.without(library)
        self.last: dict[tuple[str, int], Any] = {}
        self.by_kind: dict[str, list[int]] = {kind: [0, 0, 0] for kind in READS}
        self.times: dict[str, list[float]] = {"hit": [], "miss": [], "write": []}
        self.before = 0

    def step(self, is_write: bool, kind: str, user: int, number: int) -> None:
        before = self.queries
        if is_write:
            _, seconds = self.timed(lambda: write(kind, user, number))
            self.times["write"].append(seconds)
            self.before += self.queries - before
            return
        shown, seconds = self.timed(lambda: answer(kind, user, self.cached))
        is_hit = self.queries == before
        self.times["hit" if is_hit else "miss"].append(seconds)
        with self.uncached():
            true = answer(kind, user, lambda queryset: queryset)
        self.stale += shown != true
        found = self.by_kind[kind]
        found[0] += 1
        found[1] += is_hit
        found[2] += self.last.get((kind, user)) == true
        self.last[kind, user] = true

    def figures(self) -> dict[str, Any]:
        means = {name: sum(each) / len(each or [0]) * 1e6 for name, each in self.times.items()}
        return {
            "kinds": self.by_kind, "stale": self.stale, "queries": self.queries - self.before,
            "means": means, "step": self.spent / self.done * 1e6,
        }  # fmt: skip


def fill() -> None:
    """Make the rows."""
    from django.db import connection

    from accounts.models import CustomUser
    from jobs.models import Application, Industry, Job

    with connection.cursor() as cursor:
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
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--delay", type=float, default=0.0, metavar="MS")
    parser.add_argument("--updates", type=float, default=0.1, metavar="SHARE")
    taking_turns.trace_main(
        parser, LIBRARIES, settings=settings, fill=fill, run=Run, print_table=print_table
    )
