"""``manage.py demo``: what the naive endpoints cost, and what the optimised ones do."""

from collections.abc import Callable, Sequence
from typing import Any, TextIO, cast

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich import box
from rich.console import Console
from rich.table import Table

from django_querybudget import Budget
from marketplace.measuring import Measurement, Version, measure
from marketplace.progress import progress_bar

BUDGET = Budget(max_queries=3)
WIDTH_IN_A_PIPE = 120
WIDTH_WITH_ROOM = 100
TITLES = (
    "queries",
    "distinct\nshapes",
    "duplicate\nqueries",
    "database\nms",
    "response\nms",
    "budget",
)


class Command(BaseCommand):
    """Migrate, fill, measure, print; the exit status says whether every budget was kept."""

    help = (
        "Measure the seven endpoints, naive and optimised, with django_querybudget. "
        "Exit status 1 if an optimised one exceeds 3 queries or does not answer the same."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the number of rounds and the size of the sample data."""
        parser.add_argument(
            "--rounds", type=int, default=5, help="Measured calls of each endpoint (default 5)."
        )
        parser.add_argument(
            "--scale", type=float, default=1.0, help="The size of the sample data (default 1)."
        )

    def handle(self, *args: Any, rounds: int, scale: float, **options: Any) -> None:
        """Run the demo; CommandError (exit status 1) for whatever is not as promised."""
        if rounds < 1:
            raise CommandError(f"--rounds must be 1 or more, not {rounds}.")
        call_command("migrate", verbosity=0, interactive=False)
        call_command("fill", scale=scale, stdout=self.stdout, stderr=self.stderr)
        try:
            with progress_bar("Measuring") as progress:
                measurements = measure(BUDGET, rounds, progress)
        except LookupError as error:
            raise CommandError(str(error)) from error
        self._print(measurements, rounds)
        problems = [problem for each in measurements for problem in each.problems()]
        if problems:
            raise CommandError("\n".join(problems), returncode=1)

    def _print(self, measurements: Sequence[Measurement], rounds: int) -> None:
        console = Console(file=cast("TextIO", self.stdout))
        if not console.is_terminal:
            console.width = WIDTH_IN_A_PIPE
        console.print(table_of(measurements, roomy=console.width >= WIDTH_WITH_ROOM))
        console.print(
            f"naive -> optimised; each time is the median of the calls after a warm-up: {rounds}.",
            highlight=False,
        )


def table_of(measurements: Sequence[Measurement], *, roomy: bool) -> Table:
    """Return the table: a row for each endpoint, naive and optimised in each cell."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1 if roomy else 0))
    table.add_column("endpoint", no_wrap=True)
    for title in TITLES:
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("within", no_wrap=True)
    for each in measurements:
        table.add_row(
            f"/{each.name}",
            _both(each, lambda version: str(version.worst.count)),
            _both(each, lambda version: str(len(version.worst.by_fingerprint()))),
            _both(each, lambda version: str(version.worst.duplicate_count)),
            _both(each, lambda version: _milliseconds(version.database_ms)),
            _both(each, lambda version: _milliseconds(version.response_ms)),
            str(each.budget.max_queries),
            "yes" if each.within else "NO",
            style=None if each.within else "bold red",
        )
    return table


def _both(measurement: Measurement, cell: Callable[[Version], str]) -> str:
    # An ASCII arrow: a pipe may lead to any encoding.
    return f"{cell(measurement.naive)} -> {cell(measurement.optimised)}"


def _milliseconds(time: float) -> str:
    return f"{time:.1f}" if time < 10 else f"{time:.0f}"
