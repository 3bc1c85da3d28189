"""``manage.py demo``: what the naive endpoints cost, and what the optimised ones do."""

from collections.abc import Callable, Sequence
from typing import Any

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
        console = Console(file=self.stdout)  # type: ignore[arg-type]  # it writes as a file does
        if not console.is_terminal:
            console = Console(file=self.stdout, width=WIDTH_IN_A_PIPE)  # type: ignore[arg-type]
        console.print(table_of(measurements))
        console.print(
            f"naive -> optimised; times are medians of {rounds} calls after a warm-up.",
            highlight=False,
        )


def table_of(measurements: Sequence[Measurement]) -> Table:
    """Return the table: a row for each endpoint, naive and optimised in each cell."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("endpoint", no_wrap=True)
    for title in ("queries", "shapes", "duplicates", "database ms", "response ms", "budget"):
        table.add_column(title, justify="right")
    table.add_column("within")
    for each in measurements:
        table.add_row(
            f"/{each.name}",
            _both(each, lambda version: str(version.worst.count)),
            _both(each, lambda version: str(len(version.worst.by_fingerprint()))),
            _both(each, lambda version: str(version.worst.duplicate_count)),
            _both(each, lambda version: f"{version.database_ms:.1f}"),
            _both(each, lambda version: f"{version.response_ms:.1f}"),
            str(each.budget.max_queries),
            "yes" if each.within else "NO",
            style=None if each.within else "bold red",
        )
    return table


def _both(measurement: Measurement, cell: Callable[[Version], str]) -> str:
    return f"{cell(measurement.naive)} -> {cell(measurement.optimised)}"
