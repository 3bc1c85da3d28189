"""``manage.py demo_cache``: the cached endpoints, cold, warm, and after each kind of write."""

from typing import Any, TextIO, cast

from django.core.cache import cache
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from rich import box
from rich.console import Console
from rich.table import Table

from accounts.models import CustomUser
from jobs.models import Job
from marketplace.caching import WRITES, CachedEndpoint, measure_cached
from marketplace.measuring import busiest

WIDTH_IN_A_PIPE = 120


class Command(BaseCommand):
    """Migrate, fill, measure, write, compare, print."""

    help = (
        "Measure the seven endpoints in their cached version, and compare their answers with the "
        "optimised version's after each kind of write. It changes the sample data. Exit status 1 "
        "if a warm endpoint queries or an answer is not the database's."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the demo; CommandError (exit status 1) for whatever is not as promised."""
        call_command("migrate", verbosity=0, interactive=False)
        call_command("fill", stdout=self.stdout, stderr=self.stderr)
        cache.clear()
        try:
            user = busiest(CustomUser.objects.all(), "users")
            job = busiest(Job.objects.all(), "jobs")
        except LookupError as error:
            raise CommandError(str(error)) from error
        endpoints = measure_cached(user, job)
        console = Console(file=cast("TextIO", self.stdout))
        if not console.is_terminal:
            console.width = WIDTH_IN_A_PIPE
        console.print(table_of(endpoints))
        console.print(
            "trips: round trips to the cache, one of them for the user who is logged in. "
            f"writes: {', '.join(write.name for write in WRITES)}.",
            highlight=False,
        )
        problems = [
            f"/cached/{each.name} made {each.warm} queries when it was warm."
            for each in endpoints
            if each.warm
        ]
        problems += [
            f"/cached/{each.name} was stale after {write}."
            for each in endpoints
            for write in each.wrong
        ]
        if problems:
            raise CommandError("\n".join(problems), returncode=1)


def table_of(endpoints: list[CachedEndpoint]) -> Table:
    """Return the table: a row for each endpoint."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    table.add_column("endpoint", no_wrap=True)
    for title in (
        "queries\ncold", "queries\nwarm", "trips\ncold", "trips\nwarm", "optimised\nms",
        "cached\nms", "changed by\nwrites", "made anew\nafter", "right\nafter",
    ):  # fmt: skip
        table.add_column(title, justify="right", no_wrap=True)
    for each in endpoints:
        table.add_row(
            f"/cached/{each.name}",
            str(each.cold),
            str(each.warm),
            str(each.cold_trips),
            str(each.warm_trips),
            f"{each.optimised_ms:.1f}",
            f"{each.warm_ms:.1f}",
            str(len(each.changed)),
            str(len(each.dropped)),
            f"{len(WRITES) - len(each.wrong)} of {len(WRITES)}",
            style="bold red" if each.wrong or each.warm else None,
        )
    return table
