"""``manage.py fill``: write the marketplace's sample data."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS

from marketplace import sample_data
from marketplace.progress import progress_bar
from marketplace.sample_rows import Sizes


class Command(BaseCommand):
    """Fill the database once; a second run changes nothing unless it is told to reset."""

    help = "Fill the marketplace with sample data, the same on every machine."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the scale, the reset and the database."""
        parser.add_argument(
            "--scale", type=float, default=1.0, help="1 is 200 users and 500 jobs (default)."
        )
        parser.add_argument(
            "--reset",
            action="store_true",
            help="Delete every user, job, payment and review first, sample data or not.",
        )
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, help="The database's alias.")

    def handle(self, *args: Any, scale: float, reset: bool, database: str, **options: Any) -> None:
        """Fill, or say why not."""
        try:
            Sizes.at(scale)
        except ValueError as error:
            raise CommandError(f"--scale: {error}") from error
        if reset:
            sample_data.clear(using=database)
        elif sample_data.is_filled(using=database):
            self.stdout.write(
                f"The database {database!r} has data already: nothing done. "
                "fill --reset deletes it and fills again."
            )
            return
        with progress_bar("Filling") as progress:
            rows = sample_data.fill(scale, progress, using=database)
        self.stdout.write(self.style.SUCCESS(f"Filled the database {database!r}: {rows} rows."))
